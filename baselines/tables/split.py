"""What a method removes, split: the fine-tuning's rate on the one hand, the method at that rate on the other.

A warmer fine-tuning removes much by itself. So a row's points above the floor are taken apart: plain fine-tuning at
the protocol's own rate, the change that plain fine-tuning at the row's rate makes, and the change that the method makes
beside plain fine-tuning at the same rate. The three add up to the row's points, over the units that all of them have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prune_env.baselines.summary import PLAIN, REFERENCE
from prune_env.baselines.tables.hierarchy import Resampler, Values, attackers, mean, subtract
from prune_env.baselines.tables.rows import Row, by_scene
from prune_env.metrics import Interval


@dataclass(frozen=True)
class Split:
    """A row's points above the floor as a sum; rates in [-1, 1], changes below zero remove.

    Attributes:
        row: What is split.
        start: Points of ft at the protocol's own rate.
        by_rate: ft at the row's rate minus that; zero width at the protocol's own rate.
        by_method: The row minus ft at its rate; None for ft itself, and for fth.
        attackers: Attackers that all three have.
        units: Defender records that all three have.
    """

    row: Row
    start: float
    by_rate: Interval
    by_method: Interval | None
    attackers: int
    units: int

    @property
    def end(self) -> float:
        """Points that are left: the sum."""
        return self.start + self.by_rate.value + (self.by_method.value if self.by_method else 0.0)


def splits(rows: Sequence[Row], resampler: Resampler) -> list[Split]:
    """Returns the split of every row beside which ft ran at its rate and at the protocol's own, twins included."""
    found = [_split(row, group, resampler) for group in by_scene(rows).values() for row in group]
    return [one for one in found if one is not None]


def _split(row: Row, group: Sequence[Row], resampler: Resampler) -> Split | None:
    own = _ft(group, row.scene.own_rate)
    plain = row if row.method in PLAIN else _ft(group, row.learning_rate)
    if own is None or plain is None or None in (own.above, plain.above, row.above):
        return None
    shared = set(own.excess) & set(plain.excess) & set(row.excess)
    if not shared:
        return None
    start, middle, end = (_only(one.excess, shared) for one in (own, plain, row))
    return Split(
        row,
        mean(start),
        resampler.interval(subtract(middle, start)),
        None if plain is row else resampler.interval(subtract(end, middle)),
        attackers(shared),
        len(shared),
    )


def _ft(group: Sequence[Row], rate: float) -> Row | None:
    return next((row for row in group if row.method == REFERENCE and row.learning_rate == rate), None)


def _only(values: Values, units: set[tuple[int, int]]) -> Values:
    return {unit: one for unit, one in values.items() if unit in units}
