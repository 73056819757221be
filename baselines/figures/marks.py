"""Marks of one method in one setting: how they are named, ordered, counted and given their intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from prune_env.baselines.figures.matching import Pair, repetitions
from prune_env.baselines.figures.style import order
from prune_env.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Mark:
    """Records of one method in one setting, drawn as one mark.

    Attributes:
        method: Registered name.
        note: What sets the setting apart from others of this method in its place; "" where there is one.
        found: Its records.
    """

    method: str
    note: str
    found: list[Pair]

    @property
    def name(self) -> str:
        """The method, and what sets its setting apart."""
        return f"{self.method}, {self.note}" if self.note else self.method


M = TypeVar("M", bound=Mark)


def ranked(marks: Iterable[M], then: Callable[[M], float]) -> list[M]:
    """Sorts marks by kind of method, as registered, then by setting, then by a number."""
    every = list(marks)
    places = {method: place for place, method in enumerate(order([mark.method for mark in every]))}
    return sorted(every, key=lambda mark: (places[mark.method], mark.note, then(mark)))


def by_name(marks: Iterable[M]) -> dict[str, list[M]]:
    """Groups marks by name: the points of one line, the dots of one row."""
    lines: dict[str, list[M]] = defaultdict(list)
    for mark in marks:
        lines[mark.name].append(mark)
    return lines


def records_in(marks: Iterable[Mark]) -> list[Pair]:
    """Returns all records of some marks."""
    return [pair for mark in marks for pair in mark.found]


def counts(panels: Mapping[Any, Iterable[Pair]]) -> str:
    """Says how often each panel's family was defended; a panel's key begins with its family."""
    return "; ".join(f"{panel[0]} {repetitions(found)}" for panel, found in panels.items())


def cells(value: Interval | None) -> tuple[float | None, float | None, float | None]:
    """Returns a value and its bounds as three cells of a table; empty ones for None."""
    return (None, None, None) if value is None else (value.value, value.low, value.high)


def error_bars(axes: Axes, places: Sequence[float], values: Sequence[Interval], color: str, style: str = "-") -> None:
    """Draws upright intervals of rates, in per cent."""
    for place, value in zip(places, values, strict=True):
        axes.plot([place, place], [100 * value.low, 100 * value.high], style, color=color, linewidth=0.9, alpha=0.7)
