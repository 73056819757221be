"""The first paragraph: the primary contrasts and what they decide; then, exploratory, everything else.

Written from the numbers. Whether choosing heads did better than chance, fine-tuning, a warmer rate or a fresh start is
told setting by setting (a scene at a rate) of the strategy that did best there, which was picked after the fact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prune_env.baselines.summary import REFERENCE, rate_text
from prune_env.baselines.tables.contrasts import FLOOR, LESS, MORE, SAME, Contrast, compare
from prune_env.baselines.tables.declared import own, primary
from prune_env.baselines.tables.hierarchy import Resampler, attackers
from prune_env.baselines.tables.phrases import cost, heads, settings_text, tally
from prune_env.baselines.tables.roles import EMBEDDED, GRADIENT, THIRD
from prune_env.baselines.tables.rows import CLAIM_ATTACKERS, Row, by_scene
from prune_env.baselines.tables.settings import RESTART, Setting, make_settings
from prune_env.baselines.tables.words import count, heads_text, interval, percent, reversed_interval
from prune_env.methods import CANDIDATES

_RANDOM = "a random mask"

_RIVAL = {
    LESS: "leaves more",
    MORE: "leaves less",
    SAME: "is not told apart",
    FLOOR: "is at the floor, as the strategy is",
}
"""Outcomes from the rival's side."""


def verdict(rows: Sequence[Row], pairs: Sequence[Contrast], resampler: Resampler) -> list[str]:
    """Returns the first paragraph, then one line a setting.

    Where both were run, the first paragraph is on real data, and one on the embedded victims follows: those are for
    development, and some carry a backdoor that was routed through a few heads.

    Args:
        rows: All of a report's.
        pairs: Their contrasts.
        resampler: Makes the draws.
    """
    found = [setting for setting in make_settings(rows, resampler) if setting.all]
    if not found:
        nothing = (
            "No strategy that chooses heads stands beside plain fine-tuning or a random mask here; what else was "
            "compared is among the contrasts below."
        )
        mine = own(list(by_scene(rows)), pairs)
        return [f"{nothing} {mine}" if mine else nothing]
    embedded, real = ([one for one in found if (one.scene.protocol == EMBEDDED) is there] for there in (True, False))
    paragraphs = [_paragraph(some, rows, pairs, resampler) for some in (real, embedded) if some]
    if len(paragraphs) == 2:
        paragraphs = [f"On real data. {paragraphs[0]}", f"On the embedded victims (development). {paragraphs[1]}"]
    return [*paragraphs, *(_line(setting) for setting in found)]


def _paragraph(found: Sequence[Setting], rows: Sequence[Row], pairs: Sequence[Contrast], resampler: Resampler) -> str:
    scenes = list(dict.fromkeys(setting.scene for setting in found))
    sentences = [
        primary(scenes, pairs),
        f"Exploratory: {_headline(found)}",
        _gradient(found),
        _strategies(found),
        _warmer(found),
        _restart(found),
        fewest([row for row in rows if row.scene in scenes], resampler),
        own(scenes, pairs),
        _reach(found),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _headline(found: Sequence[Setting]) -> str:
    """Says whether looking at the heads was worth anything, and whether that is more than a lead."""
    settings = [one for one in found if one.best_random is not None]
    met = [one.best_random for one in found if one.best_random is not None]
    if not met:
        return "no random mask was run beside the strategies, so nothing here says whether choosing heads is worth it."
    won, lost = (sum(one.outcome == kind for one in met) for kind in (LESS, MORE))
    lead = "as a lead, " if min(one.attackers for one in met) < CLAIM_ATTACKERS else ""
    names = ", ".join(sorted({one.rival.method for one in met}))
    claim = "choosing heads is not shown to help"
    if won > lost:
        gradient = [one.gradient_random for one in found if one.gradient_random is not None]
        how = ", though not by gradient" if gradient and all(one.outcome != LESS for one in gradient) else ""
        claim = f"choosing heads helps{'' if won == len(met) else ' in part'} here{how}"
    tried = max(one.strategies for one in settings)
    best = "the only strategy" if tried == 1 else f"the best of up to {tried} strategies, picked after the fact,"
    return (
        f"{lead}{claim}: beside a mask drawn without looking ({names}) at the same rate, {best} {tally(met)} "
        f"({heads(met)}; {cost(met)})."
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
        return f"{GRADIENT.capitalize()} pruning has neither rival here."
    return f"{GRADIENT.capitalize()} pruning, at every rate: {'; '.join(parts)}."


def _strategies(found: Sequence[Setting]) -> str:
    met = [one for one in found if one.strategies_ft]
    won = [one for one in met if any(contrast.outcome == LESS for contrast in one.strategies_ft)]
    names = {contrast.row.method for one in won for contrast in one.strategies_ft if contrast.outcome == LESS}
    which = f" ({', '.join(sorted(names))})" if names else ""
    number = len({contrast.row.method for one in met for contrast in one.strategies_ft})
    if number < 2:
        return ""
    return (
        f"Of {number} strategies, at least one leaves less than {REFERENCE} at the same rate in {len(won)} of "
        f"{settings_text(len(met))}{which}, uncorrected for how many were tried."
    )


def _warmer(found: Sequence[Setting]) -> str:
    met = [one.best_warmer for one in found if one.best_warmer is not None]
    if not met:
        return "No warmer fine-tuning was run beside a strategy."
    return (
        "A warmer fine-tuning that prunes nothing, beside the best strategy at the lower rate, "
        f"{tally(met, rival=True)} ({cost(met)})."
    )


def _restart(found: Sequence[Setting]) -> str:
    met = [one.best_restart for one in found if one.best_restart is not None]
    if not met:
        return "A fresh start from a clean encoder (restart) was not run beside a strategy."
    return (
        "A fresh start from a clean encoder (restart), where one can be had, beside the best strategy at the same "
        f"rate, {tally(met, rival=True)} ({cost(met)})."
    )


def fewest(rows: Sequence[Row], resampler: Resampler) -> str:
    """Says where restart leaves less than every other method at every rate, each told apart; "" where nowhere."""
    scenes = []
    for scene, group in by_scene(rows).items():
        rivals = [row for row in group if row.method not in CANDIDATES and row.method != RESTART]
        rivals = [row for row in rivals if row.regime != "oracle"]
        for row in group:
            if row.method != RESTART or not rivals:
                continue
            met = [compare(row, rival, resampler) for rival in rivals]
            if all(one is not None and one.outcome == LESS for one in met):
                least = min(one.attackers for one in met if one is not None)
                rate = rate_text(row.learning_rate)
                who = f"{count(least, 'attacker')}{' or more' if least < row.attackers else ''}"
                scenes.append(f"{scene.title} (at {rate}, ACC {percent(row.acc.value)}, {who})")
                break
    return f"Restart leaves less than each other method at each rate on {'; '.join(scenes)}." if scenes else ""


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
