"""Sentences on what PROTOCOL.md declares: the primary contrasts with their status, and the project's own defence."""

from __future__ import annotations

from collections.abc import Sequence

from prune_env.baselines.summary import REFERENCE, rate_text
from prune_env.baselines.tables.contrasts import Contrast
from prune_env.baselines.tables.phrases import tally
from prune_env.baselines.tables.roles import (
    CONFIRMATION,
    DEVELOPMENT,
    OWN,
    PRIMARY,
    PRIMARY_PAIRS,
    THIRD,
    is_declared,
)
from prune_env.baselines.tables.rows import CLAIM_ATTACKERS
from prune_env.baselines.tables.scenes import Scene
from prune_env.baselines.tables.words import count, heads_text, interval
from prune_env.methods import CANDIDATES

_WHERE = {CONFIRMATION: "on attackers that confirm", DEVELOPMENT: "on those it was tuned on"}


def primary(scenes: Sequence[Scene], pairs: Sequence[Contrast]) -> str:
    """Says of each declared scene what its primary contrasts are at the rate rule's rate, and whether that decides.

    Where the rule is not known, every rate is given.
    """
    declared = [scene for scene in scenes if is_declared(scene)]
    if not declared:
        return "No primary contrast was declared for these victims (PROTOCOL.md)."
    head = "Primary contrasts (PROTOCOL.md; points above the matched floor, below zero the first leaves less)"
    return f"{head}: {' '.join(_scene(scene, pairs) for scene in declared)}"


def _scene(scene: Scene, pairs: Sequence[Contrast]) -> str:
    parts = []
    for method, rival in PRIMARY_PAIRS:
        met = [
            one
            for one in pairs
            if one.role == PRIMARY and one.row.scene == scene and (one.row.method, one.rival.method) == (method, rival)
        ]
        shown = [one for one in met if one.at_rule] or met
        parts.append("; ".join(map(_primary, shown)) if shown else f"{method} - {rival} was not run")
    return f"{scene.title}: {'; '.join(parts)}."


def _primary(one: Contrast) -> str:
    rule = ""
    if one.attackers < CLAIM_ATTACKERS and not one.at_rule:
        rule = ", rate rule unknown" if one.at_rule is None else ", not the rate rule's rate"
    status = one.status if one.attackers < CLAIM_ATTACKERS else f"{one.status}, {count(one.attackers, 'attacker')}"
    unit = "" if one.row.above is not None else " points of LFR (no twins)"
    return (
        f"{one.row.name} - {one.rival.name} at {rate_text(one.row.learning_rate)}: "
        f"{interval(one.difference, signed=True)}{unit}, {heads_text(one.heads_kept[0])} and "
        f"{heads_text(one.heads_kept[1])} of {one.row.heads} heads kept ({status}{rule})"
    )


def own(scenes: Sequence[Scene], pairs: Sequence[Contrast]) -> str:
    """Says how the project's own defence fares, apart for the attackers it was tuned on; "" where it was not run."""
    mine = [one for one in pairs if one.row.kind == OWN and one.row.scene in scenes]
    names = dict.fromkeys(one.row.method for one in mine if one.row.method not in CANDIDATES)
    told = {name: _fares([one for one in mine if one.row.method == name]) for name in names}
    parts = [
        f"The project's own defence ({name}), which draws heads: {'; '.join(found)}."
        for name, found in told.items()
        if found
    ]
    return " ".join(parts)


def _fares(mine: Sequence[Contrast]) -> list[str]:
    """Says how one method does against each rival, role by role."""
    parts = []
    for rival in (REFERENCE, THIRD):
        for role, where in _WHERE.items():
            met = [one for one in mine if one.rival.method == rival and one.role == role]
            if met:
                who = sorted({one.attackers for one in met})
                reach = count(who[0], "attacker") if len(who) == 1 else f"{who[0]} to {who[-1]} attackers"
                parts.append(f"against {rival} at the same rate, {where} ({reach}), it {tally(met)}")
    return parts
