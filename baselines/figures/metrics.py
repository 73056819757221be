"""Do the importance metrics agree? Rank correlation between every two, on the scoring models of the records."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from prune_env.baselines.figures.drawing import Cell, Drawing, Picture, Request
from prune_env.baselines.figures.models import Defender, defenders, importance, victims_at_hand
from prune_env.baselines.figures.style import INK, new_figure
from prune_env.baselines.ranks import spearman
from prune_env.importance import METRICS
from prune_env.types import HeadScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Correlations = dict[tuple[str, str], list[float]]
"""Two metrics -> their rank correlation on each scoring model where both vary."""


def draw(request: Request) -> list[Picture]:
    """Draws one picture, averaged over victims and seeds."""
    found = defenders(request, victims_at_hand(request))
    values = correlations([importance(defender, request) for defender in found], list(METRICS))
    return [_picture(values, found)]


def correlations(models: Sequence[dict[str, HeadScores]], metrics: Sequence[str]) -> Correlations:
    """Returns the rank correlations of every two metrics."""
    found: Correlations = {pair: [] for pair in combinations(metrics, 2)}
    for scores in models:
        for (one, other), values in found.items():
            value = spearman(scores[one], scores[other])
            if value is not None:
                values.append(value)
    return found


def _picture(values: Correlations, found: Sequence[Defender]) -> Picture:
    victims = ", ".join(sorted({defender.victim.name for defender in found}))
    seeds = ", ".join(map(str, sorted({defender.seed for defender in found})))
    n = len(found)
    below = "the range over them" if n > 1 else "no range, as there is one"
    caption = (
        f"Spearman's rank correlation of head scores, mean over n = {n} scoring model{'' if n == 1 else 's'} "
        f"({victims}; defender's seeds {seeds}), below it {below}. 1: the same order, -1: the reverse. "
        "as_released_...: what the paper's code computes; its gradient gives all heads of a layer one score."
    )
    figure = new_figure(6.4, "Do importance metrics agree?", caption)
    _draw(figure.subplots(), values, n)
    return Picture(
        name="metrics",
        title="Rank correlation between importance metrics",
        figure=figure,
        columns=("metric", "other", "models", "spearman", "lowest", "highest"),
        rows=[_row(pair, rates) for pair, rates in values.items()],
        says=_says(values),
        caption=caption,
    )


def _draw(axes: Axes, values: Correlations, models: int) -> None:
    names = list(dict.fromkeys(name for pair in values for name in pair))
    grid = np.full((len(names), len(names)), np.nan)
    for (one, other), rates in values.items():
        if rates:
            grid[names.index(other), names.index(one)] = statistics.fmean(rates)
    image: Any = axes.imshow(grid[1:, :-1], cmap="PuOr_r", vmin=-1, vmax=1)
    for (row, column), value in np.ndenumerate(grid):
        if row > column:
            rates = values[names[column], names[row]]
            text = "none" if np.isnan(value) else f"{value:.2f}"
            span = f"\n{min(rates):.1f} to {max(rates):.1f}" if models > 1 and rates else ""
            color = "white" if abs(value) > 0.6 else INK
            axes.text(column, row - 1, text + span, ha="center", va="center", fontsize=8, color=color)
    labels = [name.replace("as_released_", "as_released_\n").replace("attention_v", "attention_\nv") for name in names]
    axes.set_xticks(range(len(names) - 1), labels[:-1], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names) - 1), labels[1:])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.5, aspect=25, pad=0.02)
    bar.set_label("rank correlation", fontsize=8)
    bar.outline.set_visible(False)


def _row(pair: tuple[str, str], rates: Sequence[float]) -> tuple[Cell, ...]:
    if not rates:
        return (*pair, 0, None, None, None)
    return (*pair, len(rates), statistics.fmean(rates), min(rates), max(rates))


def _says(values: Correlations) -> tuple[str, ...]:
    own = {
        pair: statistics.fmean(rates)
        for pair, rates in values.items()
        if rates and not any(name.startswith("as_released") for name in pair)
    }
    if not own:
        return ("No two metrics vary over the heads, so nothing can be said of their agreement.",)
    closest, furthest = max(own, key=lambda pair: own[pair]), min(own, key=lambda pair: own[pair])
    typical = statistics.median(own.values())
    return (
        f"The median rank correlation of two metrics is {typical:.2f} (as-released ones left out), the "
        f"highest {own[closest]:.2f} ({closest[0]} and {closest[1]}), the lowest "
        f"{own[furthest]:.2f} ({furthest[0]} and {furthest[1]}).",
        *_released(values),
    )


def _released(values: Correlations) -> tuple[str, ...]:
    parts = []
    for (one, other), rates in values.items():
        if other == f"as_released_{one}" and rates:
            parts.append(f"{one} {statistics.fmean(rates):.2f}")
    return (
        (f"With what the paper's code computes under the same name they agree by: {', '.join(parts)}.",)
        if parts
        else ()
    )


METRICS_AGREEMENT = Drawing("metrics", "rank correlation between the importance metrics on the scoring models", draw)
