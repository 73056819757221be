"""Contrasts: two methods in one scene at one rate, in points above the matched floor, and what may be said of them.

`baselines/PROTOCOL.md` declares two primary contrasts and the rate rule; every other one is exploratory. A difference
is taken over the units that both methods have, sentence by sentence, and its interval is hierarchical.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from prune_env.baselines.summary import RANDOM_MASKS, REFERENCE
from prune_env.baselines.tables.hierarchy import Resampler, attackers, by_attacker, mean, subtract
from prune_env.baselines.tables.rows import CLAIM_ATTACKERS, Row, by_scene
from prune_env.metrics import Interval

GRADIENT, THIRD = "gradient", "random-third"

PRIMARY = ((GRADIENT, REFERENCE), (GRADIENT, THIRD))
PRIMARY_ATTACKS = ("hiddenkiller", "stylebkd-poetry")
PRIMARY_PROTOCOL = "phrases-15k"
PRIMARY_CONSTRAINT = "accuracy >= 0.85"
"""What PROTOCOL.md declares, and where."""

DEVELOPMENT = "embedded"
"""The protocol of victims on which things are tuned."""

RATE_TOLERANCE = 0.005
"""How far below the best accuracy on `certify` a rate may stay under the rate rule."""

LESS, MORE, SAME = "less", "more", "not told apart"


@dataclass(frozen=True)
class Contrast:
    """One method minus another, in points above the matched floor (LFR where neither has twins), as rates.

    Attributes:
        row: The first method.
        rival: The other.
        difference: First minus other; below zero, the first leaves less of the backdoor.
        acc: The same difference in clean accuracy.
        attackers: Attackers that both have.
        units: Defender records that both have.
        agreeing: Attackers whose own difference has the sign of the mean.
        role: "primary", "development" or "exploratory".
        at_rule: Whether the rate is the one that the rate rule picks for the first method; None where the records
            do not tell.
    """

    row: Row
    rival: Row
    difference: Interval
    acc: Interval
    attackers: int
    units: int
    agreeing: int
    role: str
    at_rule: bool | None

    @property
    def outcome(self) -> str:
        """Whether the first leaves "less" of the backdoor, "more", or is "not told apart"."""
        return outcome_of(self.difference)

    @property
    def status(self) -> str:
        """What may be said: a lead below five attackers; decided or not at the rate rule's rate; exploratory."""
        if self.attackers < CLAIM_ATTACKERS:
            return f"lead ({count(self.attackers, 'attacker')})"
        if self.role != "primary":
            return self.role
        if self.at_rule is None:
            return "not decided: rate rule unknown"
        if not self.at_rule:
            return "not the rate rule's rate"
        return "not decided: interval includes zero" if self.outcome == SAME else f"decided: {self.outcome}"


def outcome_of(difference: Interval) -> str:
    """Returns `LESS`, `MORE` or `SAME`, as the interval lies below, above or around zero."""
    if difference.high < 0.0:
        return LESS
    return MORE if difference.low > 0.0 else SAME


def count(number: int, noun: str) -> str:
    """Writes "1 attacker", "3 attackers"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def compare(row: Row, rival: Row, resampler: Resampler, rules: dict[Row, bool | None] | None = None) -> Contrast | None:
    """Returns the contrast of two rows; None where they share no unit, or only one of them has a floor."""
    difference = subtract(row.excess, rival.excess)
    if not difference or (row.above is None) != (rival.above is None):
        return None
    whole = mean(difference)
    return Contrast(
        row,
        rival,
        resampler.interval(difference),
        resampler.interval(subtract(row.correct, rival.correct)),
        attackers(difference),
        len(difference),
        sum(bool(np.sign(one) == np.sign(whole)) for one in by_attacker(difference).values()),
        role_of(row, rival),
        (rules or {}).get(row),
    )


def role_of(row: Row, rival: Row) -> str:
    """Returns what a contrast is under PROTOCOL.md."""
    if (row.method, rival.method) not in PRIMARY:
        return "exploratory"
    if row.scene.protocol == DEVELOPMENT:
        return "development"
    declared = row.scene.protocol == PRIMARY_PROTOCOL and row.scene.attack in PRIMARY_ATTACKS
    return "primary" if declared and row.constraint == PRIMARY_CONSTRAINT else "exploratory"


def contrasts(rows: Sequence[Row], resampler: Resampler) -> list[Contrast]:
    """Returns every method against ft and against random masks at the same rate; the primary ones first in a scene.

    The random mask is `random-third` where it was run, else the other ones.
    """
    rules = rate_rule(rows)
    found: list[Contrast] = []
    for group in by_scene(rows).values():
        mine = []
        for row in group:
            for rival in rivals(row, group):
                made = compare(row, rival, resampler, rules)
                mine += [made] if made is not None else []
        found += sorted(mine, key=lambda one: one.role == "exploratory")
    return found


def rivals(row: Row, group: Iterable[Row]) -> list[Row]:
    """Returns the rows of a scene that a row is held against: ft and a random mask at its rate."""
    beside = [one for one in group if one.learning_rate == row.learning_rate and one is not row]
    ft = [one for one in beside if one.method == REFERENCE and row.method != REFERENCE]
    random = [] if row.method in (*RANDOM_MASKS, REFERENCE) else random_rows(row, beside)
    return ft + random


def random_rows(row: Row, beside: Sequence[Row]) -> list[Row]:
    """Returns random-third if it shares a unit with a row, else the random masks of a size that was searched."""
    shared = [one for one in beside if set(one.excess) & set(row.excess)]
    third = [one for one in shared if one.method == THIRD]
    sized = [one for one in shared if one.method in RANDOM_MASKS and one.constraint in ("", row.constraint)]
    return third or sized


def rate_rule(rows: Sequence[Row]) -> dict[Row, bool | None]:
    """Tells of each row whether its rate is the one a defender would choose.

    Of the rates run, it is the highest whose accuracy on `certify` after the final fine-tuning is within half a point
    of the best: means over the victims' units that all rates have, by method and constraint.

    Returns:
        None for rows of one rate, of which a record lacks that accuracy, or whose rates share no unit.
    """
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.scene, row.method, row.constraint, row.note), []).append(row)
    return {row: told for group in groups.values() for row, told in _rule(group).items()}


def _rule(group: list[Row]) -> dict[Row, bool | None]:
    shared = sorted(set.intersection(*(set(row.units) for row in group)))
    if len(group) < 2 or not shared or any(unit not in row.certified for row in group for unit in shared):
        return dict.fromkeys(group)
    accuracy = {row: mean({unit: np.array([row.certified[unit]]) for unit in shared}) for row in group}
    best = max(accuracy.values())
    # A hair more than half a point: .895 is within it of .9, whatever the last bits say.
    within = [row for row in group if accuracy[row] >= best - RATE_TOLERANCE - 1e-9]
    chosen = max(within, key=lambda row: row.learning_rate)
    return {row: row is chosen for row in group}
