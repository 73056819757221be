"""Rows of round numbers, for golden tests."""

from __future__ import annotations

from prune_env.speed.contestants import OURS, RELEASED, TUNED
from prune_env.speed.measure import Measured, Spread
from prune_env.speed.rows import SECONDS, Row, make_row


def seconds(
    workload: str, case: str, contestant: str, dtype: str, value: float, asked: int = 10, timed: int = 10
) -> Row:
    """One evaluation takes `value` seconds and 1,000 useful FLOP."""
    return make_row(workload, case, (contestant, dtype), SECONDS, [Measured(value)], (asked, timed), 1000.0)


def rate(workload: str, case: str, contestant: str, unit: str, value: float) -> Row:
    """`value` of something a second."""
    return Row(workload, case, contestant, "float32", unit, Spread(value, value, value, 1), 10, 10)


W1 = [
    seconds("W1", "random masks", RELEASED, "float32", 12.0, timed=1),
    seconds("W1", "random masks", TUNED, "float32", 3.0, timed=2),
    seconds("W1", "random masks", OURS, "float32", 1.0),
    seconds("W1", "random masks", TUNED, "bfloat16", 1.5, timed=2),
    seconds("W1", "random masks", OURS, "bfloat16", 0.5),
]
"""As released takes 12 s, tuned transformers 3 s and 1.5 s, ours 1 s and 0.5 s."""
