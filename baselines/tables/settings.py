"""Settings: a scene at one rate, the strategy that did best in it, and what stands against what.

The best strategy is chosen by the very number that is then compared, which favours strategies, since they are several:
all of this is exploratory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from prune_env.baselines.summary import PLAIN, REFERENCE, rate_text
from prune_env.baselines.tables.contrasts import LESS, MORE, Contrast, compare, only, random_rows
from prune_env.baselines.tables.hierarchy import Resampler, Unit, mean
from prune_env.baselines.tables.roles import GRADIENT, THIRD
from prune_env.baselines.tables.rows import Row, by_scene
from prune_env.baselines.tables.scenes import Scene
from prune_env.methods import CANDIDATES

RESTART = "restart"


@dataclass(frozen=True)
class Setting:
    """A scene at one rate, and what stands against what in it; None where one of the two was not run.

    Attributes:
        scene: What is held fixed but the rate.
        title: The setting in words.
        best: The strategy that leaves the fewest points.
        strategies: How many strategies it was picked from.
        ranked_on: The units over which they were ranked: those that all of them have.
        gradient_ft: Gradient against ft.
        gradient_third: Gradient against random-third.
        gradient_random: Gradient against a random mask, as `best_random`.
        strategies_ft: Every strategy against ft.
        best_random: The best strategy against the random mask that it does worst beside: who chooses well beats all.
        best_warmer: The best strategy against plain fine-tuning at the warmest rate above.
        best_restart: The best strategy against restart at the same rate.
    """

    scene: Scene
    title: str
    best: Row
    strategies: int
    ranked_on: tuple[Unit, ...]
    gradient_ft: Contrast | None
    gradient_third: Contrast | None
    gradient_random: Contrast | None
    strategies_ft: tuple[Contrast, ...]
    best_random: Contrast | None
    best_warmer: Contrast | None
    best_restart: Contrast | None

    @property
    def all(self) -> list[Contrast]:
        """Every comparison that was possible."""
        some = (
            self.gradient_ft, self.gradient_third, self.gradient_random, self.best_random, self.best_warmer,
            self.best_restart,
        )  # fmt: skip
        return [one for one in (*some, *self.strategies_ft) if one is not None]


def make_settings(rows: Sequence[Row], resampler: Resampler) -> list[Setting]:
    """Returns every setting that has a strategy of clean data."""
    found = []
    for scene, group in by_scene(rows).items():
        ordered = sorted(group, key=lambda row: row.learning_rate)
        for rate, at_rate in groupby(ordered, key=lambda row: row.learning_rate):
            beside = list(at_rate)
            strategies = [row for row in beside if is_strategy(row)]
            if strategies:
                title = f"{scene.title}, {rate_text(rate)}"
                found.append(_setting(scene, title, strategies, beside, group, resampler))
    return found


def is_strategy(row: Row) -> bool:
    """Tells whether a row chooses heads from clean data, as the paper's methods do; the project's own draw them."""
    return row.kind == "strategy" and row.regime == "clean_only"


def ranked(strategies: Sequence[Row]) -> tuple[list[Row], tuple[Unit, ...]]:
    """Ranks rows by what they leave over the units that all of them have, the least first; and returns those units.

    Rows on different attackers are not ranked beside each other: where no unit is shared by all, only those rows take
    part that have the largest set of units. Rows without a floor take no part beside rows that have one.
    """
    floored = [row for row in strategies if row.above is not None] or list(strategies)
    shared = set.intersection(*(set(row.excess) for row in floored))
    if not shared:
        shared = set(max(floored, key=lambda row: len(row.excess)).excess)
        floored = [row for row in floored if shared <= set(row.excess)]
    units = tuple(sorted(shared))
    return sorted(floored, key=lambda row: mean(only(row.excess, units))), units


def _setting(
    scene: Scene, title: str, strategies: list[Row], beside: list[Row], group: Sequence[Row], resampler: Resampler
) -> Setting:
    order, units = ranked(strategies)
    best = order[0]

    def against(row: Row | None, rivals: Sequence[Row]) -> Contrast | None:
        return compare(row, rivals[0], resampler) if row is not None and rivals else None

    def worst(row: Row | None) -> Contrast | None:
        met = [] if row is None else [compare(row, rival, resampler) for rival in random_rows(row, beside)]
        return max((one for one in met if one is not None), key=_hardness, default=None)

    gradient = next(iter(_named(strategies, GRADIENT)), None)
    ft = _named(beside, REFERENCE)
    warmer = [row for row in group if row.method in PLAIN and row.learning_rate > best.learning_rate]
    versus_ft = [against(row, ft) for row in strategies]
    return Setting(
        scene=scene,
        title=title,
        best=best,
        strategies=len(order),
        ranked_on=units,
        gradient_ft=against(gradient, ft),
        gradient_third=against(gradient, _named(beside, THIRD)),
        gradient_random=worst(gradient),
        strategies_ft=tuple(one for one in versus_ft if one is not None),
        best_random=worst(best),
        best_warmer=against(best, sorted(warmer, key=lambda row: -row.learning_rate)),
        best_restart=against(best, _named(beside, RESTART)),
    )


def _hardness(one: Contrast) -> tuple[int, float]:
    """Ranks rivals: one that leaves less comes before one that is not told apart, and that before one that loses."""
    return {LESS: 0, MORE: 2}.get(one.outcome, 1), one.difference.value


def beats_all(rows: Sequence[Row], resampler: Resampler) -> list[tuple[Row, int]]:
    """Returns where restart leaves less than every other method at every rate, each told apart.

    Returns:
        Restart's row in each such scene, and the fewest attackers behind one of its comparisons.
    """
    found = []
    for group in by_scene(rows).values():
        rivals = [row for row in group if row.method not in CANDIDATES and row.method != RESTART]
        rivals = [row for row in rivals if row.regime != "oracle"]
        for row in group:
            if row.method != RESTART or not rivals:
                continue
            met = [compare(row, rival, resampler) for rival in rivals]
            if all(one is not None and one.outcome == LESS for one in met):
                found.append((row, min(one.attackers for one in met if one is not None)))
                break
    return found


def _named(rows: Sequence[Row], method: str) -> list[Row]:
    return [row for row in rows if row.method == method]
