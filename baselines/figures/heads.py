"""Which heads fall: for each method, the share of its masks that prune a head."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prune_env.baselines.figures.drawing import Cell, Drawing, Picture, Request
from prune_env.baselines.figures.matching import Pair, masks_of, one_constraint, pairs, repetitions, searched
from prune_env.baselines.figures.style import INK, new_figure, order, panels_of, rows_of
from prune_env.errors import FigureError
from prune_env.types import HeadMask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS_PER_ROW = 4


@dataclass(frozen=True, eq=False)
class Fallen:
    """A method's masks on models of one shape.

    Attributes:
        method: Registered name.
        found: The records, one a mask: rates share their masks.
        share: Share of the masks in which a head is pruned, (layers, heads); an ensemble counts as its members' mean.
        overlap: Mean Jaccard index of the pruned heads of two masks by defenders of different seeds; None without.
        chance: The same for random sets of these sizes.
    """

    method: str
    found: list[Pair]
    share: NDArray[np.float64]
    overlap: float | None
    chance: float | None


def draw(request: Request) -> list[Picture]:
    """Draws one picture for each shape of model, a panel a method."""
    kept, note = one_constraint(one_a_mask(searched(pairs(request.records))))
    shapes: dict[tuple[int, int], dict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in kept:
        layers, heads = masks_of(pair.record)[0].shape
        shapes[layers, heads][pair.record.method].append(pair)
    if not shapes:
        raise FigureError("no record prunes a head; run prune-env bench --methods gradient,random-third --out RUN")
    return [
        _picture(shape, [fallen(name, groups[name]) for name in order(list(groups))], note)
        for shape, groups in sorted(shapes.items())
    ]


def fallen(method: str, found: list[Pair]) -> Fallen:
    """Summarises a method's masks."""
    gone = [np.mean([~mask for mask in masks_of(pair.record)], axis=0) for pair in found]
    sets = [(pair.record.seed, ~masks_of(pair.record)[0]) for pair in found]
    # Defenders of one seed share their random draws: on two victims they would agree without having looked.
    both = [(one, other) for (seed, one), (another, other) in combinations(sets, 2) if seed != another]
    return Fallen(method, found, np.mean(gone, axis=0), overlap(both), _chance(both))


def overlap(pruned: Sequence[tuple[HeadMask, HeadMask]]) -> float | None:
    """Returns the mean Jaccard index of pairs of sets of pruned heads, True = pruned; None without a pair."""
    return float(np.mean([_jaccard(one, other) for one, other in pruned])) if pruned else None


def _jaccard(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def _chance(pruned: list[tuple[HeadMask, HeadMask]], draws: int = 200) -> float | None:
    """Returns the mean Jaccard index of random sets of these sizes, drawn from the whole model."""
    rng = np.random.default_rng(0)
    values = [_jaccard(one, rng.permutation(other.ravel()).reshape(one.shape)) for one, other in pruned * draws]
    return float(np.mean(values)) if values else None


def one_a_mask(found: Sequence[Pair]) -> list[Pair]:
    """Keeps one record of each search: rates share its mask."""
    distinct: dict[tuple[str, str, str, int, str, str], Pair] = {}
    for pair in found:
        record = pair.record
        search = repr(sorted(record.config["search"].items()))
        distinct.setdefault(
            (record.victim_sha256, record.protocol, record.method, record.seed, search, record.mask), pair
        )
    return list(distinct.values())


def _picture(shape: tuple[int, int], panels: list[Fallen], note: str) -> Picture:
    layers, heads = shape
    rows = rows_of(len(panels), PANELS_PER_ROW)
    side = 8.0 / max(min(PANELS_PER_ROW, len(panels)), 2)
    victims = sorted({pair.record.victim for panel in panels for pair in panel.found})
    caption = (
        "Share of a method's masks in which a head is pruned (an ensemble: mean of its members); masks of the victims, "
        f"twins left out, one a defender whatever the rate. In all: {repetitions([p for f in panels for p in f.found])}"
        f", {', '.join(victims)}. Overlap: heads pruned by "
        f"two defenders of different seeds, both by either; chance: random sets of these sizes. {note}"
    ).strip()
    figure = new_figure(rows * (side * 0.86 * layers / heads + 0.55) + 0.55, "Which heads are pruned", caption)
    image: Any = None
    for axes, panel in zip(panels_of(figure, len(panels), PANELS_PER_ROW), panels, strict=True):
        image = _panel(axes, panel)
    bar = figure.colorbar(image, ax=figure.axes, orientation="horizontal", shrink=0.4, aspect=40, pad=0.02)
    bar.set_label("share of masks that prune the head", fontsize=8)
    bar.outline.set_visible(False)
    return Picture(
        name=f"heads-{layers}x{heads}",
        title=f"Which heads are pruned ({layers} layers x {heads} heads)",
        figure=figure,
        columns=("method", "masks", "layer", "head", "share_pruned"),
        rows=[row for panel in panels for row in _rows(panel)],
        says=_says(panels),
        caption=caption,
    )


def _panel(axes: Axes, panel: Fallen) -> Any:
    layers, heads = panel.share.shape
    image = axes.imshow(panel.share, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    agreement = "" if panel.overlap is None else f", overlap {panel.overlap:.2f} (chance {panel.chance:.2f})"
    axes.set_title(f"{panel.method}\nn = {len(panel.found)}{agreement}", fontsize=8, color=INK)
    axes.set_xticks(np.arange(0, heads, 1 if heads <= 6 else 3))
    axes.set_yticks(np.arange(0, layers, 1 if layers <= 6 else 3))
    axes.set_xticks(np.arange(heads + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(layers + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("head", fontsize=8, labelpad=1)
    axes.set_ylabel("layer", fontsize=8, labelpad=1)
    return image


def _rows(panel: Fallen) -> list[tuple[Cell, ...]]:
    return [
        (panel.method, len(panel.found), layer, head, float(share))
        for (layer, head), share in np.ndenumerate(panel.share)
    ]


def _says(panels: list[Fallen]) -> tuple[str, ...]:
    agreeing = [panel for panel in panels if panel.overlap is not None and panel.chance is not None]
    by_layer = {panel.method: panel.share.mean(axis=1) for panel in panels}
    most = {method: int(shares.argmax()) for method, shares in by_layer.items() if np.ptp(shares) > 0.05}
    deep = ", ".join(f"{method} in layer {layer} ({by_layer[method][layer]:.0%})" for method, layer in most.items())
    first = f"Layers that lose most of their heads (counted from 0): {deep}." if deep else "No method favours a layer."
    if not agreeing:
        return (first, "One defender's seed is here, so nothing can be said of how far masks agree.")
    listed = ", ".join(f"{one.method} {one.overlap:.2f} (chance {one.chance:.2f})" for one in agreeing)
    return (first, f"Overlap of two masks of one method (pruned heads in both by those in either): {listed}.")


HEADS = Drawing("heads", "which heads fall: share of masks that prune each head, a panel a method", draw)
