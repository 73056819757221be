"""Pictures of a head mask: which heads are kept, how important each is, and what accuracy is left.

Matplotlib is imported where it is used, and only its Agg canvas: no display, no global state.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import OutputError
from prune_env.types import HeadMask, HeadScores, check_mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEPT_TEXT, PRUNED_TEXT = "0123456789", "·"
HOLDS_COLOR, FAILS_COLOR = "#1a7f4b", "#b3261e"
PRUNED_COLOR, INK = "#eeeeee", "#333333"


@dataclass(frozen=True, eq=False)
class HeadMap:
    """What a picture shows.

    Attributes:
        mask: bool (layers, heads), True = kept.
        importance: float (layers, heads) in [0, 1].
        accuracy: Of the mask, in [0, 1]; None draws none.
        threshold: The accuracy it has to reach; None draws none.
        metric: What the importance is.
        caption: A second line under the title.
    """

    mask: HeadMask
    importance: HeadScores
    accuracy: float | None = None
    threshold: float | None = None
    metric: str = "importance"
    caption: str = ""

    def __post_init__(self) -> None:
        check_mask(self.mask, *np.shape(self.importance))

    @property
    def holds(self) -> bool:
        """Whether the accuracy reaches the threshold, as far as both are known."""
        return self.accuracy is None or self.threshold is None or self.accuracy >= self.threshold

    @property
    def title(self) -> str:
        """How many heads are pruned, of how many."""
        return f"{int(np.count_nonzero(~self.mask))} of {self.mask.size} heads pruned"

    @property
    def verdict(self) -> str:
        """Accuracy against threshold in words."""
        if self.accuracy is None:
            return ""
        if self.threshold is None:
            return f"accuracy {self.accuracy:.3f}"
        return f"accuracy {self.accuracy:.3f} {'>=' if self.holds else '<'} threshold {self.threshold:.3f}"


def head_map_text(view: HeadMap) -> str:
    """Draws a head map as text: one line a layer, a kept head as its importance 0-9, a pruned one as a dot."""
    digits = np.clip(np.asarray(view.importance) * 10, 0, 9).astype(int)
    layers, heads = view.mask.shape
    width = max(2, len(str(heads - 1)) + 1)
    lines = [" | ".join(part for part in (view.title, view.verdict, view.caption) if part)]
    lines.append(f"{'head':>9}{''.join(f'{head:>{width}}' for head in range(heads))}")
    for layer in range(layers):
        cells = (
            KEPT_TEXT[digit] if kept else PRUNED_TEXT
            for kept, digit in zip(view.mask[layer], digits[layer], strict=True)
        )
        lines.append(f"layer {layer:>3}{''.join(f'{cell:>{width}}' for cell in cells)}")
    lines.append(f"0-9 = kept, by {view.metric}; {PRUNED_TEXT} = pruned")
    return "\n".join(lines)


def head_map_array(view: HeadMap, dpi: int = 100) -> NDArray[np.uint8]:
    """Draws a head map as pixels, uint8 (height, width, 3); the size depends on layers and heads alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = head_map_figure(view)
    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def save_head_map(view: HeadMap, path: Path | str, dpi: int = 150) -> Path:
    """Draws a head map into a PNG file, whose folder is made if it is not there.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path = Path(path)
    figure = head_map_figure(view)
    FigureCanvasAgg(figure)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=dpi, format="png")
    except OSError as error:
        raise OutputError(
            f"expected to write the picture {path}, got {error}; give a folder you may write to"
        ) from error
    return path


def head_map_figure(view: HeadMap) -> Figure:
    """Draws a head map as a matplotlib figure of its own: the grid of heads, and below it a gauge of the accuracy."""
    from matplotlib.figure import Figure

    layers, heads = view.mask.shape
    cell = 0.42 if max(layers, heads) <= 12 else 0.3
    width, grid_height = max(4.4, heads * cell + 1.9), max(1.6, layers * cell)
    height = grid_height + 2.15
    figure = Figure(figsize=(width, height), facecolor="white")
    left, right = 0.62 / width, 0.95 / width
    figure.text(left, 1 - 0.30 / height, view.title, fontsize=13, fontweight="bold", color=INK, va="center")
    figure.text(left, 1 - 0.58 / height, view.caption, fontsize=9, color=INK, va="center")
    grid = figure.add_axes((left, 1.3 / height, 1 - left - right, grid_height / height))
    _draw_grid(grid, view)
    _draw_scale(figure, figure.add_axes((1 - 0.72 / width, 1.3 / height, 0.12 / width, grid_height / height)), view)
    _draw_gauge(figure.add_axes((left, 0.34 / height, 1 - left - right, 0.2 / height)), view)
    return figure


def _draw_grid(axes: Axes, view: HeadMap) -> None:
    from matplotlib.colors import to_rgb

    layers, heads = view.mask.shape
    colors = _colormap()(np.asarray(view.importance))[:, :, :3]
    colors[~view.mask] = to_rgb(PRUNED_COLOR)
    axes.pcolormesh(colors, edgecolors="white", linewidth=2)
    axes.invert_yaxis()
    rows, columns = (~view.mask).nonzero()
    axes.scatter(columns + 0.5, rows + 0.5, marker="x", s=26, linewidths=1.4, color="#9a9a9a")
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    axes.set_xticks(_ticks(heads) + 0.5, _ticks(heads))
    axes.set_yticks(_ticks(layers) + 0.5, _ticks(layers))
    axes.annotate(
        "\u00d7 = pruned",
        (1, 0),
        (0, -16),
        "axes fraction",
        "offset points",
        fontsize=9,
        color=INK,
        ha="right",
        va="top",
    )
    axes.set_xlabel("head", fontsize=9, color=INK, labelpad=1)
    axes.set_ylabel("layer", fontsize=9, color=INK, labelpad=2)
    axes.spines[:].set_visible(False)


def _draw_scale(figure: Figure, axes: Axes, view: HeadMap) -> None:
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(ScalarMappable(cmap=_colormap()), cax=axes, ticks=[0, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, labelcolor=INK, pad=2)
    bar.ax.set_ylabel(view.metric.replace("_", " "), fontsize=9, color=INK, labelpad=-2)


def _draw_gauge(axes: Axes, view: HeadMap) -> None:
    """Draws accuracy as a bar from one half on, green where the threshold holds, with the threshold as a line."""
    axes.set_axis_off()
    if view.accuracy is None:
        return
    low = min(0.5, view.accuracy, view.threshold or 1.0)
    color = HOLDS_COLOR if view.holds else FAILS_COLOR
    axes.barh(0, 1 - low, left=low, height=1, color=PRUNED_COLOR)
    axes.barh(0, view.accuracy - low, left=low, height=1, color=color)
    if view.threshold is not None:
        axes.vlines(view.threshold, -0.8, 0.8, color="black", linewidth=2)
    axes.set_xlim(low, 1)
    axes.set_ylim(-0.8, 0.8)
    axes.text(0, 1.15, view.verdict, transform=axes.transAxes, fontsize=10, fontweight="bold", color=color, va="bottom")
    for value, side in ((low, "left"), (1.0, "right")):
        axes.text(value, -1.0, f"{value:.2g}", fontsize=8, color=INK, ha=side, va="top")


def _colormap() -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    # The palest quarter is left out, so that an unimportant head does not look like a pruned one.
    return LinearSegmentedColormap.from_list("kept", colormaps["YlGnBu"](np.linspace(0.25, 1, 64)))


def _ticks(count: int) -> NDArray[np.int64]:
    return np.arange(0, count, 1 if count <= 16 else 4)
