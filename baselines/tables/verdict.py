"""What a report says first: a short paragraph, and below it bullets with its numbers, caveats and settings.

Written from the numbers. Whether choosing heads did better than chance, fine-tuning, a warmer rate or a fresh start is
told setting by setting (a scene at a rate) of the strategy that did best there, which was picked after the fact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prune_env.baselines.summary import REFERENCE, rate_text
from prune_env.baselines.tables.brief import UNMET, claim, lead, paragraph
from prune_env.baselines.tables.contrasts import FLOOR, LESS, MORE, SAME, Contrast
from prune_env.baselines.tables.declared import own, primary
from prune_env.baselines.tables.hierarchy import Resampler, attackers
from prune_env.baselines.tables.phrases import cost, heads, settings_text, tally
from prune_env.baselines.tables.roles import EMBEDDED, GRADIENT, THIRD
from prune_env.baselines.tables.rows import CLAIM_ATTACKERS, Row, by_scene
from prune_env.baselines.tables.settings import RESTART, Setting, beats_all, make_settings
from prune_env.baselines.tables.words import count, heads_text, interval, percent, reversed_interval

_RANDOM = "a random mask"

_RIVAL = {
    LESS: "leaves more",
    MORE: "leaves less",
    SAME: "is not told apart",
    FLOOR: "is at the floor, as the strategy is",
}
"""Outcomes from the rival's side."""


def verdict(rows: Sequence[Row], pairs: Sequence[Contrast], resampler: Resampler) -> list[str]:
    """Returns the first paragraph, then bullets: the primary contrasts, what else was compared, one line a setting.

    Where both were run, all this is told on real data, and then on the embedded victims: those are for development,
    and some carry a backdoor that was routed through a few heads.

    Args:
        rows: All of a report's.
        pairs: Their contrasts.
        resampler: Makes the draws.
    """
    found = [setting for setting in make_settings(rows, resampler) if setting.all]
    told = []
    for there in (False, True):
        mine = [row for row in rows if (row.scene.protocol == EMBEDDED) is there]
        if mine:
            scenes = list(by_scene(mine))
            told.append(_told([one for one in found if one.scene in scenes], mine, pairs, resampler))
    if len(told) == 1:
        first, bullets, lines = told[0]
        return [first, *bullets, *lines]
    (first, bullets, lines), (second, more, others) = told
    second = f"On the embedded victims (development): {second[0].lower()}{second[1:]}"
    return [f"On real data. {first}", *bullets, *lines, second, *(f"Embedded victims. {one}" for one in more), *others]


def _told(
    found: Sequence[Setting], rows: Sequence[Row], pairs: Sequence[Contrast], resampler: Resampler
) -> tuple[str, list[str], list[str]]:
    """Returns the first paragraph of some scenes, its bullets, and one line a setting."""
    scenes = list(by_scene(rows))
    least = beats_all(rows, resampler) if found else []
    explored = [f"Exploratory: {sentence}" for sentence in _explored(found, least) if sentence]
    bullets = [*primary(scenes, pairs), *explored, own(scenes, pairs), _reach(found)]
    return paragraph(found, rows, pairs, least), [*filter(None, bullets)], [*map(_line, found)]


def _explored(found: Sequence[Setting], least: Sequence[tuple[Row, int]]) -> list[str]:
    if not found:
        return []
    return [_gradient(found), _random(found), _strategies(found), _warmer(found), f"{_restart(found)}{_fewest(least)}"]


def _random(found: Sequence[Setting]) -> str:
    """Says whether looking at the heads was worth anything, and whether that is more than a lead."""
    met = [one.best_random for one in found if one.best_random is not None]
    if not met:
        return f"{UNMET}."
    names = ", ".join(sorted({one.rival.method for one in met}))
    tried = max(one.strategies for one in found if one.best_random is not None)
    best = "the only strategy" if tried == 1 else f"the best of up to {tried} strategies, picked after the fact,"
    return (
        f"{lead(met)}{claim(found)}: beside a mask drawn without looking ({names}) at the same rate, {best} "
        f"{tally(met)} ({heads(met)}; {cost(met)})."
    )


def _gradient(found: Sequence[Setting]) -> str:
    rivals: tuple[tuple[str, Callable[[Setting], Contrast | None]], ...] = (
        (f"{REFERENCE} at the same rate", lambda one: one.gradient_ft),
        (f"{THIRD} at the same rate", lambda one: one.gradient_third),
    )
    parts = []
    for name, get in rivals:
        met = [one for one in map(get, found) if one is not None]
        parts.append(f"against {name} it {tally(met)}" if met else f"{name} was not run beside it")
    if all(one.gradient_ft is None and one.gradient_third is None for one in found):
        return f"{GRADIENT} pruning has neither rival here."
    return f"{GRADIENT} pruning, at every rate: {'; '.join(parts)}."


def _strategies(found: Sequence[Setting]) -> str:
    met = [one for one in found if one.strategies_ft]
    won = [one for one in met if any(contrast.outcome == LESS for contrast in one.strategies_ft)]
    names = {contrast.row.method for one in won for contrast in one.strategies_ft if contrast.outcome == LESS}
    which = f" ({', '.join(sorted(names))})" if names else ""
    number = len({contrast.row.method for one in met for contrast in one.strategies_ft})
    if number < 2:
        return ""
    return (
        f"of {number} strategies, at least one leaves less than {REFERENCE} at the same rate in {len(won)} of "
        f"{settings_text(len(met))}{which}, uncorrected for how many were tried."
    )


def _warmer(found: Sequence[Setting]) -> str:
    met = [one.best_warmer for one in found if one.best_warmer is not None]
    if not met:
        return "no warmer fine-tuning was run beside a strategy."
    return (
        "a warmer fine-tuning that prunes nothing, beside the best strategy at the lower rate, "
        f"{tally(met, rival=True)} ({cost(met)})."
    )


def _restart(found: Sequence[Setting]) -> str:
    met = [one.best_restart for one in found if one.best_restart is not None]
    if not met:
        return "a fresh start from a clean encoder (restart) was not run beside a strategy."
    return (
        "a fresh start from a clean encoder (restart), where one can be had, beside the best strategy at the same "
        f"rate, {tally(met, rival=True)} ({cost(met)})."
    )


def _fewest(least: Sequence[tuple[Row, int]]) -> str:
    places = [
        f"{row.scene.title} (at {rate_text(row.learning_rate)}, ACC {percent(row.acc.value)}, "
        f"{count(who, 'attacker')}{' or more' if who < row.attackers else ''})"
        for row, who in least
    ]
    return f" Restart leaves less than each other method at each rate on {'; '.join(places)}." if places else ""


def _reach(found: Sequence[Setting]) -> str:
    """Says how many attackers stand behind all this, and so what it is; "" where nothing was compared."""
    if not found:
        return ""
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
    over = f"ranked over {count(attackers(setting.ranked_on), 'attacker')}"
    pick = f"the best of {setting.strategies} strategies, {over}" if setting.strategies > 1 else "the only strategy"
    who = f"{count(best.attackers, 'attacker')}, {count(len(best.excess), 'defender record')}"
    start = (
        f"Exploratory, {setting.title}: {pick}, {best.name} ({heads_text(best.heads_kept)} of {best.heads} heads kept, "
        f"ACC {percent(best.acc.value)}), leaves {percent(best.left)} {unit} ({who})"
    )
    named = (
        (_RANDOM, setting.best_random),
        ("ft at the same rate", next((one for one in setting.strategies_ft if one.row is best), None)),
        ("a warmer ft", setting.best_warmer),
        (RESTART, setting.best_restart),
    )
    return "; ".join([start, *(_clause(name, contrast) for name, contrast in named if contrast is not None)]) + "."


def _clause(name: str, contrast: Contrast) -> str:
    rival, gap = contrast.rival, interval(reversed_interval(contrast.difference), signed=True)
    details = [f"{rival.method}, {heads_text(rival.heads_kept)} heads kept"] if name == _RANDOM else []
    details += [f"at {rate_text(rival.learning_rate)}"] if name == "a warmer ft" else []
    details.append(f"ACC {percent(rival.acc.value)}")
    how = _RIVAL[contrast.outcome]
    shared = len(contrast.units)
    fewer = f" over {count(shared, 'shared record')}" if shared < len(contrast.row.excess) else ""
    return f"{name} ({', '.join(details)}) {how}, {gap} points{fewer}"
