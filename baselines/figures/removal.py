"""What each method leaves of a backdoor: points above the matched floor, the one picture of a comparison."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prune_env.baselines.figures.drawing import Cell, Drawing, Picture, Request
from prune_env.baselines.figures.intervals import above_floor, acc, excess, note
from prune_env.baselines.figures.marks import Mark, by_name, cells, counts, ranked, records_in
from prune_env.baselines.figures.matching import (
    Pair,
    Scene,
    by_scene,
    by_setting,
    one_constraint,
    pairs,
    repetitions,
    title_of,
)
from prune_env.baselines.figures.style import (
    HIGHLIGHT,
    INK,
    KIND_COLORS,
    light_grid,
    new_figure,
    panels_of,
    rows_of,
)
from prune_env.baselines.summary import kind_of, rate_text
from prune_env.baselines.tables.hierarchy import Resampler, Unit, Values, mean
from prune_env.errors import FigureError
from prune_env.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HIGHLIGHTED = ("ft", "random-third")
"""What a strategy has to beat: fine-tuning alone, and a mask drawn without looking."""

PANELS_PER_ROW = 2


@dataclass(frozen=True)
class Dot(Mark):
    """One method in one setting at one rate on one family: its records with a floor.

    Attributes:
        rate: Of the final fine-tuning.
        points: Above the matched floor, as a rate.
        acc: Mean clean test accuracy.
    """

    rate: float
    points: Interval
    acc: float


def draw(request: Request) -> list[Picture]:
    """Draws one picture, a panel for each family and protocol."""
    found, left_out = one_constraint([pair for pair in pairs(request.records) if pair.twin is not None])
    if not found:
        raise FigureError(
            "no record has the twin's beside it, so there is no floor to measure from; run prune-env bench on a victim "
            "with a twin, such as --victim tiny-syntactic"
        )
    panels = {scene: dots(group) for scene, group in by_scene(found).items()}
    return [_picture(panels, left_out)]


def dots(found: Sequence[Pair]) -> list[Dot]:
    """Returns a dot for each method, setting and rate, by kind of method, as registered, then by setting and rate."""
    groups: dict[tuple[str, float], list[Pair]] = defaultdict(list)
    for pair in found:
        groups[pair.record.method, pair.rate].append(pair)
    every = [
        Dot(method, note, part, rate, above_floor(part), acc(part).value)
        for (method, rate), group in groups.items()
        for note, part in by_setting(group).items()
    ]
    return ranked(every, lambda dot: dot.rate)


def _picture(panels: dict[Scene, list[Dot]], left_out: str) -> Picture:
    every = [dot for found in panels.values() for dot in found]
    rates = sorted({dot.rate for dot in every})
    bars = note(dot.found for dot in every)
    tallest = max(len(by_name(found)) for found in panels.values())
    counted = counts({panel: records_in(found) for panel, found in panels.items()})
    caption = (
        "LFR of the purified victim minus LFR of its never-poisoned twin after the same method, rate and seed; 0 = "
        f"nothing left of the backdoor that can be told from a paraphrase's own effect. {bars} Counted: "
        f"{counted}. Numbers at methods are their records of a rate, those at the right the mean ACC, rates in the "
        "same order. Shaded, where they were run: fine-tuning alone and a random mask of a third of the heads. "
        f"{left_out}"
    ).strip()
    height = rows_of(len(panels), PANELS_PER_ROW) * (0.24 * tallest + 0.95)
    figure = new_figure(height, "What is left of the backdoor", caption)
    grid = panels_of(figure, len(panels), PANELS_PER_ROW, sharex=True)
    for axes, (panel, found) in zip(grid, panels.items(), strict=True):
        _panel(axes, title_of(panel), found, rates)
    _legend(figure, {kind_of(dot.method) for dot in every}, rates)
    return Picture(
        name="removal",
        title="What is left of the backdoor, in points above the matched floor",
        figure=figure,
        columns=(
            "family", "protocol", "scene", "method", "setting", "kind", "learning_rate",
            "attackers", "records", "above_floor", "low", "high", "acc",
        ),
        rows=[_row(panel, dot) for panel, found in panels.items() for dot in found],
        says=tuple(_says(panel, found) for panel, found in panels.items()),
        caption=caption,
    )  # fmt: skip


def _panel(axes: Axes, title: str, found: list[Dot], rates: Sequence[float]) -> None:
    names = by_name(found)
    axes.axvline(0, color=INK, linewidth=1)
    light_grid(axes, "x")
    for place, own in enumerate(names.values()):
        method = own[0].method
        if method in HIGHLIGHTED:
            axes.axhspan(place - 0.5, place + 0.5, color=HIGHLIGHT, zorder=0)
        for number, dot in enumerate(own):
            at = place + 0.32 * (number - (len(own) - 1) / 2)
            color, value = KIND_COLORS[kind_of(method)], dot.points
            filled = len(rates) == 1 or dot.rate != rates[0]
            axes.plot([100 * value.low, 100 * value.high], [at, at], color=color, linewidth=1.5)
            axes.plot(100 * value.value, at, "o", color=color, markerfacecolor=color if filled else "white")
    axes.set_yticks(range(len(names)), [_label(own) for own in names.values()])
    methods = [own[0].method for own in names.values()]
    for text, method in zip(axes.get_yticklabels(), methods, strict=True):
        text.set_color(KIND_COLORS[kind_of(method)])
        text.set_fontweight("bold" if method in HIGHLIGHTED else "normal")
    axes.set_ylim(len(names) - 0.5, -0.5)
    accuracies = axes.secondary_yaxis("right")
    accuracies.set_yticks(range(len(names)), [_accuracies(own) for own in names.values()], color="#555555")
    accuracies.tick_params(length=0)
    accuracies.spines["right"].set_visible(False)
    axes.annotate("ACC %", (1, 1), (6, 4), "axes fraction", "offset points", fontsize=8, color="#555555")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(textwrap.fill(title, 34))
    axes.set_xlabel("points above the matched floor")
    axes.xaxis.set_tick_params(labelbottom=True)


def _label(own: Sequence[Dot]) -> str:
    numbers = {len(dot.found) for dot in own}
    return f"{own[0].name} ({'/'.join(map(str, sorted(numbers)))})"


def _accuracies(own: Sequence[Dot]) -> str:
    return " / ".join(f"{100 * dot.acc:.1f}" for dot in own)


def _legend(figure: Figure, kinds: set[str], rates: Sequence[float]) -> None:
    from matplotlib.lines import Line2D

    shown = [
        Line2D([], [], color=color, marker="o", label=kind) for kind, color in KIND_COLORS.items() if kind in kinds
    ]
    if len(rates) > 1:
        labels = ", ".join(rate_text(rate) for rate in rates[1:])
        shown += [
            Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="", label=rate_text(rates[0])),
            Line2D([], [], color=INK, marker="o", linestyle="", label=labels),
        ]
    figure.legend(handles=shown, loc="upper right", ncols=len(shown), handlelength=1.2, columnspacing=1.2)


def _row(panel: Scene, dot: Dot) -> tuple[Cell, ...]:
    attackers = len({(pair.record.victim, pair.record.attacker_seed) for pair in dot.found})
    identity = (*panel, dot.method, dot.note, kind_of(dot.method), dot.rate)
    return (*identity, attackers, len(dot.found), *cells(dot.points), dot.acc)


def _says(panel: Scene, found: Sequence[Dot]) -> str:
    """Says which clean-only row leaves least where all that are ranked were run, beside the highlighted ones there."""
    allowed = [dot for dot in found if dot.found[0].record.regime == "clean_only"]
    whose, allowed = ("the clean-only methods", allowed) if allowed else ("all methods", list(found))
    left = {id(dot): excess(dot.found) for dot in found}
    units = _shared([frozenset(left[id(dot)]) for dot in allowed])

    def there(dot: Dot) -> Values:
        return {unit: left[id(dot)][unit] for unit in units}

    ranked = [dot for dot in allowed if units <= set(left[id(dot)])]
    best = min(ranked, key=lambda dot: mean(there(dot)))
    beside = [
        dot for dot in ranked if dot.method in HIGHLIGHTED and dot.rate == best.rate and dot.method != best.method
    ]
    written = {dot.name: _written(Resampler().interval(there(dot))) for dot in (best, *beside)}
    against = "".join(f"; {dot.name} at that rate leaves {written[dot.name]}" for dot in beside)
    fewer = len(allowed) - len(ranked)
    without = f"; {fewer} with other attackers or defenders are not ranked" if fewer else ""
    over = repetitions(pair for pair in best.found if pair.unit in units)
    return (
        f"Exploratory, on {title_of(panel)} ({over}): {best.name} at {rate_text(best.rate)} leaves least "
        f"of {whose}, {written[best.name]} points{against}. It is the best of {len(ranked)} rows that "
        f"share these defences, chosen by this very number{without}."
    )


def _shared(sets: Sequence[frozenset[Unit]]) -> frozenset[Unit]:
    """Returns the units to rank rows over: of the rows' own sets the largest that another row has, too, if any has."""
    covering = {units: sum(units <= other for other in sets) for units in sets}
    return max(covering, key=lambda units: (covering[units] > 1, len(units), covering[units], sorted(units)))


def _written(value: Interval) -> str:
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


REMOVAL = Drawing("removal", "points above the matched floor by method and rate, families as panels", draw)
