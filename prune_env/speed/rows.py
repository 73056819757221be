"""One line of the report, and what is computed of several: ratios, the share of the ceiling, the exponent of growth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from prune_env.errors import ConfigError
from prune_env.speed.contestants import RELEASED, TUNED
from prune_env.speed.measure import Measured, Spread

SECONDS, STEPS, SENTENCES = "s/evaluation", "steps/s", "sentences/s"
"""Units of a row; of seconds less is better, of the others more."""


@dataclass(frozen=True)
class Row:
    """One contestant in one case of a workload.

    Attributes:
        workload: "W1" ... "W7" or "growth".
        case: What of the workload, in words.
        contestant: Its name.
        dtype: Its arithmetic.
        unit: One of `SECONDS`, `STEPS`, `SENTENCES`.
        spread: Median and extremes over the rounds, in this unit.
        asked: Evaluations, steps or sentences that the workload has.
        timed: How many of them each round really timed; the value is per one of them, which scales the rest.
        flop: Useful FLOP of one of them; 0 where it is not counted.
        details: Counts that belong to it, such as the share of layers saved; medians over the rounds.
    """

    workload: str
    case: str
    contestant: str
    dtype: str
    unit: str
    spread: Spread
    asked: int
    timed: int
    flop: float = 0.0
    details: dict[str, float] = field(default_factory=dict)

    @property
    def flops(self) -> float:
        """Useful FLOP a second; 0 where they are not counted."""
        return self.flop / self.spread.median if self.unit == SECONDS else self.flop * self.spread.median

    @property
    def total_seconds(self) -> float:
        """Seconds of the whole workload, scaled from what was timed; rates are turned round."""
        each = self.spread.median if self.unit == SECONDS else 1.0 / self.spread.median
        return each * self.asked


def make_row(
    workload: str,
    case: str,
    contestant: tuple[str, str],
    unit: str,
    rounds: Sequence[Measured],
    counts: tuple[int, int],
    flop: float = 0.0,
) -> Row:
    """Summarises the rounds of a contestant (name, dtype); `counts` are the asked and the timed."""
    details = {
        name: Spread.of(one.details[name] for one in rounds).median
        for name in sorted(rounds[0].details if rounds else ())
    }
    spread = Spread.of(one.value for one in rounds)
    return Row(workload, case, *contestant, unit, spread, *counts, flop, details)


def times_faster(row: Row, reference: Row) -> float:
    """Returns how many times faster a row is than its reference, by the medians.

    Raises:
        ConfigError: Rows of different units.
    """
    if row.unit != reference.unit:
        raise ConfigError(f"expected two rows of one unit, got {row.unit} and {reference.unit}; compare like with like")
    ratio = reference.spread.median / row.spread.median
    return ratio if row.unit == SECONDS else 1.0 / ratio


def reference(row: Row, rows: Iterable[Row], name: str) -> Row | None:
    """Returns the row of the contestant `name` in the same case: as released in float32, others in the row's dtype."""
    dtype = "float32" if name == RELEASED else row.dtype
    for other in rows:
        if (other.workload, other.case, other.contestant, other.dtype) == (row.workload, row.case, name, dtype):
            return other
    return None


def ratios(row: Row, rows: Sequence[Row]) -> tuple[float | None, float | None]:
    """Returns how many times faster a row is than as released, and than tuned transformers of its dtype."""
    found = (reference(row, rows, name) for name in (RELEASED, TUNED))
    over_released, over_tuned = (None if other is None else times_faster(row, other) for other in found)
    return over_released, over_tuned


def exponent(factors: Sequence[float], seconds: Sequence[float]) -> float:
    """Returns the slope of log seconds over log factor, by least squares: 1 is linear, less is better.

    Raises:
        ConfigError: Fewer than two factors, or numbers that are not positive.
    """
    if len(factors) != len(seconds) or len(set(factors)) < 2 or min([*factors, *seconds]) <= 0:
        raise ConfigError(f"expected seconds > 0 at two or more sizes, got {list(seconds)} at {list(factors)}")
    x, y = [math.log(factor) for factor in factors], [math.log(second) for second in seconds]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return slope / sum((a - middle_x) ** 2 for a in x)
