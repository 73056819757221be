"""Is what a search optimises what matters? Every mask of the mask study: known beforehand against left afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prune_env.baselines.figures.drawing import Cell, Drawing, Picture, Request
from prune_env.baselines.figures.style import light_grid, new_figure
from prune_env.baselines.study.correlations import correlation, sample
from prune_env.baselines.study.report import NOT_SHIPPED, SHIPPED
from prune_env.baselines.study.table import Table, read_tables
from prune_env.errors import FigureError
from prune_env.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PREDICTORS = {
    "return (default reward)": ("return", "return of the default reward", 1.0),
    "masked LFR on test": ("masked_lfr", "LFR, masked only (%)", 100.0),
}
"""Name in the study's report -> column of its table, axis label, scale. Pruned fraction is the colour."""


def draw(request: Request) -> list[Picture]:
    """Draws one picture: a row a victim, a column a predictor."""
    if request.study is None and not any(SHIPPED.glob("*.csv")):
        raise FigureError(f"{NOT_SHIPPED} --study TABLES")
    tables = read_tables(SHIPPED if request.study is None else request.study)
    return [_picture(tables)]


def _picture(tables: Sequence[Table]) -> Picture:
    found = {(table.victim, name): _correlation(table, name) for table in tables for name in PREDICTORS}
    groups = "; ".join(
        f"{table.victim}, one attacker, {sum(len(rows.masks) for rows in table.rows.values())} fine-tuned masks of the "
        f"defender's seed{'' if len(table.rows) == 1 else 's'} {', '.join(map(str, table.rows))}"
        for table in tables
    )
    caption = (
        f"A dot is a mask fine-tuned by the victim's protocol with one defender's seed ({groups}). Rho: Spearman's "
        "rank correlation with the LFR after fine-tuning, mean over seeds, 95 % interval over resampled masks; in "
        "brackets at equal size, comparing masks that keep equally many heads. Masked LFR is a diagnosis: no defender "
        "can measure it."
    )
    figure = new_figure(2.9 * len(tables), "Does what a search optimises predict what fine-tuning leaves?", caption)
    grid = figure.subplots(len(tables), len(PREDICTORS), squeeze=False, sharey=True, sharex="col")
    image: Any = None
    for row, table in enumerate(tables):
        for axes, name in zip(grid[row], PREDICTORS, strict=True):
            image = _panel(axes, table, name)
            axes.set_title(f"{table.victim}: {_rho(found[table.victim, name])}", fontsize=8.5)
        grid[row, 0].set_ylabel("LFR after fine-tuning (%)")
    for axes, (_, label, _) in zip(grid[-1], PREDICTORS.values(), strict=True):
        axes.set_xlabel(label)
    bar = figure.colorbar(image, ax=grid, shrink=0.6, aspect=30, pad=0.01)
    bar.set_label("heads kept", fontsize=8)
    bar.outline.set_visible(False)
    return Picture(
        name="study",
        title="Return and masked LFR against the LFR after fine-tuning",
        figure=figure,
        columns=("victim", "seed", "heads_kept", "return", "masked_lfr", "lfr"),
        rows=[row for table in tables for row in _rows(table)],
        says=tuple(_says(table, {name: found[table.victim, name] for name in PREDICTORS}) for table in tables),
        caption=caption,
    )


def _correlation(table: Table, name: str) -> tuple[Interval | None, Interval | None]:
    masks = sample([(table, seed) for seed in table.rows])
    return correlation(masks, name), correlation(masks, name, equal_size=True)


def _panel(axes: Axes, table: Table, name: str) -> Any:
    column, _, scale = PREDICTORS[name]
    every = list(table.rows.values())
    light_grid(axes)
    return axes.scatter(
        scale * np.concatenate([rows.values[column] for rows in every]),
        100 * np.concatenate([rows.values["lfr"] for rows in every]),
        c=np.concatenate([rows.kept for rows in every]), cmap="viridis", vmin=0, vmax=every[0].masks[0].size, s=9,
        alpha=0.7, linewidths=0,
    )  # fmt: skip


def _rho(found: tuple[Interval | None, Interval | None]) -> str:
    overall, equal = found
    if overall is None:
        return "rho undefined"
    beside = "" if equal is None else f" (equal size {equal.value:.2f})"
    return f"rho {_written(overall)}{beside}"


def _written(value: Interval) -> str:
    # Adding zero turns a negative zero into a positive one.
    mean, low, high = (f"{round(number, 2) + 0.0:.2f}" for number in (value.value, value.low, value.high))
    return f"{mean} [{low}, {high}]"


def _rows(table: Table) -> list[tuple[Cell, ...]]:
    return [
        (table.victim, seed, int(kept), *(float(rows.values[name][place]) for name in ("return", "masked_lfr", "lfr")))
        for seed, rows in table.rows.items()
        for place, kept in enumerate(rows.kept)
    ]


def _says(table: Table, found: dict[str, tuple[Interval | None, Interval | None]]) -> str:
    parts = []
    for name, (overall, equal) in found.items():
        if overall is not None:
            beside = "" if equal is None else f", at equal size {_written(equal)}"
            parts.append(f"{name} {_written(overall)}{beside}")
    listed = "; ".join(parts) or "nothing is defined, too few masks"
    return f"On {table.victim} the rank correlation with the LFR that fine-tuning leaves is: {listed}."


STUDY = Drawing("study", "return and masked LFR against the LFR after fine-tuning, from the mask study", draw)
