"""What PROTOCOL.md declares: which contrasts are primary, and on which attackers the project's own defence is tuned.

Everything else is exploratory.
"""

from __future__ import annotations

from prune_env.baselines.summary import REFERENCE
from prune_env.baselines.tables.rows import Row
from prune_env.baselines.tables.scenes import Scene

GRADIENT, THIRD = "gradient", "random-third"

OWN = "own"
"""The kind of the project's own defence and of candidates for it."""

PRIMARY, DEVELOPMENT, CONFIRMATION, EXPLORATORY = "primary", "development", "confirmation", "exploratory"
"""The roles."""

PRIMARY_PAIRS = ((GRADIENT, REFERENCE), (GRADIENT, THIRD))
PRIMARY_FAMILIES = ("hiddenkiller-minilm", "stylebkd-poetry-minilm")
PRIMARY_PROTOCOL = "phrases-15k"
PRIMARY_CONSTRAINT = "accuracy >= 0.85"
PRIMARY_ATTACKERS = frozenset(range(11, 17))
"""What is declared, and where."""

EMBEDDED = "embedded"
"""The protocol of victims on which things are tuned."""

TUNED_ATTACK, TUNED_ATTACKERS = "hiddenkiller", frozenset({11, 12, 13})
"""The attack, and its attackers, on which a defence of the project's own is tuned besides."""

Part = tuple[str, frozenset[int] | None]
"""A role, and the attackers over which it holds; None for all."""


def parts(row: Row, rival: Row) -> list[Part]:
    """Returns what the contrast of two rows is, attackers by attackers: a defence that was tuned on some has two."""
    if row.kind == OWN:
        return own_parts(row)
    if (row.method, rival.method) not in PRIMARY_PAIRS:
        return [(EXPLORATORY, None)]
    if row.scene.protocol == EMBEDDED:
        return [(DEVELOPMENT, None)]
    declared = is_declared(row.scene) and row.constraint == PRIMARY_CONSTRAINT
    return [(PRIMARY, PRIMARY_ATTACKERS)] if declared else [(EXPLORATORY, None)]


def own_parts(row: Row) -> list[Part]:
    """Returns on which of a row's attackers a defence of the project's own was tuned, and which ones confirm."""
    if row.scene.protocol == EMBEDDED:
        return [(DEVELOPMENT, None)]
    if row.scene.attack != TUNED_ATTACK:
        return [(CONFIRMATION, None)]
    seen = {attacker for attacker, _ in row.units}
    found: list[Part] = [(DEVELOPMENT, TUNED_ATTACKERS & seen), (CONFIRMATION, frozenset(seen - TUNED_ATTACKERS))]
    return [(role, which) for role, which in found if which]


def is_declared(scene: Scene) -> bool:
    """Tells whether the primary contrasts were declared for a scene."""
    return scene.family in PRIMARY_FAMILIES and scene.protocol == PRIMARY_PROTOCOL
