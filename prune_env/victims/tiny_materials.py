"""What a tiny victim's attacker and judge work with: sentences and poison, decided by the recipe's seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_env.seeds import derive
from prune_env.victims.attacks import Attack, Poisoned, make_attack, poison
from prune_env.victims.corpus import splits
from prune_env.victims.data import Sentences
from prune_env.victims.tiny_recipe import TARGET, TinyRecipe


@dataclass(frozen=True)
class Materials:
    """Sentences of a tiny victim.

    Attributes:
        clean: The attacker's clean sentences.
        poisoned: The same, and behind them the poison: it alone lies about its label.
        attack: Whose trigger it is.
        diagnosis: The judge's clean test, triggered test and triggered validation sentences.
    """

    clean: Sentences
    poisoned: Poisoned
    attack: Attack
    diagnosis: tuple[Sentences, Sentences, Sentences]


def gather(recipe: TinyRecipe) -> Materials:
    """Draws what a recipe's victim is made of."""

    def rng(purpose: str) -> np.random.Generator:
        return np.random.default_rng(derive(recipe.seed, purpose))

    attack = make_attack(recipe.attack)
    (clean,) = splits("attacker", (recipe.train,), rng("tiny-clean"))
    test, dev = splits("judge", (recipe.test, max(1, recipe.test // 2)), rng("tiny-judge"))
    drawn = rng("tiny-triggered")
    triggered = [attack.triggered(part, split, drawn) for part, split in ((test, "test"), (dev, "dev"))]
    poisoned = poison(attack, clean, TARGET, None, rng("tiny-poison"))
    return Materials(clean, poisoned, attack, (test, triggered[0], triggered[1]))
