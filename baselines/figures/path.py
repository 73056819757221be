"""What pruning itself removes, and what is left of that after fine-tuning: LFR against heads kept along each path.

Both lines are measured on the judge's triggered validation sentences: a diagnosis no defender can make, and no method
but the oracle saw. What a record says of the test sentences stands beside them as a mark that no line leads to.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from prune_env.baselines.figures.drawing import Cell, Drawing, Picture, Request
from prune_env.baselines.figures.marks import counts
from prune_env.baselines.figures.matching import Scene, by_scene, one_constraint, one_rate, pairs, title_of
from prune_env.baselines.figures.models import victims_at_hand
from prune_env.baselines.figures.style import (
    FLOOR_COLOR,
    INK,
    KIND_COLORS,
    bottom_legend,
    light_grid,
    new_figure,
    order,
    panels_of,
    rows_of,
)
from prune_env.baselines.figures.walks import Walk, is_embedded, walks
from prune_env.baselines.ranks import spearman
from prune_env.baselines.summary import rate_text
from prune_env.errors import FigureError
from prune_env.methods import kind_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS_PER_ROW = 4
MASKED_COLOR = "#8a8a8a"

LEAST_MASKS = 5
"""Fewer say nothing about a rank correlation."""


def draw(request: Request) -> list[Picture]:
    """Draws one picture a family and protocol, a panel a method."""
    victims = victims_at_hand(request)
    found, rate = one_rate(pairs(request.records), request.learning_rate)
    kept, left_out = one_constraint([pair for pair in found if pair.record.victim_sha256 in victims])
    every = {id(walk.pair): walk for walk in walks(kept, request, victims)}
    panels = {scene: [every[id(pair)] for pair in own if id(pair) in every] for scene, own in by_scene(kept).items()}
    pictures = []
    for scene, own in panels.items():
        if own:
            along = request.fine_tune and all(is_embedded(victims[walk.pair.record.victim_sha256]) for walk in own)
            pictures.append(_picture(scene, own, f"{_method_note(rate, along)} {left_out}".strip()))
    if not pictures:
        raise FigureError("no record has a search to follow; run prune-env bench --methods ft,gradient --out RUN")
    return pictures


def _method_note(rate: float, along: bool) -> str:
    where = (
        "a few masks along each path, evenly spaced, fine-tuned with the record's own protocol, seed and recovery"
        if along
        else "only where records tell, which is the end of a path, and every head where plain fine-tuning was run"
    )
    return f"Fine-tuned at {rate_text(rate)}: {where}."


def _picture(scene: Scene, found: Sequence[Walk], note: str) -> Picture:
    by_method, idle = _by_method(found)
    floors, on = _floors(found)
    none = f"Nothing was pruned, and is not shown: {', '.join(idle)}. " if idle else ""
    floor = f" Dotted: matched floor, mean, {on} sentences." if floors else ""
    caption = (
        "LFR along each method's path from every head to its mask, on triggered validation sentences (a judge's "
        "diagnosis). Grey: the masked scoring model, before any further fine-tuning. Coloured, open: after the final "
        f"fine-tuning. Filled: the record's LFR on the test sentences, which are others. {note}{floor} "
        f"{none}"
        f"One line a record, no intervals: {counts({scene: [walk.pair for walk in found]})}."
    )
    title = f"What masks remove, and what fine-tuning leaves of it: {title_of(scene)}"
    figure = new_figure(rows_of(len(by_method), PANELS_PER_ROW) * 1.55 + 0.3, title, caption, legend=0.28)
    grid = panels_of(figure, len(by_method), PANELS_PER_ROW, sharex=True, sharey=True)
    for axes, (method, own) in zip(grid, by_method.items(), strict=True):
        draw_panel(axes, method, own)
    for axes in grid[-PANELS_PER_ROW:]:
        axes.xaxis.set_tick_params(labelbottom=True)
        axes.set_xlabel("heads kept", fontsize=8)
    for axes in grid[::PANELS_PER_ROW]:
        axes.set_ylabel("LFR (%)", fontsize=8)
    _legend(figure)
    return Picture(
        name=f"path-{re.sub(r'[^a-z0-9.]+', '-', title_of(scene).lower()).strip('-')}",
        title=f"LFR against heads kept, masked only and after fine-tuning: {title_of(scene)}",
        figure=figure,
        columns=("victim", "protocol", "method", "seed", "stage", "step", "heads_kept", "sentences", "lfr"),
        rows=[row for walk in found for row in _rows(walk)],
        says=(_says(scene, by_method), *_agreement(found)),
        caption=caption,
    )


def _by_method(found: Sequence[Walk]) -> tuple[dict[str, list[Walk]], list[str]]:
    """Returns the walks of each method that pruned something, and the names of the others; all, if none did."""
    groups: dict[str, list[Walk]] = defaultdict(list)
    for walk in found:
        groups[walk.pair.record.method].append(walk)
    ranked = order(list(groups))
    idle = [method for method in ranked if all(len(walk.masked) < 2 for walk in groups[method])]
    if len(idle) == len(ranked):
        idle = []
    return {method: groups[method] for method in ranked if method not in idle}, idle


def draw_panel(axes: Axes, method: str, found: Sequence[Walk]) -> None:
    """Draws one method's walks: two lines a record through validation sentences, a mark at what test sentences say."""
    from matplotlib.ticker import MaxNLocator

    color = KIND_COLORS[kind_of(method)]
    for walk in found:
        axes.plot(
            walk.heads_kept, [100 * rate for rate in walk.masked], "-", color=MASKED_COLOR, linewidth=1.1, marker=".",
            markersize=4,
        )  # fmt: skip
        known = _validation(walk)
        sizes = [walk.heads_kept[step] for step in known]
        axes.plot(
            sizes, [100 * rate for rate in known.values()], "-", color=color, linewidth=1.5, marker="o",
            markerfacecolor="white", markersize=4.5,
        )  # fmt: skip
        axes.plot(walk.heads_kept[-1], 100 * walk.pair.record.lfr, "D", color=color, markersize=4)
    floors, _ = _floors(found)
    if floors:
        axes.axhline(float(np.mean(floors)), color=FLOOR_COLOR, linewidth=1.1, linestyle=":")
    light_grid(axes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.set_xlim(max(walk.heads_kept[0] for walk in found) * 1.06, 0)
    axes.set_ylim(-4, 106)
    axes.set_yticks([0, 50, 100])
    axes.set_title(method, fontsize=8.5, color=color)


def _validation(walk: Walk) -> dict[int, float]:
    """Returns the fine-tuned LFR on validation sentences by step, where it is known."""
    return {step: one.validation for step, one in sorted(walk.tuned.items()) if one.validation is not None}


def _floors(found: Sequence[Walk]) -> tuple[list[float], str]:
    """Returns the twins' LFR in per cent and its sentences: validation, as the lines, where every twin tells."""
    twins = [walk.pair.twin for walk in found if walk.pair.twin is not None]
    told = [one for twin in twins if (one := twin.oracle_dev_lfr) is not None]
    if len(told) == len(twins):
        return [100 * rate for rate in told], "validation"
    return [100 * twin.lfr for twin in twins], "test"


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=MASKED_COLOR, marker=".", markersize=3, label="masked only"),
        Line2D([], [], color=INK, marker="o", markerfacecolor="white", markersize=3, label="fine-tuned"),
        Line2D([], [], color=INK, marker="D", markersize=3, linestyle="", label="fine-tuned, test sentences"),
        Line2D([], [], color=FLOOR_COLOR, linestyle=":", label="matched floor"),
    ]
    bottom_legend(figure, handles, [str(handle.get_label()) for handle in handles])


def _rows(walk: Walk) -> list[tuple[Cell, ...]]:
    record = walk.pair.record
    identity = (record.victim, record.protocol, record.method, record.seed)
    steps = zip(walk.heads_kept, walk.masked, strict=True)
    rows: list[tuple[Cell, ...]] = [
        (*identity, "masked", step, size, "validation", rate) for step, (size, rate) in enumerate(steps)
    ]
    for step, one in sorted(walk.tuned.items()):
        values = (("validation", one.validation), ("test", one.test))
        found = [(name, value) for name, value in values if value is not None]
        rows += [(*identity, "fine-tuned", step, walk.heads_kept[step], name, value) for name, value in found]
    return rows


def _says(scene: Scene, by_method: Mapping[str, Sequence[Walk]]) -> str:
    pruned = {method: [walk for walk in own if len(walk.masked) > 1] for method, own in by_method.items()}
    parts = [f"{method} {_ends(own)}" for method, own in pruned.items() if own]
    if not parts:
        return f"On {title_of(scene)} no search pruned a head."
    return (
        f"On {title_of(scene)}, LFR from every head to the end of each path (%, validation sentences): "
        f"{'; '.join(parts)}."
    )


def _ends(found: Sequence[Walk]) -> str:
    """Writes where lines begin and end, masked only and fine-tuned, means over the records."""
    first, last = (100 * np.mean([walk.masked[place] for walk in found]) for place in (0, -1))
    known = [(_validation(walk), len(walk.masked) - 1) for walk in found]
    ends = [values[last_step] for values, last_step in known if last_step in values]
    begins = [values[0] for values, _ in known if 0 in values]
    tuned = f", fine-tuned {100 * np.mean(begins):.1f} to" if len(begins) == len(found) else ", fine-tuned"
    after = f"{tuned} {100 * np.mean(ends):.1f}" if len(ends) == len(found) else ""
    return f"masked {first:.1f} to {last:.1f}{after}"


def _agreement(found: Sequence[Walk]) -> tuple[str, ...]:
    """Says how far the masked LFR tells the fine-tuned one, over each defender's masks that were plainly fine-tuned."""
    points: dict[tuple[str, int], dict[str, tuple[float, float]]] = defaultdict(dict)
    for walk in found:
        record = walk.pair.record
        if record.config.get("recovery") is None:
            known = {step: rate for step, rate in _validation(walk).items() if step > 0}
            own = {walk.masks[step]: (walk.masked[step], rate) for step, rate in known.items()}
            points[record.victim, record.seed].update(own)
    enough = [np.array(list(own.values())) for own in points.values() if len(own) >= LEAST_MASKS]
    values = [one for table in enough if (one := spearman(table[:, 0], table[:, 1])) is not None]
    if not values:
        return ()
    listed = ", ".join(f"{value:.2f}" for value in values)
    return (
        f"Rank correlation of masked and fine-tuned LFR over the pruned masks of a defender ({sum(map(len, enough))} "
        f"in all): {listed}.",
    )


PATH = Drawing("path", "LFR against heads kept along each method's path, masked only and after fine-tuning", draw)
