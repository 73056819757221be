"""What pruning itself removes: LFR of the masked scoring model along each method's path, and after fine-tuning.

The masked LFR is measured on the judge's triggered validation sentences: a diagnosis no defender can make, and no
method but the oracle saw. The purified model is measured on the same sentences where its record tells (open marks), and
on the test sentences (filled marks): lines join validation sentences alone.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prune_env.baselines.figures.drawing import Cell, Drawing, Picture, Request
from prune_env.baselines.figures.matching import (
    Pair,
    Scene,
    by_scene,
    one_constraint,
    one_rate,
    pairs,
    repetitions,
    title_of,
)
from prune_env.baselines.figures.models import defender_of, masked_lfr, victims_at_hand
from prune_env.baselines.figures.style import (
    FLOOR_COLOR,
    INK,
    bottom_legend,
    light_grid,
    look,
    new_figure,
    order,
    side_labels,
)
from prune_env.baselines.summary import heads_kept_of, members_in, rate_text
from prune_env.errors import FigureError
from prune_env.types import full_mask, mask_from_text, mask_to_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS_PER_ROW = 2


@dataclass(frozen=True)
class Walk:
    """One record's way from every head to its mask.

    Attributes:
        pair: The record and its floor.
        heads_kept: After each step, all heads first.
        masked: LFR of the masked scoring model there; empty where the model is not at hand or nothing was pruned.
    """

    pair: Pair
    heads_kept: tuple[int, ...]
    masked: tuple[float, ...]


def masks_along(pair: Pair) -> list[str]:
    """Returns the masks a search held, every head first, none twice; [] of an ensemble, whose episodes are no path."""
    record = pair.record
    if members_in(record) or not record.trace:
        return []
    full = mask_to_text(full_mask(*mask_from_text(record.mask).shape))
    return list(dict.fromkeys([full, *(step["mask"] for step in record.trace)]))


def draw(request: Request) -> list[Picture]:
    """Draws one picture, a panel a family."""
    victims = victims_at_hand(request)
    found, rate = one_rate(pairs(request.records), request.learning_rate)
    kept, left_out = one_constraint([pair for pair in found if pair.record.victim_sha256 in victims])
    asked: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for pair in kept:
        defender = defender_of(pair.record, victims)
        if defender is not None:
            asked[defender.key].update(masks_along(pair))
    panels: dict[Scene, list[Walk]] = defaultdict(list)
    for scene, own in by_scene(kept).items():
        for pair in own:
            defender = defender_of(pair.record, victims)
            if defender is not None:
                rates = masked_lfr(defender, request, asked[defender.key]) if asked[defender.key] else {}
                masks = masks_along(pair)
                sizes = tuple(mask.count("1") for mask in masks)
                panels[scene].append(Walk(pair, sizes, tuple(rates[mask] for mask in masks)))
    if not any(path.masked for paths in panels.values() for path in paths):
        raise FigureError("no record has a search to follow; run prune-env bench --methods ft,gradient --out RUN")
    return [_picture(panels, rate, left_out)]


def _picture(panels: dict[Scene, list[Walk]], rate: float, left_out: str) -> Picture:
    columns = min(PANELS_PER_ROW, len(panels))
    rows = -(-len(panels) // columns)
    counts = "; ".join(f"{family} {repetitions(path.pair for path in paths)}" for (family, *_), paths in panels.items())
    caption = (
        "Lines: LFR of the masked scoring model after each step, before the final fine-tuning (oracle, diagnosis: "
        f"triggered validation sentences). Marks: LFR of the purified model, fine-tuned at {rate_text(rate)} (fth: its "
        "own rate): open on the same validation sentences, where the record tells, filled on the test sentences, "
        "which no line leads to: they are others. Dotted grey: mean matched floor, test sentences. "
        f"One line and mark a record, no intervals: {counts}. {left_out}"
    ).strip()
    figure = new_figure(rows * 3.9, "What masks do, and what fine-tuning does after them", caption, legend=0.28)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, (panel, paths) in zip(grid.flat, panels.items(), strict=False):
        draw_panel(axes, title_of(panel), paths)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    figure.draw_without_rendering()
    for axes, paths in zip(grid.flat, panels.values(), strict=False):
        _label(axes, paths)
    _legend(figure, panels)
    return Picture(
        name="path",
        title="LFR against heads kept, masked only and after fine-tuning",
        figure=figure,
        columns=("victim", "protocol", "method", "seed", "stage", "step", "heads_kept", "sentences", "lfr"),
        rows=[row for paths in panels.values() for path in paths for row in _rows(path)],
        says=tuple(_says(panel, paths) for panel, paths in panels.items()),
        caption=caption,
    )


def draw_panel(axes: Axes, title: str, paths: Sequence[Walk]) -> None:
    """Draws the walks of one scene: a line through validation sentences, marks at what fine-tuning made of it."""
    from matplotlib.ticker import MaxNLocator

    for path in paths:
        style = look(path.pair.record.method)
        record = path.pair.record
        if path.masked:
            masked = [100 * rate for rate in path.masked]
            axes.plot(path.heads_kept, masked, "-", color=style.color, linewidth=1.2, marker=".", markersize=3)
        if record.oracle_dev_lfr is not None:
            axes.plot(
                heads_kept_of(record), 100 * record.oracle_dev_lfr, style.marker, color=style.color,
                markerfacecolor="white", markersize=6,
            )  # fmt: skip
        axes.plot(*_end(path), style.marker, color=style.color, markersize=6)
    floors = _floors(paths)
    if floors:
        axes.axhline(sum(floors) / len(floors), color=FLOOR_COLOR, linewidth=1.1, linestyle=":")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    heads = max(mask_from_text(path.pair.record.mask).size for path in paths)
    light_grid(axes)
    axes.set_xlim(heads * 1.03, 0)
    axes.set_ylim(0, 105)
    axes.set_title(textwrap.fill(title, 34))
    axes.set_xlabel("heads kept (fewer to the right)")
    axes.set_ylabel("LFR (%)")
    axes.yaxis.set_tick_params(labelleft=True)


def _legend(figure: Figure, panels: dict[Scene, list[Walk]]) -> None:
    from matplotlib.lines import Line2D

    known = any(path.pair.record.oracle_dev_lfr is not None for paths in panels.values() for path in paths)
    handles = [Line2D([], [], color=INK, marker=".", markersize=3, label="masked only, validation sentences")]
    if known:
        open_mark = Line2D([], [], color=INK, marker="o", markerfacecolor="white", markersize=4, linestyle="")
        open_mark.set_label("fine-tuned, validation sentences")
        handles.append(open_mark)
    filled = Line2D([], [], color=INK, marker="o", markersize=4, linestyle="", label="fine-tuned, test sentences")
    handles.append(filled)
    bottom_legend(figure, handles, [str(handle.get_label()) for handle in handles])


def _label(axes: Axes, paths: Sequence[Walk]) -> None:
    """Names each method at its mean end."""
    ends: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in paths:
        ends[path.pair.record.method].append(_end(path))
    names = order(list(ends))
    means = {name: [sum(one) / len(one) for one in zip(*ends[name], strict=True)] for name in names}
    labels = [(means[name][0], means[name][1], name, look(name).color) for name in names]
    floors = _floors(paths)
    if floors:
        labels.append((0.0, sum(floors) / len(floors), "floor (test)", FLOOR_COLOR))
    side_labels(axes, labels)


def _floors(paths: Sequence[Walk]) -> list[float]:
    return [100 * path.pair.twin.lfr for path in paths if path.pair.twin is not None]


def _end(path: Walk) -> tuple[float, float]:
    return heads_kept_of(path.pair.record), 100 * path.pair.record.lfr


def _rows(path: Walk) -> list[tuple[Cell, ...]]:
    record = path.pair.record
    identity = (record.victim, record.protocol, record.method, record.seed)
    steps = zip(path.heads_kept, path.masked, strict=True)
    rows: list[tuple[Cell, ...]] = [
        (*identity, "masked", step, size, "validation", rate) for step, (size, rate) in enumerate(steps)
    ]
    if record.oracle_dev_lfr is not None:
        rows.append((*identity, "fine-tuned", None, heads_kept_of(record), "validation", record.oracle_dev_lfr))
    return [*rows, (*identity, "fine-tuned", None, heads_kept_of(record), "test", record.lfr)]


def _says(panel: Scene, paths: Sequence[Walk]) -> str:
    walked = [path for path in paths if len(path.masked) > 1]
    if not walked:
        return f"On {title_of(panel)} no search pruned a head."
    full = sum(path.masked[0] for path in walked) / len(walked)
    by_method: dict[str, list[Walk]] = defaultdict(list)
    for path in walked:
        by_method[path.pair.record.method].append(path)
    parts = []
    for method in order(list(by_method)):
        group = by_method[method]
        masked = sum(path.masked[-1] for path in group) / len(group)
        known = [one for path in group if (one := path.pair.record.oracle_dev_lfr) is not None]
        same = f" then {100 * sum(known) / len(known):.0f}" if len(known) == len(group) else ""
        test = sum(path.pair.record.lfr for path in group) / len(group)
        parts.append(f"{method} {100 * masked:.0f}{same} ({100 * test:.0f} on test)")
    return (
        f"On {title_of(panel)} the scoring model with every head flips {100 * full:.0f} % of the validation sentences. "
        "At the end of each path, masked only, then fine-tuned where that was measured on these sentences, and "
        f"fine-tuned on the test sentences, which are others: {'; '.join(parts)}."
    )


PATH = Drawing("path", "LFR against heads kept along each method's path, masked only and after fine-tuning", draw)
