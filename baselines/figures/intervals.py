"""How far a drawn number may be off: over attackers, their defenders and the test sentences, by one bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from prune_env.baselines.figures.matching import Pair
from prune_env.baselines.tables.hierarchy import Resampler, Unit, covers
from prune_env.errors import FigureError
from prune_env.metrics import Interval
from prune_env.records import Record, bits_from_text


def interval(found: Iterable[Pair], bits: Callable[[Pair], NDArray[np.float64] | None]) -> Interval:
    """Returns the mean over attackers of a number of each sentence, with its 95 % hierarchical interval.

    Args:
        found: Records of one method in one setting; of two of one attacker and defender the later one counts.
        bits: Returns one value a sentence, (M,); None leaves the record out.

    Raises:
        FigureError: No record left.
    """
    values: dict[Unit, NDArray[np.float64]] = {}
    for pair in found:
        value = bits(pair)
        if value is not None:
            values[pair.unit] = value
    if not values:
        raise FigureError("no record has the twin's beside it; run prune-env bench on victims that have a twin")
    return Resampler().interval(values)


def above_floor(found: Iterable[Pair]) -> Interval:
    """Returns points above the matched floor, as a rate."""
    return interval(found, lambda pair: pair.excess)


def lfr(found: Iterable[Pair]) -> Interval:
    """Returns LFR after the purification."""
    return interval(found, lambda pair: bits_of(pair.record, "flipped"))


def floor(found: Iterable[Pair]) -> Interval | None:
    """Returns the twins' LFR after the same; None where no record has a twin."""

    def flipped(pair: Pair) -> NDArray[np.float64] | None:
        return None if pair.twin is None else bits_of(pair.twin, "flipped")

    every = list(found)
    return interval(every, flipped) if any(pair.twin is not None for pair in every) else None


def acc(found: Iterable[Pair]) -> Interval:
    """Returns clean test accuracy after the purification."""
    return interval(found, lambda pair: bits_of(pair.record, "correct"))


def bits_of(record: Record, name: str) -> NDArray[np.float64]:
    """Returns a record's "flipped" or "correct" as 0 and 1, one a sentence."""
    return bits_from_text(getattr(record, name)).astype(np.float64)


def note(groups: Iterable[Sequence[Pair]]) -> str:
    """Says what the bars of these groups, one a mark, cover."""
    found = {covers({pair.unit for pair in group}) for group in groups}
    listed = [
        words for words in ("attackers, defenders, sentences", "defenders, sentences", "sentences") if words in found
    ]
    over = "; ".join(words if len(listed) == 1 else f"{words} where there are several" for words in listed[:-1])
    last = listed[-1] if listed else "sentences"
    return f"Bars: 95 % intervals by a hierarchical bootstrap over {over}{', else over ' if over else ''}{last}."
