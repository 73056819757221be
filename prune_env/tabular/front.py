"""How good any mask could be: the exact Pareto front of accuracy, size and (diagnosis) label flip rate.

A mask is on the front if no other is at least as accurate on `certify`, at least as small, and has at most its label
flip rate, being better in one of them. Beside it stands what a defender can steer by: of the masks that hold the
threshold on `search`, the range of label flip rates at each size, which clean data does not tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune_env.tabular.optimum import Optimum
from prune_env.tabular.twin import TabularTwin
from prune_env.types import HeadMask, mask_to_text


@dataclass(frozen=True)
class FrontPoint:
    """A point of the front, and the first of the masks that lie on it.

    Attributes:
        pruned: Heads that are gone.
        certify_accuracy: Accuracy on `certify`.
        oracle_lfr: Label flip rate of the masked model.
        search_accuracy: Accuracy of the mask on `search`.
        holds: Whether the mask meets the threshold on `search`.
        masks: How many masks share these three.
        mask: The first of them, as text.
    """

    pruned: int
    certify_accuracy: float
    oracle_lfr: float
    search_accuracy: float
    holds: bool
    masks: int
    mask: str


@dataclass(frozen=True)
class Size:
    """The masks of one size.

    Attributes:
        pruned: Heads that are gone.
        masks: How many masks there are.
        holding: How many of them meet the threshold on `search`; without one, what follows but the last is None.
        lowest: Lowest label flip rate of those.
        mean: Their mean: of a mask drawn blindly among them.
        highest: Their highest.
        most_accurate: Mean label flip rate of those of them that are most accurate on `search`.
        lowest_of_all: Lowest label flip rate of any mask of this size, whatever its accuracy.
    """

    pruned: int
    masks: int
    holding: int
    lowest: float | None
    mean: float | None
    highest: float | None
    most_accurate: float | None
    lowest_of_all: float


@dataclass(frozen=True, eq=False)
class Front:
    """A twin's front.

    Attributes:
        points: The largest first, of one size the most accurate.
        holding: float64 (H, 2), accuracy on `certify` and label flip rate of each mask that holds the threshold.
        sizes: One for each number of pruned heads, rising.
        threshold: Accuracy that a mask has to reach on `search`.
        optimum: The mask of the best return, as text.
        optimum_pruned: Heads that it lacks.
        optimum_lfr: Its label flip rate.
        full_lfr: That of the full mask.
    """

    points: tuple[FrontPoint, ...]
    holding: NDArray[np.float64]
    sizes: tuple[Size, ...]
    threshold: float
    optimum: str
    optimum_pruned: int
    optimum_lfr: float
    full_lfr: float


def pareto(pruned: NDArray[np.int64], correct: NDArray[np.int32], flipped: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Returns bool (N,): which points no other point beats, with more pruned and correct and fewer flipped as better.

    Args:
        pruned: int (N,), more is better.
        correct: int (N,) >= 0, more is better.
        flipped: int (N,), fewer is better.
    """
    beyond = int(flipped.max()) + 1
    fewest = np.full(int(correct.max()) + 2, beyond)
    """The fewest flipped of the points that are larger and at least so correct."""
    front = np.zeros(len(pruned), dtype=np.bool_)
    for size in np.unique(pruned)[::-1]:
        level = np.flatnonzero(pruned == size)
        own = np.full_like(fewest, beyond)
        np.minimum.at(own, correct[level], flipped[level])
        suffix = np.minimum.accumulate(own[::-1])[::-1]
        right, wrong = correct[level], flipped[level]
        front[level] = (wrong < fewest[right]) & (wrong == own[right]) & (wrong < suffix[right + 1])
        fewest = np.minimum(fewest, suffix)
    return front


def front_of(twin: TabularTwin) -> Front:
    """Computes a twin's front under the constraint that its victim recommends."""
    optimum = Optimum(twin, twin.config())
    lattice, plan = optimum.lattice, optimum.plan()
    accuracy, rates = (table.counts / table.sentences for table in (twin.certify, twin.oracle_lfr))
    searched = optimum.correct / twin.search.sentences
    places = np.flatnonzero(pareto(lattice.pruned, twin.certify.counts, twin.oracle_lfr.counts))
    triples = np.stack([-lattice.pruned[places], -twin.certify.counts[places], twin.oracle_lfr.counts[places]], axis=1)
    _, first, masks = np.unique(triples, axis=0, return_index=True, return_counts=True)
    points = tuple(
        FrontPoint(
            pruned=int(lattice.pruned[place]),
            certify_accuracy=float(accuracy[place]),
            oracle_lfr=float(rates[place]),
            search_accuracy=float(searched[place]),
            holds=bool(optimum.feasible[place]),
            masks=int(number),
            mask=mask_to_text(lattice.masks[place]),
        )
        for place, number in zip(places[first], masks, strict=True)
    )
    best: HeadMask = plan.masks[-1]
    return Front(
        points=points,
        holding=np.stack([accuracy, rates], axis=1)[optimum.feasible],
        sizes=tuple(_size(int(size), optimum, rates) for size in np.unique(lattice.pruned)),
        threshold=optimum.threshold,
        optimum=mask_to_text(best),
        optimum_pruned=int((~best).sum()),
        optimum_lfr=float(twin.oracle_lfr.accuracy(best[None])[0]),
        full_lfr=float(rates[lattice.place(lattice.masks[-1])]),
    )


def _size(pruned: int, optimum: Optimum, rates: NDArray[np.float64]) -> Size:
    level = optimum.lattice.pruned == pruned
    holding = np.flatnonzero(level & optimum.feasible)
    lowest, masks = float(rates[level].min()), int(level.sum())
    if not len(holding):
        return Size(pruned, masks, 0, None, None, None, None, lowest)
    found, correct = rates[holding], optimum.correct[holding]
    top = float(found[correct == correct.max()].mean())
    return Size(pruned, masks, len(holding), float(found.min()), float(found.mean()), float(found.max()), top, lowest)
