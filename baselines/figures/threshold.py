"""The paper's Figure 2b: what the accuracy threshold costs and buys, tau from .95 to .85, beside the matched floor.

A threshold is feasible where the model with all its heads reaches it; above that, no head may go, and the method is
fine-tuning alone. Those points are drawn hollow: they say nothing about pruning.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prune_env.baselines.figures.drawing import Cell, Drawing, Picture, Request
from prune_env.baselines.figures.intervals import note
from prune_env.baselines.figures.marks import by_name, cells, counts, error_bars, records_in
from prune_env.baselines.figures.matching import Scene, by_scene, one_rate, pairs, title_of
from prune_env.baselines.figures.style import FLOOR_COLOR, light_grid, look, new_figure, side_labels
from prune_env.baselines.figures.threshold_points import GRID, Point, commands, points
from prune_env.baselines.summary import rate_text
from prune_env.errors import FigureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(request: Request) -> list[Picture]:
    """Draws one picture: above LFR against tau, below LFR against ACC; a column a family."""
    found, rate = one_rate(pairs(request.records), request.learning_rate)
    families: dict[Scene, list[Point]] = {}
    for family, group in by_scene(found).items():
        every = points(group)
        if len({point.threshold for point in every if point.threshold is not None}) > 1:
            families[family] = every
    if not families:
        raise FigureError(
            "no method was run under several thresholds; run one command a threshold, with one --out: "
            f"{commands(['tiny-syntactic', 'tiny-style'])[0]}, then --threshold {', '.join(f'{t:g}' for t in GRID[1:])}"
        )
    return [_picture(families, rate)]


def _picture(families: dict[Scene, list[Point]], rate: float) -> Picture:
    every = [point for found in families.values() for point in found]
    counted = counts({family: records_in(found) for family, found in families.items()})
    caption = (
        f"Final fine-tuning at {rate_text(rate)}. {note(point.found for point in every)} Counted: {counted}. Hollow: "
        "the model with every head misses tau, so nothing may be pruned and the point is fine-tuning alone. Dotted: "
        "matched floor, the never-poisoned twin after the same method and tau, with its bars, a little beside tau "
        "(below: their mean). Dashed above, star below: methods without a tau."
    )
    figure = new_figure(6.0, "What the accuracy threshold tau buys", caption)
    grid = figure.subplots(2, len(families), squeeze=False, sharey="all")
    for column, (family, found) in enumerate(families.items()):
        _against_tau(grid[0, column], title_of(family), found)
        _against_acc(grid[1, column], found)
    figure.draw_without_rendering()
    for column, found in enumerate(families.values()):
        _label_lines(grid[0, column], found)
        _label_results(grid[1, column], found)
    for row in range(2):
        grid[row, 0].set_ylabel("LFR after fine-tuning (%)")
    return Picture(
        name="threshold",
        title="LFR against the accuracy threshold tau, and against ACC",
        figure=figure,
        columns=(
            "family", "protocol", "scene", "method", "setting", "threshold", "records", "feasible", "heads_kept", "acc",
            "acc_low", "acc_high", "lfr", "lfr_low", "lfr_high", "floor", "floor_low", "floor_high",
        ),
        rows=[_row(family, point) for family, found in families.items() for point in found],
        says=tuple(_says(family, found) for family, found in families.items()),
        caption=caption,
    )  # fmt: skip


def _lines(found: Sequence[Point]) -> dict[str, list[Point]]:
    """Returns the points of each method under a threshold."""
    return by_name(point for point in found if point.threshold is not None)


def _against_tau(axes: Axes, title: str, found: list[Point]) -> None:
    for number, line in enumerate(_lines(found).values()):
        taus = [point.threshold or 0.0 for point in line]
        _draw_line(axes, line[0].method, taus, line)
        # A little beside tau, so that the bars of floors stay apart from those of LFR and of each other.
        _draw_floors(axes, line, 0.0012 * (number + 1))
    every = sorted({point.threshold for point in found if point.threshold is not None})
    for point in found:
        if point.threshold is None:
            color = look(point.method).color
            axes.plot([every[-1], every[0]], [100 * point.lfr.value] * 2, "--", color=color, linewidth=0.9, zorder=1)
    light_grid(axes)
    axes.set_xticks(every, [_short(tau) for tau in every])
    axes.set_xlim(every[-1] + 0.006, every[0] - 0.006)
    axes.set_ylim(0, 105)
    axes.set_title(textwrap.fill(title, 34))
    axes.set_xlabel("tau: accuracy held on search (stricter to the left)")


def _draw_floors(axes: Axes, line: Sequence[Point], beside: float) -> None:
    color = look(line[0].method).color
    floors = [((point.threshold or 0.0) + beside, point.floor) for point in line if point.floor is not None]
    axes.plot([at for at, _ in floors], [100 * value.value for _, value in floors], ":", color=color, linewidth=1.1)
    error_bars(axes, [at for at, _ in floors], [value for _, value in floors], color, ":")


def _draw_line(axes: Axes, method: str, places: Sequence[Any], line: Sequence[Point]) -> None:
    style = look(method)
    axes.plot(places, [100 * point.lfr.value for point in line], "-", color=style.color, linewidth=1.3)
    error_bars(axes, places, [point.lfr for point in line], style.color)
    for place, point in zip(places, line, strict=True):
        fill = style.color if point.feasible == 1.0 else "white"
        axes.plot(place, 100 * point.lfr.value, style.marker, color=style.color, markerfacecolor=fill)


def _label_lines(axes: Axes, found: Sequence[Point]) -> None:
    """Names each line where it ends, at the loosest tau."""
    labels: list[tuple[float, float, str, str]] = []
    for name, line in _lines(found).items():
        labels.append((line[-1].threshold or 0.0, 100 * line[-1].lfr.value, name, look(line[-1].method).color))
    loosest = min(point.threshold for point in found if point.threshold is not None)
    for point in found:
        if point.threshold is None:
            labels.append((loosest, 100 * point.lfr.value, point.name, look(point.method).color))
    floors = [point.floor.value for point in found if point.floor is not None]
    if floors:
        labels.append((loosest, 100 * sum(floors) / len(floors), "floors", FLOOR_COLOR))
    side_labels(axes, labels)


def _against_acc(axes: Axes, found: list[Point]) -> None:
    for line in _lines(found).values():
        color = look(line[0].method).color
        _draw_line(axes, line[0].method, [100 * point.acc.value for point in line], line)
        for same in _runs(line):
            value, height = same[0].acc, 100 * same[0].lfr.value
            axes.plot([100 * value.low, 100 * value.high], [height, height], color=color, linewidth=0.9, alpha=0.3)
    for point in found:
        if point.threshold is None:
            color = look(point.method).color
            axes.plot(100 * point.acc.value, 100 * point.lfr.value, "*", color=color, markersize=9)
    floors = [100 * point.floor.value for point in found if point.floor is not None]
    if floors:
        axes.axhline(sum(floors) / len(floors), color=FLOOR_COLOR, linewidth=1.1, linestyle=":")
    light_grid(axes, "both")
    axes.set_xlabel("ACC after fine-tuning (%)")


def _runs(line: Sequence[Point]) -> list[list[Point]]:
    """Groups neighbours with one and the same result: the same mask under several thresholds."""
    runs: list[list[Point]] = []
    for point in line:
        if runs and (runs[-1][0].acc, runs[-1][0].lfr) == (point.acc, point.lfr):
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _label_results(axes: Axes, found: Sequence[Point]) -> None:
    """Names each result and the thresholds that led to it; out of reach of tau it is fine-tuning's, which is named."""
    labels: list[tuple[float, float, str, str]] = []
    for point in found:
        if point.threshold is None:
            labels.append((100 * point.acc.value, 100 * point.lfr.value, point.name, look(point.method).color))
    for name, line in _lines(found).items():
        for same in _runs([point for point in line if point.feasible > 0.0]):
            taus = " to ".join(dict.fromkeys(_short(point.threshold) for point in (same[0], same[-1])))
            where = (100 * same[0].acc.value, 100 * same[0].lfr.value)
            labels.append((*where, f"{name} {taus}", look(line[0].method).color))
    side_labels(axes, labels)


def _short(tau: float | None) -> str:
    return "" if tau is None else f"{tau:g}".lstrip("0")


def _row(family: Scene, point: Point) -> tuple[Cell, ...]:
    identity = (*family, point.method, point.note, point.threshold, len(point.found), point.feasible, point.heads_kept)
    return (*identity, *cells(point.acc), *cells(point.lfr), *cells(point.floor))


def _says(family: Scene, found: Sequence[Point]) -> str:
    parts = []
    for method, line in _lines(found).items():
        able = [point for point in line if point.feasible == 1.0]
        if len(able) < 2:
            parts.append(f"{method} has fewer than two feasible thresholds")
            continue
        first, last = able[0], able[-1]
        parts.append(
            f"{method} goes from LFR {100 * first.lfr.value:.1f} at tau {first.threshold:g} to "
            f"{100 * last.lfr.value:.1f} at {last.threshold:g} (ACC {100 * first.acc.value:.1f} to "
            f"{100 * last.acc.value:.1f}, heads kept {first.heads_kept:.0f} to {last.heads_kept:.0f})"
        )
    out = sorted({point.threshold for point in found if point.threshold is not None and point.feasible < 1.0})
    reach = f" Out of reach of the model with every head: tau {', '.join(f'{tau:g}' for tau in out)}." if out else ""
    return f"On {title_of(family)} {'; '.join(parts)}.{reach}"


THRESHOLD = Drawing("threshold", "LFR against tau and against ACC, tau from .95 to .85 (the paper's 2b)", draw)
