"""Points above the floor as a picture: geometry of dots with intervals, which the page draws as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prune_env.baselines.summary import rate_text
from prune_env.baselines.tables.rows import CLAIM_ATTACKERS, Row
from prune_env.baselines.tables.words import interval

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 860, 190, 170, 14, 44
LINE, GAP = 19, 7
SHAPES = ("circle", "square", "diamond", "triangle")
_STEPS = (1, 2, 5, 10, 20, 50)


@dataclass(frozen=True)
class Mark:
    """One row: a dot, its interval, and the words at both ends, in the units of the view box.

    Attributes:
        y: Height of the line.
        x: Of the estimate.
        low: Of the interval's lower end.
        high: Of its upper end.
        label: The method, on its first line; "" below it.
        value: Estimate and interval in words.
        rate: Learning rate in words.
        series: Index of the rate: colour and shape.
        lead: Whether fewer than five attackers stand behind it: drawn hollow.
        band: Whether the method's lines are shaded.
    """

    y: float
    x: float
    low: float
    high: float
    label: str
    value: str
    rate: str
    series: int
    lead: bool
    band: bool


@dataclass(frozen=True)
class Chart:
    """A picture of one scene.

    Attributes:
        title: What it shows, for those who do not see it.
        height: Of the view box; its width is `WIDTH`.
        zero: Where the floor stands.
        ticks: (x, words) along the axis.
        rates: The series' names.
        marks: Rows from the top.
    """

    title: str
    height: float
    zero: float
    ticks: tuple[tuple[float, str], ...]
    rates: tuple[str, ...]
    marks: tuple[Mark, ...]


def chart(group: Sequence[Row]) -> Chart | None:
    """Returns the picture of a scene's rows that have a floor; None where there are none."""
    shown = [row for row in group if row.above is not None]
    if not shown:
        return None
    bounds = [100 * end for row in shown if row.above is not None for end in (row.above.low, row.above.high)]
    low, high = min(0.0, *bounds), max(5.0, *bounds)
    step = next((one for one in _STEPS if (high - low) / one <= 10), 100)
    start, end = step * math.floor(low / step), step * math.ceil(high / step)

    def place(value: float) -> float:
        return round(LEFT + (value - start) / (end - start) * (WIDTH - LEFT - RIGHT), 1)

    rates = sorted({row.learning_rate for row in shown})
    marks, y, before, band = [], float(TOP), "", True
    for row in shown:
        name = f"{row.name}{row.constraint}"
        y += LINE if name == before else LINE + GAP
        band = band if name == before else not band
        if row.above is not None:
            value = row.above
            marks.append(
                Mark(
                    y=y,
                    x=place(100 * value.value),
                    low=place(100 * value.low),
                    high=place(100 * value.high),
                    label="" if name == before else row.name,
                    value=interval(value),
                    rate=rate_text(row.learning_rate),
                    series=rates.index(row.learning_rate),
                    lead=row.attackers < CLAIM_ATTACKERS,
                    band=band,
                )
            )
        before = name
    return Chart(
        title=f"Points above the matched floor: {shown[0].scene.title}",
        height=y + BOTTOM,
        zero=place(0.0),
        ticks=tuple((place(tick), f"{tick:g}") for tick in range(start, end + 1, step)),
        rates=tuple(map(rate_text, rates)),
        marks=tuple(marks),
    )
