"""The first paragraph: whether choosing heads did better than fine-tuning, chance, a warmer rate or a fresh start.

Written from the numbers. A setting is a scene (family, protocol) and a rate. "Best strategy" is the one that leaves the
fewest points, chosen by the very number that is then compared, which favours strategies, since they are several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from prune_env.baselines.summary import REFERENCE, rate_text
from prune_env.baselines.tables.contrasts import (
    DEVELOPMENT,
    GRADIENT,
    LESS,
    MORE,
    SAME,
    THIRD,
    Contrast,
    compare,
    count,
    random_rows,
)
from prune_env.baselines.tables.hierarchy import Resampler
from prune_env.baselines.tables.paper_cells import CANDIDATE
from prune_env.baselines.tables.rows import CLAIM_ATTACKERS, Row, Scene, by_scene

RESTART = "restart"


@dataclass(frozen=True)
class Setting:
    """A scene at one rate, and what stands against what in it; None where one of the two was not run.

    Attributes:
        scene: What is held fixed but the rate.
        title: The setting in words.
        best: The strategy that leaves the fewest points.
        gradient_ft: Gradient against ft.
        gradient_third: Gradient against random-third.
        gradient_random: Gradient against a random mask: random-third, or else one of a size that was searched.
        strategies_ft: Every strategy against ft.
        best_random: The best strategy against a random mask.
        best_warmer: The best strategy against ft at the warmest rate above.
        best_restart: The best strategy against restart at the same rate.
    """

    scene: Scene
    title: str
    best: Row
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
        some = (self.gradient_ft, self.gradient_random, self.best_random, self.best_warmer, self.best_restart)
        return [one for one in (*some, *self.strategies_ft) if one is not None]


def verdict(rows: Sequence[Row], resampler: Resampler) -> list[str]:
    """Returns the first paragraph, then one line a setting.

    Where both were run, the first paragraph is on real data, and one on the embedded victims follows: those are for
    development, and some carry a backdoor that was routed through a few heads.
    """
    found = [setting for setting in settings(rows, resampler) if setting.all]
    if not found:
        return ["No strategy stands beside plain fine-tuning or a random mask here, so nothing is compared."]
    embedded, real = ([one for one in found if (one.scene.protocol == DEVELOPMENT) is there] for there in (True, False))
    paragraphs = [_paragraph(some, rows) for some in (real, embedded) if some]
    if len(paragraphs) == 2:
        paragraphs = [f"On real data. {paragraphs[0]}", f"On the embedded victims (development). {paragraphs[1]}"]
    return [*paragraphs, *(_line(setting) for setting in found)]


def _paragraph(found: Sequence[Setting], rows: Sequence[Row]) -> str:
    scenes = {setting.scene for setting in found}
    sentences = [
        _headline(found),
        _gradient(found),
        _strategies(found),
        _warmer(found),
        _restart(found),
        _fewest([row for row in rows if row.scene in scenes]),
        _reach(found),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def settings(rows: Sequence[Row], resampler: Resampler) -> list[Setting]:
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
    """Tells whether a row chooses heads, from clean data, and is no candidate that is still being tuned."""
    return row.kind == "strategy" and row.regime == "clean_only" and not row.method.startswith(CANDIDATE)


def _setting(
    scene: Scene, title: str, strategies: list[Row], beside: list[Row], group: Sequence[Row], resampler: Resampler
) -> Setting:
    best = min(strategies, key=lambda row: row.left)

    def against(row: Row | None, rivals: Sequence[Row]) -> Contrast | None:
        return compare(row, rivals[0], resampler) if row is not None and rivals else None

    gradient = next(iter(_named(strategies, GRADIENT)), None)
    ft = _named(beside, REFERENCE)
    warmer = [row for row in group if row.method == REFERENCE and row.learning_rate > best.learning_rate]
    versus_ft = [against(row, ft) for row in strategies]
    return Setting(
        scene=scene,
        title=title,
        best=best,
        gradient_ft=against(gradient, ft),
        gradient_third=against(gradient, _named(beside, THIRD)),
        gradient_random=against(gradient, [] if gradient is None else random_rows(gradient, beside)),
        strategies_ft=tuple(one for one in versus_ft if one is not None),
        best_random=against(best, random_rows(best, beside)),
        best_warmer=against(best, sorted(warmer, key=lambda row: -row.learning_rate)),
        best_restart=against(best, _named(beside, RESTART)),
    )


def _named(rows: Sequence[Row], method: str) -> list[Row]:
    return [row for row in rows if row.method == method]


def _headline(found: Sequence[Setting]) -> str:
    """Says first whether looking at the heads was worth anything, and whether that is more than a lead."""
    met = [one.best_random for one in found if one.best_random is not None]
    if not met:
        return "No random mask was run beside the strategies, so nothing here says whether choosing heads is worth it."
    won, lost = (sum(one.outcome == kind for one in met) for kind in (LESS, MORE))
    lead = "As a lead: choosing" if min(one.attackers for one in met) < CLAIM_ATTACKERS else "Choosing"
    names = ", ".join(sorted({one.rival.method for one in met}))
    if won == 0:
        claim, what = f"{lead} heads is not shown to help", f"in none of {_settings(len(met))} does"
    else:
        gradient = [one.gradient_random for one in found if one.gradient_random is not None]
        how = ", though not by gradient" if gradient and all(one.outcome != LESS for one in gradient) else ""
        part = "" if won == len(met) else " in part"
        claim, what = f"{lead} heads helps{part} here{how}", f"in {won} of {_settings(len(met))}"
    verb = "leave" if won == 0 else "leaves"
    return (
        f"{claim}: {what} the best strategy, picked after the fact, {verb} less of the backdoor than a mask drawn "
        f"without looking ({names}) at the same rate, and in {lost} the random mask leaves less ({_cost(met)})."
    )


def _gradient(found: Sequence[Setting]) -> str:
    parts = []
    for name, get in (
        (f"{REFERENCE} at the same rate", _get("gradient_ft")),
        (f"{THIRD} at the same rate", _get("gradient_third")),
    ):
        met = [one for one in map(get, found) if one is not None]
        parts.append(f"against {name} it {_tally(met)}" if met else f"{name} was not run beside it")
    if all(_get("gradient_ft")(one) is None and _get("gradient_third")(one) is None for one in found):
        return f"{GRADIENT.capitalize()} pruning has neither rival here."
    return f"{GRADIENT.capitalize()} pruning: {'; '.join(parts)}."


def _strategies(found: Sequence[Setting]) -> str:
    met = [one for one in found if one.strategies_ft]
    if not met:
        return ""
    won = [one for one in met if any(contrast.outcome == LESS for contrast in one.strategies_ft)]
    names = {contrast.row.method for one in won for contrast in one.strategies_ft if contrast.outcome == LESS}
    which = f" ({', '.join(sorted(names))})" if names else ""
    number = len({contrast.row.method for one in met for contrast in one.strategies_ft})
    return (
        f"Of {number} strategies, at least one leaves less than {REFERENCE} at the same rate in {len(won)} of "
        f"{_settings(len(met))}{which}."
        if number > 1
        else ""
    )


def _warmer(found: Sequence[Setting]) -> str:
    met = [one.best_warmer for one in found if one.best_warmer is not None]
    if not met:
        return "No warmer fine-tuning was run beside a strategy."
    return f"A warmer fine-tuning that prunes nothing, beside the best strategy at the lower rate, {_rival_tally(met)}."


def _restart(found: Sequence[Setting]) -> str:
    met = [one.best_restart for one in found if one.best_restart is not None]
    if not met:
        return "A fresh start from a clean encoder (restart) was not run beside a strategy."
    return (
        "A fresh start from a clean encoder (restart), where one can be had, beside the best strategy at the same "
        f"rate, {_rival_tally(met)}; {_cost(met)}."
    )


def _cost(met: Sequence[Contrast]) -> str:
    """Says what the rivals' clean accuracy is beside the strategy's."""
    points = [round(-100 * one.acc.value, 1) + 0.0 for one in met]
    low, high = min(points), max(points)
    span = f"{low:+.1f}" if low == high else f"{low:+.1f} to {high:+.1f}"
    return f"its ACC minus the strategy's: {span} points"


def _fewest(rows: Sequence[Row]) -> str:
    """Names, scene by scene, the method that leaves the fewest points where restart ran and is that method."""
    scenes = []
    for scene, group in by_scene(rows).items():
        comparable = [row for row in group if row.regime != "oracle" and not row.method.startswith(CANDIDATE)]
        fewest = min(comparable, key=lambda row: row.left, default=None)
        if fewest is not None and fewest.method == RESTART:
            scenes.append(f"{scene.title} (ACC {100 * fewest.acc.value:.1f})")
    return f"Of all methods and rates, restart leaves the fewest points on {'; '.join(scenes)}." if scenes else ""


def _reach(found: Sequence[Setting]) -> str:
    """Says how many attackers stand behind all this, and so what it is."""
    least = min(contrast.attackers for one in found for contrast in one.all)
    most = max(contrast.attackers for one in found for contrast in one.all)
    who = count(most, "attacker") if least == most else f"{least} to {most} attackers"
    alone = " Where there is one, the intervals do not cover how attackers vary." if least == 1 else ""
    if least >= CLAIM_ATTACKERS:
        return f"Behind each comparison stand {who}."
    return (
        f"With {who} behind a comparison, what rests on fewer than {CLAIM_ATTACKERS} is a lead and not a result.{alone}"
    )


def _line(setting: Setting) -> str:
    best = setting.best
    unit = "points above the floor" if best.above is not None else "% LFR (no twin, no floor)"
    start = (
        f"{setting.title}: the best strategy, {best.name} ({best.heads_kept:.3g} of {best.heads} heads kept, ACC "
        f"{100 * best.acc.value:.1f}), leaves {100 * best.left:.1f} {unit} ({count(best.attackers, 'attacker')}, "
        f"{count(len(best.excess), 'defender record')})"
    )
    named = (
        ("a random mask", setting.best_random),
        ("ft at the same rate", next((one for one in setting.strategies_ft if one.row is best), None)),
        ("a warmer ft", setting.best_warmer),
        ("restart", setting.best_restart),
    )
    return "; ".join([start, *(_clause(name, contrast) for name, contrast in named if contrast is not None)]) + "."


def _clause(name: str, contrast: Contrast) -> str:
    rival, gap = contrast.rival, contrast.difference
    which = f"{name} ({rival.method}" if name == "a random mask" else f"{name} ("
    rate = f"at {rate_text(rival.learning_rate)}, " if name == "a warmer ft" else ""
    details = f"{', ' if name == 'a random mask' else ''}{rate}ACC {100 * rival.acc.value:.1f})"
    # From the rival's side: minus the difference, so its bounds change places.
    value, low, high = (round(100 * one, 1) + 0.0 for one in (-gap.value, -gap.high, -gap.low))
    how = {LESS: "leaves more", MORE: "leaves less", SAME: "is not told apart"}[contrast.outcome]
    fewer = f" over {count(contrast.units, 'shared record')}" if contrast.units < len(contrast.row.excess) else ""
    return f"{which}{details} {how}, {value:+.1f} [{low:+.1f}, {high:+.1f}] points{fewer}"


def _tally(met: Sequence[Contrast]) -> str:
    less, more, same = (sum(one.outcome == kind for one in met) for kind in (LESS, MORE, SAME))
    return f"leaves less in {less}, more in {more} and is not told apart in {same} of {_settings(len(met))}"


def _rival_tally(met: Sequence[Contrast]) -> str:
    """Counts from the rival's side."""
    less, more, same = (sum(one.outcome == kind for one in met) for kind in (MORE, LESS, SAME))
    return f"leaves less in {less}, more in {more} and is not told apart in {same} of {_settings(len(met))}"


def _settings(number: int) -> str:
    return count(number, "setting")


def _get(name: str) -> Callable[[Setting], Contrast | None]:
    def get(setting: Setting) -> Contrast | None:
        found: Contrast | None = getattr(setting, name)
        return found

    return get
