"""How little clean data is enough: points above the floor and ACC against the number of clean training sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prune_env.baselines.figures.drawing import Cell, Drawing, Picture, Request
from prune_env.baselines.figures.intervals import above_floor, acc, note
from prune_env.baselines.figures.marks import Mark, by_name, cells, counts, error_bars, ranked, records_in
from prune_env.baselines.figures.matching import Pair, by_scene, by_setting, one_constraint, one_rate, pairs
from prune_env.baselines.figures.style import INK, light_grid, look, new_figure, side_labels
from prune_env.baselines.remaining import POOLS
from prune_env.baselines.summary import rate_text
from prune_env.errors import FigureError
from prune_env.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMMANDS = tuple(
    f"prune-env bench --victim DIR --data data --protocol {name} --methods ft,random-third,restart --out runs/scarcity"
    for name in ("phrases-200", "phrases-2000", "phrases-15k")
)


@dataclass(frozen=True)
class Point(Mark):
    """One method in one setting with so many clean sentences.

    Attributes:
        sentences: Clean training sentences.
        points: Above the matched floor, as a rate.
        acc: Clean test accuracy.
    """

    sentences: int
    points: Interval
    acc: Interval


def draw(request: Request) -> list[Picture]:
    """Draws one picture: above points above the floor, below ACC; a column a family."""
    every = [pair for pair in pairs(request.records) if pair.twin is not None and sentences_of(pair) is not None]
    found, rate = one_rate(every, request.learning_rate) if every else ([], 0.0)
    kept, left_out = one_constraint(found)
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in kept:
        groups[pair.family, str(pair.record.config["protocol"].get("source", ""))].append(pair)
    families = {family: points(group) for family, group in sorted(groups.items())}
    families = {family: found for family, found in families.items() if len({one.sentences for one in found}) > 1}
    if not families:
        raise FigureError(
            "no family was defended with several amounts of clean data; run, with one --out, "
            f"{COMMANDS[0]}, and the same with --protocol phrases-2000 and phrases-15k"
        )
    return [_picture(families, rate, left_out)]


def sentences_of(pair: Pair) -> int | None:
    """Returns how many clean sentences a defender trained on, about where it takes all; None if unknown."""
    protocol = pair.record.config["protocol"]
    size = protocol.get("train_size") or POOLS.get(str(protocol.get("source")))
    return None if size is None else int(size)


def points(found: Sequence[Pair]) -> list[Point]:
    """Returns a point for each method, setting and amount, by method and setting, few sentences first."""
    groups: dict[tuple[str, str, int], list[Pair]] = defaultdict(list)
    for (_, _, scene), own in by_scene(found).items():
        for pair in own:
            groups[pair.record.method, scene, sentences_of(pair) or 0].append(pair)
    every = [
        Point(method, ", ".join(filter(None, (scene, note))), part, size, above_floor(part), acc(part))
        for (method, scene, size), group in groups.items()
        for note, part in by_setting(group).items()
    ]
    return ranked(every, lambda point: point.sentences)


def _picture(families: dict[tuple[str, str], list[Point]], rate: float, left_out: str) -> Picture:
    every = [point for found in families.values() for point in found]
    counted = counts({family: records_in(found) for family, found in families.items()})
    caption = (
        f"Final fine-tuning at {rate_text(rate)}, of methods with their own rate at that. Above: LFR minus that of "
        f"the never-poisoned twin after the same (0: the floor). {note(point.found for point in every)} Counted: "
        f"{counted}. Amounts are clean training sentences, logarithmic. {left_out}"
    ).strip()
    figure = new_figure(5.6, "What is left of the backdoor with little clean data", caption)
    grid = figure.subplots(2, len(families), squeeze=False, sharey="row", sharex="col")
    for column, (family, found) in enumerate(families.items()):
        _lines(grid[0, column], found, "points")
        _lines(grid[1, column], found, "acc")
        grid[0, column].axhline(0, color=INK, linewidth=1)
        grid[0, column].set_title(f"{family[0]}, {family[1]}")
        grid[1, column].set_xlabel("clean training sentences")
    grid[0, 0].set_ylabel("points above the matched floor")
    grid[1, 0].set_ylabel("ACC (%)")
    figure.draw_without_rendering()
    for column, found in enumerate(families.values()):
        for row, name in enumerate(("points", "acc")):
            _label(grid[row, column], found, name)
    return Picture(
        name="scarcity",
        title="Points above the floor and ACC against the amount of clean data",
        figure=figure,
        columns=(
            "family", "source", "method", "setting", "sentences", "records", "above_floor", "low", "high", "acc",
            "acc_low", "acc_high",
        ),
        rows=[_row(family, point) for family, found in families.items() for point in found],
        says=tuple(_says(family, found) for family, found in families.items()),
        caption=caption,
    )  # fmt: skip


def _lines(axes: Axes, found: Sequence[Point], name: str) -> None:
    sizes = sorted({point.sentences for point in found})
    for number, line in enumerate(by_name(found).values()):
        style = look(line[0].method)
        # A few per cent apart, so that bars at one amount stay apart.
        places = [point.sentences * 1.03**number for point in line]
        values: list[Interval] = [getattr(point, name) for point in line]
        axes.plot(places, [100 * value.value for value in values], "-", color=style.color, marker=style.marker)
        error_bars(axes, places, values, style.color)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    light_grid(axes)


def _label(axes: Axes, found: Sequence[Point], name: str) -> None:
    ends = [line[-1] for line in by_name(found).values()]
    side_labels(axes, [(e.sentences, 100 * getattr(e, name).value, e.name, look(e.method).color) for e in ends])


def _row(family: tuple[str, str], point: Point) -> tuple[Cell, ...]:
    identity = (*family, point.method, point.note, point.sentences, len(point.found))
    return (*identity, *cells(point.points), *cells(point.acc))


def _says(family: tuple[str, str], found: Sequence[Point]) -> str:
    parts = []
    for name, line in by_name(found).items():
        ends = line if len(line) == 1 else [line[0], line[-1]]
        points = " and ".join(f"{100 * one.points.value:.1f} points at {one.sentences:,}" for one in ends)
        parts.append(f"{name} {points} (ACC {' and '.join(f'{100 * one.acc.value:.1f}' for one in ends)})")
    return f"On {family[0]} above the floor: {'; '.join(parts)}."


SCARCITY = Drawing("scarcity", "points above the floor and ACC against the number of clean sentences", draw)
