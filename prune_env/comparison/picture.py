"""Best certified value against evaluations: a curve with an interval for each contestant."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prune_env.baselines.figures.style import GRID, INK, styled
from prune_env.cache import write_text
from prune_env.comparison.report import TITLES
from prune_env.comparison.rows import place, shares_agents
from prune_env.comparison.statistics import band
from prune_env.comparison.trials import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A5ACD", "#000000", "#A6611A", "#777777",
    "#7FB7A0", "#882255",
)  # fmt: skip
"""Okabe and Ito's, which people with any colour vision tell apart, and four more; kinds differ by their dashes, too."""

DASHES: dict[str, Any] = {
    "learner": "-", "trained": "-", "searcher": (0, (5, 2)), "random": (0, (1, 1)), "script": (0, (4, 1, 1, 1)),
}  # fmt: skip
"""Of each kind: learned agents are drawn through, all others are broken."""

POINTS = 120
_DRAWS = 500


@dataclass(frozen=True, eq=False)
class Curve:
    """One contestant's curve.

    Attributes:
        contestant: Its name.
        kind: What it is.
        evaluations: int64 (K,).
        band: Interquartile mean, low and high, (3, K).
    """

    contestant: str
    kind: str
    evaluations: NDArray[np.int64]
    band: NDArray[np.float64]


def curves_of(trials: Sequence[Trial], seed: int = 0) -> list[Curve]:
    """Returns the curve of each contestant at its largest budget, in the registry's order.

    After the last evaluation that a contestant asked for, what it had found stands.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    found = []
    for name in sorted({trial.contestant for trial in trials}, key=place):
        own = [trial for trial in trials if trial.contestant == name]
        largest: dict[str, int] = {}
        for trial in own:
            largest[trial.victim] = max(largest.get(trial.victim, 0), trial.budget)
        last = sorted((one for one in own if one.budget == largest[one.victim]), key=lambda one: one.seed)
        grid = _grid(max(largest.values()))
        strata = [
            np.stack([trial.certified_after(grid) for trial in last if trial.victim == victim])
            for victim in sorted(largest)
        ]
        found_band = band(strata, np.random.default_rng(seed), _DRAWS, shared=shares_agents(last))
        found.append(Curve(name, own[0].kind, grid, found_band))
    return found


def _grid(largest: int) -> NDArray[np.int64]:
    return np.unique(np.geomspace(1, largest, POINTS).round().astype(np.int64))


def draw(experiment: str, trials: Sequence[Trial], seed: int = 0) -> Figure:
    """Draws the curves of an experiment, and the best of all masks where it is known."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(8.0, 4.4), layout="constrained")
        axes = figure.add_subplot()
        for number, curve in enumerate(curves_of(trials, seed)):
            color = COLORS[number % len(COLORS)]
            axes.fill_between(curve.evaluations, curve.band[1], curve.band[2], color=color, alpha=0.12, linewidth=0)
            axes.plot(
                curve.evaluations,
                curve.band[0],
                color=color,
                linestyle=DASHES.get(curve.kind, "-"),
                linewidth=2.0 if curve.kind in {"learner", "trained"} else 1.3,
                label=f"{curve.contestant} ({curve.kind})",
            )
        best = [trial.optimum for trial in trials if trial.optimum is not None]
        if best:
            axes.axhline(float(np.mean(best)), color=INK, linewidth=0.8)
            # Below the line, where curves begin low: above it stands the title.
            words, start = "best of all masks", (1, float(np.mean(best)))
            axes.annotate(words, start, xytext=(2, -3), textcoords="offset points", va="top")
        axes.set_xscale("log")
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_xlabel("evaluations: distinct masks asked for (each contestant at its largest budget)")
        axes.set_ylabel("certified value of the best mask so far")
        axes.set_title(TITLES[experiment])
        figure.legend(loc="outside right upper")
    return figure


def save_curves(experiment: str, trials: Sequence[Trial], out: Path, seed: int = 0) -> list[Path]:
    """Writes compare-EXPERIMENT.png, .svg and .csv; raises `OSError` where it cannot."""
    figure = draw(experiment, trials, seed)
    paths = [out / f"compare-{experiment}{suffix}" for suffix in (".png", ".svg", ".csv")]
    with styled():
        figure.savefig(paths[0], dpi=150, format="png")
        # Without a date, the same numbers give the same file.
        figure.savefig(paths[1], format="svg", metadata={"Date": None})
    write_text(paths[2], _numbers(curves_of(trials, seed)))
    return paths


def _numbers(curves: Sequence[Curve]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["contestant", "kind", "evaluations", "certified", "low", "high"])
    for curve in curves:
        for count, values in zip(curve.evaluations.tolist(), curve.band.T.tolist(), strict=True):
            writer.writerow([curve.contestant, curve.kind, count, *(f"{value:.6g}" for value in values)])
    return buffer.getvalue()
