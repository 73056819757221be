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


def primary(scenes: Sequence[Scene], pairs: Sequence[Contrast]) -> list[str]:
    """Says of each declared scene what its primary contrasts are at the rate rule's rate, and whether that decides.

    Where the rule is not known, every rate is given.
    """
    return [_scene(scene, pairs) for scene in scenes if is_declared(scene)]


def shown(scene: Scene, pair: tuple[str, str], pairs: Sequence[Contrast]) -> list[Contrast]:
    """Returns a primary contrast of a scene at the rate rule's rate; at every rate where that one is not there."""
    met = [
        one
        for one in pairs
        if one.role == PRIMARY and one.row.scene == scene and (one.row.method, one.rival.method) == pair
    ]
    return [one for one in met if one.at_rule] or met


def _scene(scene: Scene, pairs: Sequence[Contrast]) -> str:
    parts = []
    for pair in PRIMARY_PAIRS:
        found = shown(scene, pair, pairs)
        parts.append(f"{' - '.join(pair)}: {_contrast(found)}" if found else f"{' - '.join(pair)} was not run")
    return (
        f"Primary contrasts, {scene.title} (PROTOCOL.md; points above the matched floor, below zero the first leaves "
        f"less). {'. '.join(parts)}."
    )


def _contrast(found: Sequence[Contrast]) -> str:
    """Writes one contrast at each of its rates; heads and status, which rates often share, behind those that do."""
    told: dict[str, list[str]] = {}
    for one in found:
        unit = "" if one.row.above is not None else " points of LFR (no twins)"
        number = f"{interval(one.difference, signed=True)}{unit} at {rate_text(one.row.learning_rate)}"
        told.setdefault(_standing(one), []).append(number)
    return "; ".join(f"{', '.join(numbers)}; {standing}" for standing, numbers in told.items())


def _standing(one: Contrast) -> str:
    rule = ""
    if one.attackers < CLAIM_ATTACKERS and not one.at_rule:
        rule = ", rate rule unknown" if one.at_rule is None else ", not the rate rule's rate"
    status = one.status if one.attackers < CLAIM_ATTACKERS else f"{one.status}, {count(one.attackers, 'attacker')}"
    mine, theirs = map(heads_text, one.heads_kept)
    return f"{mine} and {theirs} of {one.row.heads} heads kept; {status}{rule}"


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
