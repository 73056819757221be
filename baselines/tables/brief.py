"""The first paragraph: some hundred words on what was declared and decided, and on what else is to be seen.

Its numbers and caveats stand in the bullets below it, which `prune_env.baselines.tables.verdict` writes.
"""

from __future__ import annotations

from collections.abc import Sequence

from prune_env.baselines.summary import REFERENCE
from prune_env.baselines.tables.contrasts import FLOOR, LESS, MORE, SAME, Contrast
from prune_env.baselines.tables.declared import shown
from prune_env.baselines.tables.phrases import short_cost, short_tally
from prune_env.baselines.tables.roles import CONFIRMATION, GRADIENT, OWN, PRIMARY_PAIRS, THIRD, is_declared, own_parts
from prune_env.baselines.tables.rows import CLAIM_ATTACKERS, Row, by_scene
from prune_env.baselines.tables.scenes import Scene
from prune_env.baselines.tables.settings import RESTART, Setting
from prune_env.baselines.tables.words import count, percent, span
from prune_env.methods import CANDIDATES

UNMET = "no random mask was run beside the strategies, so nothing here says whether choosing heads is worth it"

NO_HELP = "choosing heads is not shown to help"

_UNDECIDED = {
    "": "not run",
    "not decided: rate rule unknown": "without a rate by the rate rule",
    "not the rate rule's rate": "not run at the rate rule's rate",
    f"not decided: {FLOOR}": "with both sides at the floor",
    "not decided: interval includes zero": "with an interval that includes zero",
    "not decided: attackers disagree": "with attackers that disagree",
}
"""Why a primary contrast is not decided, by its status."""


def paragraph(
    found: Sequence[Setting], rows: Sequence[Row], pairs: Sequence[Contrast], least: Sequence[tuple[Row, int]]
) -> str:
    """Returns the first paragraph on some scenes.

    Args:
        found: Their settings.
        rows: Their rows.
        pairs: The contrasts, of these and of other scenes.
        least: Where restart leaves less than all, from `prune_env.baselines.tables.settings.beats_all`.
    """
    scenes = list(by_scene(rows))
    sentences = [
        decided(scenes, pairs),
        *_explored(found, scenes, least),
        _own(rows, scenes, pairs),
        _reach(found, [one for one in pairs if _is_own(one.row) and one.row.scene in scenes]),
    ]
    return " ".join(filter(None, sentences))


def decided(scenes: Sequence[Scene], pairs: Sequence[Contrast]) -> str:
    """Says how many of the declared primary contrasts are decided and how, and what the others lack."""
    declared = [(scene, pair) for scene in scenes if is_declared(scene) for pair in PRIMARY_PAIRS]
    if not declared:
        return "No primary contrast was declared for these victims (PROTOCOL.md); all of this is exploratory."
    won: dict[str, list[str]] = {}
    lacking: list[Contrast | None] = []
    for scene, (method, rival) in declared:
        # Where the rule names no rate, the rate with the most attackers stands for the contrast.
        one = max(shown(scene, (method, rival), pairs), key=lambda one: one.attackers, default=None)
        if one is not None and one.status == f"decided: {one.outcome}":
            won.setdefault(f"{one.outcome} than {rival}", []).append(_place(scene, scenes))
        else:
            lacking.append(one)
    what = f"of the {len(declared)} declared primary contrasts"
    rest = "; the rest is exploratory"
    if not won:
        return f"None {what} is decided ({_reasons(lacking)}){rest}."
    number = len(declared) - len(lacking)
    how = ", ".join(f"{outcome} on {' and '.join(places)}" for outcome, places in won.items())
    others = f" ({_reasons(lacking)})" if lacking else ""
    return f"{number} {what} {'is' if number == 1 else 'are'} decided{others}: {GRADIENT} leaves {how}{rest}."


def _reasons(lacking: Sequence[Contrast | None]) -> str:
    few = [one.attackers for one in lacking if one is not None and one.attackers < CLAIM_ATTACKERS]
    parts = []
    if few:
        who = count(few[0], "attacker") if min(few) == max(few) else f"{min(few)} to {max(few)} attackers"
        parts.append(f"{len(few)} with {who} where {CLAIM_ATTACKERS} are needed")
    others = ["" if one is None else one.status for one in lacking if one is None or one.attackers >= CLAIM_ATTACKERS]
    return ", ".join([*parts, *(f"{others.count(status)} {_UNDECIDED[status]}" for status in dict.fromkeys(others))])


def _explored(found: Sequence[Setting], scenes: Sequence[Scene], least: Sequence[tuple[Row, int]]) -> list[str]:
    if not found:
        return [
            "No strategy that chooses heads stands beside plain fine-tuning or a random mask here; what else was "
            "compared is among the contrasts below."
        ]
    warmer = [one.best_warmer for one in found if one.best_warmer is not None]
    restart = [one.best_restart for one in found if one.best_restart is not None]
    told = [
        _choosing(found),
        _beats("A warmer fine-tuning without pruning", warmer, "the best strategy at the lower rate"),
    ]
    if not least:
        return [*told, _beats(f"A fresh start ({RESTART})", restart)]
    places = " and ".join(f"{_place(row.scene, scenes)} (ACC {percent(row.acc.value)})" for row, _ in least)
    return [*told, f"A fresh start ({RESTART}) leaves less than every other method on {places}."]


def claim(found: Sequence[Setting]) -> str:
    """Says whether choosing heads did better than a mask drawn without looking."""
    met = [one.best_random for one in found if one.best_random is not None]
    won, lost = (sum(one.outcome == kind for one in met) for kind in (LESS, MORE))
    if won <= lost:
        return NO_HELP
    gradient = [one.gradient_random for one in found if one.gradient_random is not None]
    how = ", though not by gradient" if gradient and all(one.outcome != LESS for one in gradient) else ""
    return f"choosing heads helps{'' if won == len(met) else ' in part'} here{how}"


def lead(met: Sequence[Contrast]) -> str:
    """Says that something is a lead, where it is one."""
    return "as a lead, " if min(one.attackers for one in met) < CLAIM_ATTACKERS else ""


def _choosing(found: Sequence[Setting]) -> str:
    met = [one.best_random for one in found if one.best_random is not None]
    if not met:
        return f"{_capital(UNMET)}."
    said, outcomes = claim(found), [one.outcome for one in met]
    best = "the only strategy" if max(one.strategies for one in found) == 1 else "the best strategy"
    if said != NO_HELP:
        # A choice after the fact favours the strategies, which matters where they are ahead.
        said, best = lead(met) + said, best.replace("best strategy", "best strategy (picked after the fact)")
    how = f"leave less than {best} {short_tally(met)}"
    if set(outcomes) <= {SAME, FLOOR}:
        how = f"do as well as {best}, as far as can be told, in {len(met)} of {count(len(met), 'setting')}"
    return f"{_capital(said)}: random masks at the same rate {how} ({short_cost(met)})."


def _beats(name: str, met: Sequence[Contrast], best: str = "the best strategy") -> str:
    """Says that a rival does better than the best strategy; "" where it does not."""
    won, lost = (sum(one.outcome == kind for one in met) for kind in (MORE, LESS))
    return f"{name} leaves less than {best} {short_tally(met)} ({short_cost(met)})." if won > lost else ""


def _is_own(row: Row) -> bool:
    return row.kind == OWN and row.method not in CANDIDATES


def _own(rows: Sequence[Row], scenes: Sequence[Scene], pairs: Sequence[Contrast]) -> str:
    """Says what the project's own defence leaves, where it confirms first; "" where it was not run."""
    mine = [(role, which, row) for row in rows if _is_own(row) for role, which in own_parts(row)]
    told: dict[str, list[str]] = {}
    for role, which, row in sorted(mine, key=lambda one: one[0] != CONFIRMATION):
        left = [value for seed, value in row.left_by_attacker.items() if which is None or seed in which]
        if left:
            where = f"{_place(row.scene, scenes)}{'' if role == CONFIRMATION else ', tuned there'}"
            beside = [one for one in pairs if one.row is row and one.role == role]
            how = ", ".join(_beside(one) for name in (REFERENCE, THIRD) for one in beside if one.rival.method == name)
            parts = told.setdefault(row.method, [])
            unit = "" if parts else " points above floor" if row.above is not None else " points of LFR (no twins)"
            parts.append(f"{percent(sum(left) / len(left))}{unit} on {where}{f' ({how})' if how else ''}")
    return " ".join(f"The project's own defence ({name}) leaves {' and '.join(left)}." for name, left in told.items())


def _beside(one: Contrast) -> str:
    name = one.rival.method
    told = {LESS: f"less than {name}", MORE: f"more than {name}", FLOOR: f"at the floor as {name} is"}
    return told.get(one.outcome, f"not told apart from {name}")


def _reach(found: Sequence[Setting], mine: Sequence[Contrast]) -> str:
    """Says how many attackers stand behind all this, and so what it is."""
    met = [one.attackers for setting in found for one in setting.all] + [one.attackers for one in mine]
    if not met:
        return ""
    if max(met) < CLAIM_ATTACKERS:
        who = span([count(number, "attacker") for number in (min(met), max(met))])
        return f"With {who} each, all of it is a lead, not a result."
    if min(met) < CLAIM_ATTACKERS:
        return f"What rests on fewer than {CLAIM_ATTACKERS} attackers is a lead, not a result."
    return f"At least {CLAIM_ATTACKERS} attackers stand behind each comparison."


def _place(scene: Scene, scenes: Sequence[Scene]) -> str:
    """Names a scene by its victims, or in full where that would not tell it from another."""
    return scene.family if sum(one.family == scene.family for one in scenes) == 1 else scene.title


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
