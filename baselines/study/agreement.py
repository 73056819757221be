"""Do stacks say what `prune_env.defense.purify` says? The same masks and seeds, fine-tuned one by one.

Data, order, head and settings are the same, so only dropout and rounding differ: one mask's LFR may be far off, since
fine-tuning is noisy, but the mean difference has to vanish within its standard error.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from prune_env.baselines.study.outcomes import Case, Judged, open_case
from prune_env.baselines.study.parts import Part, Study, parts, read_part
from prune_env.baselines.study.run import Report
from prune_env.baselines.study.table import OUTCOMES
from prune_env.cache import write_text
from prune_env.defense import purify
from prune_env.errors import RecordError
from prune_env.types import HeadMask, mask_from_text
from prune_env.victims.judge import judge


@dataclass(frozen=True)
class Agreement:
    """Stack minus one by one, over masks.

    Attributes:
        outcome: "lfr", "acc" or "auc".
        masks: How many were compared.
        mean: Mean difference.
        error: Its standard error.
        spread: Standard deviation of the difference: the noise of two fine-tunings of one mask.
    """

    outcome: str
    masks: int
    mean: float
    error: float
    spread: float


def compare(study: Study, count: int, report: Report) -> list[Agreement]:
    """Fine-tunes masks of the study's first finished chunks one by one, and compares; resumes mask by mask.

    Args:
        study: A study with finished chunks.
        count: Masks to compare.
        report: Told of every finished mask.

    Raises:
        RecordError: Fewer than two masks are finished.
    """
    finished = [part for part in parts(study) if part.chunk is not None and (study.out / part.file).is_file()]
    pairs: list[tuple[dict[str, float], dict[str, float]]] = []
    for part in finished:
        content = read_part(study, part) or {"masks": [], "outcomes": []}
        for mask, stacked in zip(content["masks"], content["outcomes"], strict=True):
            if len(pairs) < count:
                pairs.append((stacked, _alone(study, part, mask)))
                report(f"{part}, mask {mask}", len(pairs), count)
    if len(pairs) < 2:
        raise RecordError(f"expected at least two fine-tuned masks in {study.out}, found {len(pairs)}; run it first")
    return [_agreement(name, np.array([stacked[name] - alone[name] for stacked, alone in pairs])) for name in OUTCOMES]


def sentence(found: list[Agreement]) -> str:
    """Says it in points of ACC, LFR and AUC."""
    values = ", ".join(
        f"{one.outcome.upper()} {100 * one.mean:+.2f} +- {100 * one.error:.2f} (sd {100 * one.spread:.1f})"
        for one in found
    )
    return f"Stack minus one by one, mean +- standard error over {found[0].masks} masks, in points: {values}."


def _alone(study: Study, part: Part, mask: str) -> dict[str, float]:
    """Returns what `purify` makes of a mask, from its file if it is there."""
    folder = (study.out / part.file).parent / "one-by-one"
    path = folder / f"{mask.replace('/', '-')}.json"
    if not path.is_file():
        folder.mkdir(exist_ok=True)
        found = purify_alone(open_case(part.victim, part.seed), mask_from_text(mask))
        write_text(path, json.dumps(asdict(found)) + "\n")
    content: dict[str, float] = _read(path)
    return content


def purify_alone(case: Case, mask: HeadMask) -> Judged:
    """Fine-tunes one mask as every method's is, and judges it."""
    training = case.task.protocol.training
    purified = purify(case.task, mask, training)
    found = judge(purified.model, purified.tokenizer, case.diagnosis, training.max_length)
    return Judged(found.acc, found.lfr, found.auc)


def _read(path: Path) -> dict[str, float]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: float(content[name]) for name in OUTCOMES}


def _agreement(outcome: str, differences: np.ndarray) -> Agreement:
    spread = float(differences.std(ddof=1))
    count = len(differences)
    return Agreement(outcome, count, float(differences.mean()), spread / math.sqrt(count), spread)
