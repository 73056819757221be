"""How far a drawn number may be off: over attackers, their defenders and the test sentences, by one bootstrap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prune_env.baselines.figures.matching import Pair
from prune_env.baselines.tables.hierarchy import Resampler, Unit, Values, covers, subtract
from prune_env.baselines.tables.rows import bits
from prune_env.errors import DataError, FigureError
from prune_env.metrics import Interval
from prune_env.records import Record


def above_floor(found: Iterable[Pair]) -> Interval:
    """Returns points above the matched floor, as a rate: the mean over attackers, with its 95 % hierarchical interval.

    Raises:
        FigureError: No record has a twin's beside it, two are of one unit, or they were judged on other sentences.
    """
    return Resampler().interval(excess(found))


def excess(found: Iterable[Pair]) -> Values:
    """Returns flips of the victim minus the twin's, sentence by sentence, of each unit that has a twin.

    Raises:
        FigureError: As `above_floor`.
    """
    paired = [pair for pair in found if pair.twin is not None]
    try:
        values = subtract(bits(_by_unit(paired), "flipped"), bits(_twins(paired), "flipped"))
    except DataError as error:
        raise FigureError(f"{paired[0].record.method} on {paired[0].family}: {error}") from error
    if not values:
        raise FigureError("no record has the twin's beside it; run prune-env bench on victims that have a twin")
    return values


def lfr(found: Iterable[Pair]) -> Interval:
    """Returns LFR after the purification, as `above_floor`."""
    return Resampler().interval(bits(_by_unit(found), "flipped"))


def floor(found: Iterable[Pair]) -> Interval | None:
    """Returns the twins' LFR after the same; None where no record has a twin."""
    twins = _twins(found)
    return Resampler().interval(bits(twins, "flipped")) if twins else None


def acc(found: Iterable[Pair]) -> Interval:
    """Returns clean test accuracy after the purification."""
    return Resampler().interval(bits(_by_unit(found), "correct"))


def _by_unit(found: Iterable[Pair]) -> dict[Unit, Record]:
    units: dict[Unit, Record] = {}
    for pair in found:
        known = units.setdefault(pair.unit, pair.record)
        if known is not pair.record:
            raise FigureError(
                f"expected one record of {known.method} for attacker {pair.unit[0]} and defender {pair.unit[1]} of "
                f"{pair.family}, got two that differ in their settings or victims ({known.victim}, "
                f"{pair.record.victim}); draw them from files of their own"
            )
    return units


def _twins(found: Iterable[Pair]) -> dict[Unit, Record]:
    every = list(found)
    _by_unit(every)
    return {pair.unit: pair.twin for pair in every if pair.twin is not None}


def note(groups: Iterable[Sequence[Pair]]) -> str:
    """Says what the bars of these groups, one a mark, cover."""
    found = {covers({pair.unit for pair in group}) for group in groups}
    listed = [
        words for words in ("attackers, defenders, sentences", "defenders, sentences", "sentences") if words in found
    ]
    over = "; ".join(words if len(listed) == 1 else f"{words} where there are several" for words in listed[:-1])
    last = listed[-1] if listed else "sentences"
    return f"Bars: 95 % intervals by a hierarchical bootstrap over {over}{', else over ' if over else ''}{last}."
