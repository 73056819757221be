"""Contrasts: two methods in one scene at one rate, in points above the matched floor, and what may be said of them.

A difference is taken over the units that both methods have, sentence by sentence, and its interval is hierarchical.
What a contrast is under `baselines/PROTOCOL.md`, primary or exploratory, says `prune_env.baselines.tables.roles`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prune_env.baselines.summary import RANDOM_MASKS, REFERENCE
from prune_env.baselines.tables.hierarchy import Resampler, Unit, Values, attackers, by_attacker, mean, subtract
from prune_env.baselines.tables.roles import EXPLORATORY, PRIMARY, THIRD, parts
from prune_env.baselines.tables.rows import CLAIM_ATTACKERS, Row, by_scene
from prune_env.baselines.tables.rule import Ruling, rate_rule
from prune_env.baselines.tables.words import count
from prune_env.metrics import Interval

LESS, MORE, SAME, FLOOR = "less", "more", "not told apart", "both at the floor"


@dataclass(frozen=True)
class Contrast:
    """One method minus another, in points above the matched floor (LFR where neither has twins), as rates.

    Attributes:
        row: The first method.
        rival: The other.
        difference: First minus other; below zero, the first leaves less of the backdoor.
        acc: The same difference in clean accuracy, over the same units.
        heads_kept: Mean number of heads that each of the two keeps, over the same units.
        units: What both have: (attacker's seed, defender's seed).
        agreeing: Attackers whose own difference has the sign of the mean.
        floored: Whether the intervals of points above the floor of both, over these units, reach zero: nothing is left
            on either side, and a difference is one of floors.
        role: "primary", "development", "confirmation" or "exploratory".
        at_rule: Whether the rate is the one that the rate rule picks for the first method; None where the records
            do not tell.
    """

    row: Row
    rival: Row
    difference: Interval
    acc: Interval
    heads_kept: tuple[float, float]
    units: tuple[Unit, ...]
    agreeing: int
    floored: bool
    role: str
    at_rule: bool | None

    @property
    def attackers(self) -> int:
        """Attackers that both have."""
        return attackers(self.units)

    @property
    def outcome(self) -> str:
        """Whether the first leaves "less" of the backdoor, "more", is "not told apart", or "both at the floor"."""
        return FLOOR if self.floored else outcome_of(self.difference)

    @property
    def status(self) -> str:
        """What may be said: a lead below five attackers; decided or not at the rate rule's rate; exploratory."""
        if self.attackers < CLAIM_ATTACKERS:
            return f"lead ({count(self.attackers, 'attacker')})"
        if self.role != PRIMARY:
            return self.role
        if self.at_rule is None:
            return "not decided: rate rule unknown"
        if not self.at_rule:
            return "not the rate rule's rate"
        return self._decision

    @property
    def _decision(self) -> str:
        """A percentile interval over so few attackers excludes zero too often: each of them has to agree as well."""
        if self.outcome == FLOOR:
            return f"not decided: {FLOOR}"
        if self.outcome == SAME:
            return "not decided: interval includes zero"
        if self.agreeing < self.attackers:
            return "not decided: attackers disagree"
        return f"decided: {self.outcome}"


def outcome_of(difference: Interval) -> str:
    """Returns `LESS`, `MORE` or `SAME`, as the interval lies below, above or around zero."""
    if difference.high < 0.0:
        return LESS
    return MORE if difference.low > 0.0 else SAME


def compare(
    row: Row,
    rival: Row,
    resampler: Resampler,
    rules: Mapping[Row, Ruling] | None = None,
    role: str = EXPLORATORY,
    within: frozenset[int] | None = None,
) -> Contrast | None:
    """Returns the contrast of two rows; None where they share no unit, or only one of them has a floor.

    Args:
        row: The first method.
        rival: The other.
        resampler: Makes the draws.
        rules: The rate rule's word on each row.
        role: What the contrast is.
        within: Attackers that count; None for all.
    """
    shared = {unit for unit in set(row.excess) & set(rival.excess) if within is None or unit[0] in within}
    if not shared or (row.above is None) != (rival.above is None):
        return None
    difference = subtract(only(row.excess, shared), rival.excess)
    whole = mean(difference)
    ruling = (rules or {}).get(row)
    return Contrast(
        row,
        rival,
        resampler.interval(difference),
        resampler.interval(subtract(only(row.correct, shared), rival.correct)),
        (mean(only(row.kept, shared)), mean(only(rival.kept, shared))),
        tuple(sorted(shared)),
        sum(bool(np.sign(one) == np.sign(whole)) for one in by_attacker(difference).values()),
        row.above is not None and all(resampler.interval(only(one.excess, shared)).low <= 0.0 for one in (row, rival)),
        role,
        None if ruling is None else ruling.chosen,
    )


def contrasts(rows: Sequence[Row], resampler: Resampler, rules: Mapping[Row, Ruling] | None = None) -> list[Contrast]:
    """Returns every method against ft and against random masks at the same rate; the primary ones first in a scene.

    Args:
        rows: Of any number of scenes.
        resampler: Makes the draws.
        rules: The rate rule's word on each row, if it is known already.
    """
    rules = rate_rule(rows) if rules is None else rules
    found: list[Contrast] = []
    for group in by_scene(rows).values():
        mine = []
        for row in group:
            for rival in rivals(row, group):
                made = [compare(row, rival, resampler, rules, role, within) for role, within in parts(row, rival)]
                mine += [one for one in made if one is not None]
        found += sorted(mine, key=lambda one: one.role == EXPLORATORY)
    return found


def rivals(row: Row, group: Iterable[Row]) -> list[Row]:
    """Returns the rows of a scene that a row is held against: ft and the random masks at its rate."""
    beside = [one for one in group if one.learning_rate == row.learning_rate and one is not row]
    ft = [one for one in beside if one.method == REFERENCE and row.method != REFERENCE]
    return ft + ([] if row.method in (*RANDOM_MASKS, REFERENCE) else random_rows(row, beside))


def random_rows(row: Row, beside: Sequence[Row]) -> list[Row]:
    """Returns the random masks that share a unit with a row: those of a size that was searched, then random-third."""
    shared = [one for one in beside if one.method in RANDOM_MASKS and set(one.excess) & set(row.excess)]
    sized = [one for one in shared if one.method != THIRD and one.constraint in ("", row.constraint)]
    return [*sized, *(one for one in shared if one.method == THIRD)]


def only(values: Values, units: Iterable[Unit]) -> Values:
    """Returns the values of some units."""
    return {unit: values[unit] for unit in sorted(units)}
