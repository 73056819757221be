"""Do stacks say what `prune_env.defense.purify` says? The same masks and seeds, fine-tuned one by one.

Data, order, head and settings are the same, so only dropout and rounding differ: one mask's LFR may be far off, since
fine-tuning is noisy, but the mean difference has to be zero within three of its standard errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from prune_env.baselines.study.outcomes import Case, Judged, open_case
from prune_env.baselines.study.parts import Part, Study, check_settings, parts, read_part, settings_now, sole
from prune_env.baselines.study.run import Report
from prune_env.baselines.study.table import OUTCOMES
from prune_env.cache import write_text
from prune_env.defense import purify
from prune_env.errors import RecordError
from prune_env.seeds import derive
from prune_env.types import HeadMask, mask_from_text
from prune_env.victims.judge import judge

ALLOWED = 3.0
"""Standard errors that a mean difference may be off zero."""

SAMPLE = "check"
"""Names the order in which masks are taken."""

LOCK = ".check.lock"
"""A check beside a run is no harm: it reads whole parts only."""


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

    @property
    def holds(self) -> bool:
        """Whether the mean is within the standard errors that are allowed."""
        return abs(self.mean) <= ALLOWED * self.error


def compare(study: Study, count: int, report: Report) -> list[Agreement]:
    """Fine-tunes masks of the finished chunks one by one, and compares; resumes mask by mask.

    Args:
        study: A study with finished chunks.
        count: Masks to compare, drawn from all victims, seeds and chunks alike.
        report: Told of every finished mask.

    Raises:
        RecordError: Fewer than two masks are finished, or what is there is of another study, victim or protocol.
        OutputError: Another check is at work in the same folder.
    """
    stacked = {
        (part, mask): outcome
        for part in parts(study)
        if part.chunk is not None
        for content in [read_part(study, part)]
        if content is not None
        for mask, outcome in zip(content["masks"], content["outcomes"], strict=True)
    }
    chosen = drawn(stacked, count)
    if len(chosen) < 2:
        raise RecordError(f"expected at least two fine-tuned masks in {study.out}, found {len(chosen)}; run it first")
    alone = []
    with sole(study.out, LOCK, "check"):
        for part, mask in chosen:
            alone.append(_alone(study, part, mask))
            report(f"{part}, mask {mask}", len(alone), len(chosen))
    pairs = [(stacked[one], other) for one, other in zip(chosen, alone, strict=True)]
    return [_agreement(name, np.array([one[name] - other[name] for one, other in pairs])) for name in OUTCOMES]


def drawn(pairs: Iterable[tuple[Part, str]], count: int) -> list[tuple[Part, str]]:
    """Draws masks evenly: victims and seeds in turn, of each its chunks in turn; the same ones whenever it is asked.

    Args:
        pairs: Every mask with its part.
        count: How many to draw, at most.
    """
    groups: dict[tuple[str, int], dict[Part, list[tuple[int, str]]]] = {}
    for part, mask in pairs:
        name = Path(part.victim).name
        lot = (derive(part.seed, f"{SAMPLE}:{name}:{mask}"), mask)
        groups.setdefault((part.victim, part.seed), {}).setdefault(part, []).append(lot)
    turns = []
    for number, of_group in enumerate(groups.values()):
        lots = [(turn, *lot, part) for part, mine in of_group.items() for turn, lot in enumerate(sorted(mine))]
        ordered = sorted(lots, key=lambda lot: lot[:3])
        turns += [(place, number, part, mask) for place, (_, _, mask, part) in enumerate(ordered)]
    return [(part, mask) for _, _, part, mask in sorted(turns, key=lambda turn: turn[:2])[:count]]


def sentence(found: list[Agreement]) -> str:
    """Says it in points of ACC, LFR and AUC, with the verdict."""
    values = ", ".join(
        f"{one.outcome.upper()} {100 * one.mean:+.2f} +- {100 * one.error:.2f} (sd {100 * one.spread:.1f})"
        for one in found
    )
    said = f"Stack minus one by one, mean +- standard error over {found[0].masks} masks, in points: {values}."
    off = [one.outcome.upper() for one in found if not one.holds]
    if off:
        return f"{said} They DISAGREE: {', '.join(off)} further than {ALLOWED:.0f} standard errors from zero."
    return f"{said} They agree: nothing is further than {ALLOWED:.0f} standard errors from zero."


def _alone(study: Study, part: Part, mask: str) -> dict[str, float]:
    """Returns what `purify` makes of a mask, from its file if it is there."""
    folder = (study.out / part.file).parent / "one-by-one"
    path = folder / f"{mask.replace('/', '-')}.json"
    if not path.is_file():
        folder.mkdir(exist_ok=True)
        found = purify_alone(open_case(part.victim, part.seed), mask_from_text(mask))
        write_text(path, json.dumps({**asdict(found), **settings_now(part.victim)}) + "\n")
    return _read(path, part)


def purify_alone(case: Case, mask: HeadMask) -> Judged:
    """Fine-tunes one mask as every method's is, and judges it."""
    training = case.task.protocol.training
    purified = purify(case.task, mask, training)
    found = judge(purified.model, purified.tokenizer, case.diagnosis, training.max_length)
    return Judged(found.acc, found.lfr, found.auc)


def _read(path: Path, part: Part) -> dict[str, float]:
    """Reads an outcome; older files do not name their victim, and go with the parts of their folder."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        outcome = {name: float(content[name]) for name in OUTCOMES}
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"expected a mask's outcome in {path}, got something else; delete it and run again"
        ) from error
    check_settings(part, path, {**settings_now(part.victim), **content})
    return outcome


def _agreement(outcome: str, differences: np.ndarray) -> Agreement:
    spread = float(differences.std(ddof=1))
    count = len(differences)
    return Agreement(outcome, count, float(differences.mean()), spread / math.sqrt(count), spread)
