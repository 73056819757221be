"""How figures look: one colour and marker a method everywhere, text that can be read in a README.

Colours are Okabe and Ito's, which people with any colour vision tell apart, and never the only difference: methods
have markers of their own, and lines are labelled where they end.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from prune_env.baselines.summary import kind_of
from prune_env.methods import METHODS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.0
"""Inches; text of 8 points is then readable in a page of usual width."""

INK, PALE, GRID = "#333333", "#bbbbbb", "#e6e6e6"
FLOOR_COLOR = "#777777"
HIGHLIGHT = "#fff3d6"

SHADES = {
    "baseline": ("#111111", "#777777", "#4d4d4d", "#999999"),
    "strategy": ("#0072B2", "#56B4E9", "#009E73", "#6A5ACD", "#004466", "#7FB7A0", "#3C8DAD"),
    "own": ("#AA3377", "#882255", "#C98BB9"),
    "control": ("#D55E00", "#E69F00", "#CC79A7", "#A6611A", "#B8860B", "#8C2D04"),
}
"""Of each kind of method, in the order in which kinds are drawn."""

KIND_COLORS = {kind: shades[0] for kind, shades in SHADES.items()}
"""One colour a kind, where rows are named anyway."""

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "h")

_RC: dict[str, Any] = {
    "font.size": 9.0, "axes.titlesize": 9.0, "axes.labelsize": 9.0, "xtick.labelsize": 8.0, "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False,
    "axes.titlelocation": "left", "figure.facecolor": "white", "savefig.facecolor": "white", "legend.frameon": False,
    "lines.linewidth": 1.5, "lines.markersize": 5.0, "svg.hashsalt": "prune-env", "font.family": "DejaVu Sans",
}  # fmt: skip
_LINE_HEIGHT, _TITLE_HEIGHT, _CHARACTERS = 0.155, 0.3, 134


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    color: str
    marker: str


@contextmanager
def styled() -> Iterator[None]:
    """Draws with this module's settings, whatever the user's are."""
    import matplotlib as mpl

    settings: Any = {**mpl.rcParamsDefault, **_RC}
    # The user's backend stays: figures here have a canvas of their own.
    del settings["backend"]
    with mpl.rc_context(settings):
        yield


def look(method: str) -> Look:
    """Returns a method's colour, of its kind's, and its marker: the same in every figure."""
    kind = kind_of(method)
    peers = [name for name in METHODS if kind_of(name) == kind]
    place = peers.index(method) if method in peers else len(peers)
    return Look(SHADES[kind][place % len(SHADES[kind])], MARKERS[place % len(MARKERS)])


def order(methods: Sequence[str]) -> list[str]:
    """Sorts methods: baselines, strategies, the project's own, controls, each as registered."""
    kinds, names = list(SHADES), list(METHODS)
    place = {name: number for number, name in enumerate(names)}
    return sorted(set(methods), key=lambda one: (kinds.index(kind_of(one)), place.get(one, len(names)), one))


def new_figure(height: float, title: str, caption: str, width: float = WIDTH, legend: float = 0.0) -> Figure:
    """Returns an empty figure with its title above and its caption below what will be drawn; panels fit themselves.

    Args:
        height: Inches between title and caption.
        title: One line.
        caption: Wrapped to the width.
        width: Inches.
        legend: Inches kept free above the caption, for `bottom_legend`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(caption, int(_CHARACTERS * width / WIDTH))
    below = _LINE_HEIGHT * len(lines) + 0.12
    total = height + legend + below + _TITLE_HEIGHT
    figure = Figure(figsize=(width, total), layout="constrained")
    FigureCanvasAgg(figure)
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, (below + legend) / total, 1, height / total), w_pad=0.06, h_pad=0.06)
    figure.text(0.06 / width, 1 - 0.08 / total, title, fontsize=11, fontweight="bold", va="top")
    figure.text(
        0.06 / width, 0.06 / total, "\n".join(lines), fontsize=8, va="bottom", linespacing=1.25, color="#555555"
    )
    return figure


def bottom_legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Draws a legend in one row, in what `new_figure` kept free above the caption."""
    engine: Any = figure.get_layout_engine()
    drawn = figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, engine.get()["rect"][1]), ncols=len(labels),
        markerscale=1.8, handletextpad=0.2, borderaxespad=0.2,
    )  # fmt: skip
    drawn.set_in_layout(False)


def rows_of(count: int, per_row: int) -> int:
    """Returns how many rows `panels_of` has."""
    return -(-count // per_row)


def panels_of(figure: Figure, count: int, per_row: int, *, sharex: bool = False, sharey: bool = False) -> list[Axes]:
    """Returns the axes of so many panels, row by row; what is left of the last row stays empty.

    Args:
        figure: An empty one.
        count: Panels, at least one.
        per_row: At most so many side by side.
        sharex: Whether panels have one range across.
        sharey: Whether panels have one range upright.
    """
    grid = figure.subplots(rows_of(count, per_row), min(per_row, count), squeeze=False, sharex=sharex, sharey=sharey)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return list(grid.flat[:count])


def light_grid(axes: Axes, axis: Literal["both", "x", "y"] = "y") -> None:
    """Draws pale lines at the ticks of one axis, behind the data."""
    axes.grid(visible=True, axis=axis, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def side_labels(axes: Axes, labels: Sequence[tuple[float, float, str, str]], gap: float = 9.5) -> None:
    """Writes labels in the right margin, pushed apart where they would overlap, with a pale line to what they name.

    Call it last, after `figure.draw_without_rendering()`: places are computed from the axes' final limits and size.

    Args:
        axes: Where; its right limit leaves no room, the margin has to.
        labels: (x, y, text, colour) in data coordinates.
        gap: Least distance of two labels in points.
    """
    figure: Any = axes.figure
    height = axes.get_position().height * figure.get_size_inches()[1] * 72
    (low, high), (left, right) = axes.get_ylim(), axes.get_xlim()
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    scale = max(height, 1.0) / (high - low)
    placed = spread([(y - low) * scale for _, y, _, _ in labels], gap)
    for (x, y, text, color), at in zip(labels, placed, strict=True):
        axes.plot([x, right], [y, low + at / scale], color=PALE, linewidth=0.6, clip_on=False, zorder=0)
        axes.annotate(
            text, (right, low + at / scale), (3, 0), textcoords="offset points", fontsize=8, color=color, va="center",
            annotation_clip=False,
        )  # fmt: skip


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Moves numbers as little as a simple sweep can until neighbours are `gap` apart; their order is kept."""
    ranked = sorted(range(len(places)), key=lambda index: places[index])
    clusters: list[tuple[list[int], float]] = []
    for index in ranked:
        members, centre = [index], places[index]
        while clusters and centre - gap * (len(members) - 1) / 2 < _top(clusters[-1], gap) + gap:
            before, _ = clusters.pop()
            members = [*before, *members]
            centre = sum(places[one] for one in members) / len(members)
        clusters.append((members, centre))
    moved = [0.0] * len(places)
    for members, centre in clusters:
        for number, index in enumerate(members):
            moved[index] = centre + gap * (number - (len(members) - 1) / 2)
    return moved


def _top(cluster: tuple[list[int], float], gap: float) -> float:
    members, centre = cluster
    return centre + gap * (len(members) - 1) / 2
