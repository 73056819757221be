"""The study's work: seed by seed, victim by victim, chunk by chunk; what is finished is never done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

from prune_env.baselines.study.beforehand import beforehand
from prune_env.baselines.study.masks import chunks, study_masks
from prune_env.baselines.study.outcomes import Case, fine_tune, judge_stack, open_case, settings_of
from prune_env.baselines.study.parts import LOCK, Part, Study, parts, read_part, sole
from prune_env.baselines.workers import one_by_one, side_by_side, worker_pool
from prune_env.cache import write_text
from prune_env.types import HeadMasks, mask_to_text
from prune_env.victims.store import open_victim

Report = Callable[[str, int, int], None]
"""(what was finished, parts done, parts in all)"""


def run(study: Study, jobs: int, report: Report) -> None:
    """Does every part that is missing, in processes side by side.

    Args:
        study: What is studied.
        jobs: One-thread processes; 1 works in this one.
        report: Told of every finished part.

    Raises:
        RecordError: A part that is there is of another study, victim or protocol.
        OutputError: Another run is at work in the same folder.
        PruneEnvError: The first part that failed says why; all others are done.
    """
    for victim in study.victims:
        open_victim(victim)
    with sole(study.out, LOCK, "study"):
        _run_missing(study, jobs, report)


def _run_missing(study: Study, jobs: int, report: Report) -> None:
    everything = parts(study)
    missing = [part for part in everything if read_part(study, part) is None]
    done, failed = len(everything) - len(missing), dict[Part, BaseException]()
    report(f"{done} parts found", done, len(everything))
    # Tasks first: processes side by side would wait for each other's scoring models.
    waves = [[part for part in missing if part.chunk is None], [part for part in missing if part.chunk is not None]]
    if jobs == 1:
        waves = [missing]
    with ExitStack() as opened:
        pool = opened.enter_context(worker_pool(jobs)) if jobs > 1 and missing else None
        for wave in waves:
            work = partial(_work, study)
            labels = one_by_one(wave, work, failed) if pool is None else side_by_side(pool, wave, work, failed)
            for label in labels:
                done += 1
                report(label, done, len(everything))
    if failed:
        raise next(iter(failed.values()))


def _work(study: Study, part: Part) -> str:
    """Does one part and writes its file in one step."""
    case = open_case(part.victim, part.seed)
    masks = study_masks(study.masks, *_size(case))
    content = _before(case, masks) if part.chunk is None else _after(study, case, masks, part.chunk)
    path = study.out / part.file
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({**content, **settings_of(case), "study": study.size}, allow_nan=False) + "\n")
    return str(part)


def _size(case: Case) -> tuple[int, int]:
    evaluator = case.scoring.evaluator("search")
    return evaluator.layers, evaluator.heads


def _before(case: Case, masks: HeadMasks) -> dict[str, Any]:
    drop = case.victim.manifest.recommended["max_accuracy_drop"]
    found = beforehand(case.scoring, case.diagnosis, masks, drop)
    carriers = case.diagnosis.carriers
    return {
        "masks": [mask_to_text(mask) for mask in masks],
        "max_accuracy_drop": drop,
        "carriers": None if carriers is None else mask_to_text(carriers),
        "sentences": {
            "search": len(case.task.search),
            "clean_test": len(case.diagnosis.clean_test),
            "triggered_test": len(case.diagnosis.triggered_test.excluding(case.diagnosis.target)),
        },
        **found.to_json(),
    }


def _after(study: Study, case: Case, masks: HeadMasks, chunk: int) -> dict[str, Any]:
    chosen = masks[chunks(masks, study.chunk)[chunk]]
    stack, seconds = fine_tune(case, chosen, f"study:{case.victim.name}:{chunk}")
    judged = [asdict(one) for one in judge_stack(stack, case)]
    return {"masks": [mask_to_text(mask) for mask in chosen], "outcomes": judged, "cpu_seconds": round(seconds, 2)}
