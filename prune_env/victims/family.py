"""The family: 128 tiny victims for agents that learn on some models and are judged on others.

Eight attackers (two attacks, two grids, one seed each for either split) and 24 more to train on (3 x 4 heads) make four
victims each, all from one poisoned training. No weights ship: `prune-env victim family --out DIR` builds them, and
`build_family_victim` one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from prune_env.errors import ConfigError
from prune_env.seeds import derive
from prune_env.types import mask_to_text
from prune_env.victims.carriers import random_carriers
from prune_env.victims.tiny_recipe import POSITIONS, TinyRecipe
from prune_env.victims.training_config import TrainingConfig

KINDS = ("organic", "random", "important", "ffn")
"""Poisoned and left; routed through random heads; through the heads that a defender's gradient metric ranks highest;
entrenched, so that no head mask removes the backdoor (the negative control)."""

SPLITS = ("family-train", "family-test")
ATTACKS = ("syntactic", "style")
GRIDS = ((3, 4), (4, 4))
CARRIERS = {(3, 4): 4, (4, 4): 5}
FIRST_SEED = 31
MORE_ATTACKERS = 24
"""Beside the eight, all to train on and on the smaller grid, in turn of either attack: what an agent learns of heads
holds for other models only if it has seen many."""

POISONING = TrainingConfig(learning_rate=1e-3, epochs=7, max_length=POSITIONS, precision="float32")
MOVING = TrainingConfig(learning_rate=1e-3, epochs=2, max_length=POSITIONS, precision="float32")
SENTENCES = 8000


@dataclass(frozen=True)
class FamilyRecipe:
    """How a victim of the family is made, and where it belongs.

    Attributes:
        name: The victim's, and its folder's.
        split: "family-train" or "family-test".
        kind: One of `KINDS`.
        tiny: Attack, seed, grid and trainings; the carriers of a `random` victim.
        carriers: Number of carriers of a routed victim.

    Raises:
        ConfigError: Another split or kind, or carriers that do not fit the kind.
    """

    name: str
    split: str
    kind: str
    tiny: TinyRecipe
    carriers: int = 0

    def __post_init__(self) -> None:
        """Checks that the parts fit."""
        if self.kind not in KINDS or self.split not in SPLITS:
            raise ConfigError(f"expected a kind of {KINDS} and a split of {SPLITS}, got {self.kind!r}, {self.split!r}")
        if (self.kind == "random") != bool(self.tiny.carriers) or self.routed != (self.carriers > 0):
            raise ConfigError(
                f"expected carriers by name for random victims and their number for routed ones, got "
                f"{self.tiny.carriers!r} and {self.carriers} for one of kind {self.kind}"
            )

    @property
    def routed(self) -> bool:
        """Whether the backdoor runs through carriers."""
        return self.kind in ("random", "important")

    @property
    def attacker(self) -> str:
        """What victims of one poisoned training share: attack, grid and seed."""
        return f"{self.tiny.attack}-{self.tiny.layers}x{self.tiny.heads}-s{self.tiny.seed}"


def _attackers() -> Iterator[tuple[str, str, tuple[int, int], int]]:
    """Yields split, attack, grid and seed of every attacker."""
    places = [*product(SPLITS, ATTACKS, GRIDS)]
    for seed, (split, attack, grid) in enumerate(places, FIRST_SEED):
        yield split, attack, grid, seed
    for number in range(MORE_ATTACKERS):
        yield SPLITS[0], ATTACKS[number % len(ATTACKS)], GRIDS[0], FIRST_SEED + len(places) + number


def _recipe(split: str, attack: str, grid: tuple[int, int], seed: int, kind: str) -> FamilyRecipe:
    (layers, heads), count = grid, CARRIERS[grid]
    rng = np.random.default_rng(derive(seed, "family-carriers"))
    carriers = mask_to_text(random_carriers(layers, heads, count, rng)) if kind == "random" else ""
    tiny = TinyRecipe(
        attack, seed, carriers, poisoning=POISONING, routing=MOVING, train=SENTENCES, layers=layers, heads=heads
    )
    routed = kind in ("random", "important")
    return FamilyRecipe(f"{attack}-{layers}x{heads}-s{seed}-{kind}", split, kind, tiny, count if routed else 0)


FAMILY: dict[str, FamilyRecipe] = {
    recipe.name: recipe for recipe in (_recipe(*attacker, kind) for attacker in _attackers() for kind in KINDS)
}
"""Name -> recipe, victims of one attacker together; every attacker has a seed of its own."""
