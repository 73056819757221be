"""What a threshold made of each method: the points of the threshold figure, and the commands that make its records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from prune_env.baselines.figures.intervals import acc, floor, lfr
from prune_env.baselines.figures.marks import Mark, ranked
from prune_env.baselines.figures.matching import Pair, by_setting, masks_of, threshold_of
from prune_env.baselines.summary import REFERENCE
from prune_env.metrics import Interval

GRID = (0.95, 0.93, 0.91, 0.89, 0.87, 0.85)
"""Thresholds of the paper's figure. The embedded victims' full masks reach about .94: .95 is out of reach there, and
little happens below .89; MiniLM's reach about .89, and the grid's upper half is out of reach."""


@dataclass(frozen=True)
class Point(Mark):
    """One method in one setting at one threshold.

    Attributes:
        threshold: Accuracy held on `search`; None of a method without a search under a threshold.
        acc: Clean test accuracy after fine-tuning.
        lfr: Label flip rate after fine-tuning.
        floor: The twins' after the same; None without twins.
        feasible: Share of the records whose full mask reaches the threshold.
        heads_kept: Mean number.
    """

    threshold: float | None
    acc: Interval
    lfr: Interval
    floor: Interval | None
    feasible: float
    heads_kept: float


def commands(victims: Sequence[str], methods: Sequence[str] = ("gradient", "layer-wise", "bayesian")) -> list[str]:
    """Returns the bench commands that make the records: thresholds are part of a record's key and share one folder."""
    names = ",".join(dict.fromkeys((REFERENCE, *methods, "random-third")))
    return [
        f"prune-env bench --victim {' '.join(victims)} --methods {names} --threshold {tau:g} --out runs/threshold"
        for tau in GRID
    ]


def feasible(pair: Pair) -> bool:
    """Whether the full mask met the threshold: if not, the search ends where it starts, below the threshold."""
    record = pair.record
    return record.threshold is None or record.search_accuracy >= record.threshold


def points(found: Sequence[Pair]) -> list[Point]:
    """Returns a point for each method, setting and threshold that has several, and for ft and a random third."""
    groups: dict[tuple[str, float | None], list[Pair]] = defaultdict(list)
    for pair in found:
        groups[pair.record.method, threshold_of(pair.record)].append(pair)
    taus: dict[str, set[float]] = defaultdict(set)
    for method, tau in groups:
        if tau is not None:
            taus[method].add(tau)
    free = {(REFERENCE, None), ("random-third", None)}
    every = [
        _point(method, note, tau, part)
        for (method, tau), group in groups.items()
        if (method, tau) in free or (len(taus[method]) > 1 and tau is not None)
        for note, part in by_setting(group).items()
    ]
    return ranked(every, lambda point: -(point.threshold or 0.0))


def _point(method: str, note: str, tau: float | None, found: list[Pair]) -> Point:
    kept = [masks_of(pair.record)[0].sum() for pair in found]
    return Point(
        method=method,
        note=note,
        threshold=tau,
        found=found,
        acc=acc(found),
        lfr=lfr(found),
        floor=floor(found),
        feasible=sum(map(feasible, found)) / len(found),
        heads_kept=float(sum(kept)) / len(kept),
    )
