"""The rate rule of PROTOCOL.md: of the rates run, the highest that costs no more than half a point of clean accuracy.

A defender cannot see the backdoor, so a rate is chosen by accuracy on `certify` after the final fine-tuning: a mean
over the victims' units, by method. A rate that was run on a part of the units is not compared, whatever it reaches on
them: else the units that happen to be finished would choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prune_env.baselines.tables.hierarchy import mean
from prune_env.baselines.tables.rows import Row

RATE_TOLERANCE = 0.005
"""How far below the best accuracy on `certify` a rate may stay."""


@dataclass(frozen=True)
class Ruling:
    """What the rate rule says of a row.

    Attributes:
        chosen: Whether its rate is the rule's; None where the records do not tell.
        units: Defender records of each rate over which rates were compared; 0 where they were not.
        of: Defender records of the row.
    """

    chosen: bool | None
    units: int
    of: int


def rate_rule(rows: Sequence[Row]) -> dict[Row, Ruling]:
    """Tells of each row whether its rate is the one a defender would choose.

    Compared are the rates that cover the largest set of units any rate was run on, over those of its units that have
    the accuracy at all of these rates (records made before it was measured lack it).

    Returns:
        `chosen` is None for rows of a method that fewer than two rates cover, for a rate that was run on a part of the
        units, and where no unit has the accuracy at every rate.
    """
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.scene, row.method, row.constraint, row.note), []).append(row)
    return {row: told for group in groups.values() for row, told in _rule(group).items()}


def _rule(group: list[Row]) -> dict[Row, Ruling]:
    largest = set(max(group, key=lambda row: len(row.units)).units)
    covering = [row for row in group if largest <= set(row.units)]
    shared = sorted(set.intersection(*(set(row.certified) for row in covering)))
    told = {row: Ruling(None, 0, len(row.units)) for row in group}
    if len(covering) < 2 or not shared:
        return told
    accuracy = {row: mean({unit: np.array([row.certified[unit]]) for unit in shared}) for row in covering}
    best = max(accuracy.values())
    # A hair more than half a point: .895 is within it of .9, whatever the last bits say.
    within = [row for row in covering if accuracy[row] >= best - RATE_TOLERANCE - 1e-9]
    chosen = max(within, key=lambda row: row.learning_rate)
    return {**told, **{row: Ruling(row is chosen, len(shared), len(row.units)) for row in covering}}
