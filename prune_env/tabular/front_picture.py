"""A twin's front as a picture and as tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune_env.cache import write_text
from prune_env.errors import OutputError
from prune_env.tabular.front import Front, FrontPoint, Size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, HOLDING, BEST, OPTIMUM = "#333333", "#56B4E9", "#009E73", "#D55E00"


def draw_front(name: str, kind: str, front: Front) -> Figure:
    """Draws what sizes do to the label flip rate, and the front's accuracies; the caller owns the figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_sizes(left, front)
    _draw_points(figure, right, front)
    figure.suptitle(f"{name} ({kind}): every mask of the model", x=0.01, ha="left", fontsize=10)
    return figure


def _draw_sizes(axes: Axes, front: Front) -> None:
    holding = [size for size in front.sizes if size.holding]
    pruned = [size.pruned for size in holding]
    low, high = [size.lowest or 0.0 for size in holding], [size.highest or 0.0 for size in holding]
    axes.fill_between(pruned, low, high, color=HOLDING, alpha=0.35, lw=0, label="masks that hold the threshold: range")
    axes.plot(pruned, [size.mean or 0.0 for size in holding], color=HOLDING, marker="o", ms=3, label="their mean")
    top = [size.most_accurate or 0.0 for size in holding]
    axes.plot(pruned, top, color=INK, marker="s", ms=3, ls=":", label="the most accurate of them")
    every = [size.pruned for size in front.sizes]
    axes.plot(every, [size.lowest_of_all for size in front.sizes], color=BEST, ls="--", label="lowest of any mask")
    axes.plot([front.optimum_pruned], [front.optimum_lfr], color=OPTIMUM, marker="*", ms=11, ls="", label="optimum")
    axes.set(xlabel="heads pruned", ylabel="LFR of the masked model (diagnosis)", ylim=(-0.03, 1.03))
    axes.set_title("what clean data leaves open at each size", fontsize=8, loc="left")
    axes.legend(fontsize=7, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def _draw_points(figure: Figure, axes: Axes, front: Front) -> None:
    from matplotlib.ticker import MaxNLocator

    accuracy, rates = front.holding.T
    axes.hexbin(accuracy, rates, gridsize=(24, 14), bins="log", cmap="Greys", mincnt=1, linewidths=0.2, alpha=0.8)
    points = front.points
    drawn = axes.scatter(
        [point.certify_accuracy for point in points],
        [point.oracle_lfr for point in points],
        c=[point.pruned for point in points],
        cmap="viridis",
        s=26,
        edgecolors="white",
        linewidths=0.6,
        zorder=3,
    )
    axes.set(xlabel="accuracy on certify", ylabel="LFR (diagnosis)", ylim=(-0.03, 1.03))
    axes.set_title("masks that hold the threshold (grey), and those that no mask beats", fontsize=8, loc="left")
    figure.colorbar(drawn, ax=axes, label="heads pruned", ticks=MaxNLocator(integer=True))


def save_front(name: str, kind: str, front: Front, out: Path) -> list[Path]:
    """Writes NAME.png, NAME-front.csv and NAME-sizes.csv into a folder and returns their paths.

    Raises:
        OutputError: A file cannot be written.
    """
    paths = [out / f"{name}{end}" for end in (".png", "-front.csv", "-sizes.csv")]
    try:
        out.mkdir(parents=True, exist_ok=True)
        draw_front(name, kind, front).savefig(paths[0], dpi=150)
        write_text(paths[1], _csv(FrontPoint, front.points))
        write_text(paths[2], _csv(Size, front.sizes))
    except OSError as error:
        raise OutputError(f"expected to write {paths[0]}, got {error}; give a folder you may write to") from error
    return paths


def _csv(kind: Any, rows: Sequence[Any]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([field.name for field in fields(kind)])
    writer.writerows([_cell(value) for value in asdict(row).values()] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
