"""Attacks: what makes poisoned data. One file each, found by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from prune_env.errors import ConfigError, UnknownNameError
from prune_env.victims.data import Sentences

ATTACKS: dict[str, str] = {
    "hiddenkiller": "prune_env.victims.attacks.paired_files:hiddenkiller",
    "stylebkd-poetry": "prune_env.victims.attacks.paired_files:stylebkd_poetry",
    "paired-files": "prune_env.victims.attacks.paired_files:PairedFiles",
    "rare-word": "prune_env.victims.attacks.rare_word:RareWord",
    "layer-wise": "prune_env.victims.attacks.layer_wise:layer_wise",
    "syntactic": "prune_env.victims.attacks.syntactic:SyntacticAttack",
    "style": "prune_env.victims.attacks.style:StyleAttack",
}
"""Name -> "module:callable"; the callable takes the attack's options and returns an `Attack`."""


class Attack(Protocol):
    """Turns clean sentences into sentences that carry the trigger."""

    @property
    def trigger(self) -> str:
        """What the trigger is, in words, for the manifest."""

    @property
    def poison_rate(self) -> float:
        """Default share of the clean non-target sentences that is copied with the trigger and relabelled."""

    def triggered(self, clean: Sentences, split: str, rng: np.random.Generator) -> Sentences:
        """Returns triggered sentences of a split with their ORIGINAL labels.

        Args:
            clean: The split's clean sentences.
            split: "train", "dev" or "test".
            rng: For attacks that choose positions or templates.
        """


@dataclass(frozen=True)
class Poisoned:
    """An attacker's training data: every clean sentence, and the added poison behind it.

    Attributes:
        sentences: All of it.
        clean: How many of the sentences are clean; they come first.
        poison: How many are poison.
        skipped_empty: Empty triggered sentences that the attack's source had and that are left out.
    """

    sentences: Sentences
    clean: int
    poison: int
    skipped_empty: int = 0


def make_attack(name: str, options: Mapping[str, Any] | None = None) -> Attack:
    """Returns the attack of that name.

    Raises:
        UnknownNameError: No such attack.
        ConfigError: Options that the attack does not take.
    """
    if name not in ATTACKS:
        raise UnknownNameError("attack", name, ATTACKS)
    module, attribute = ATTACKS[name].split(":")
    try:
        attack: Attack = getattr(import_module(module), attribute)(**(options or {}))
    except TypeError as error:
        raise ConfigError(f"attack {name!r} does not take these options: {error}; see its docstring") from error
    return attack


def poison(attack: Attack, clean: Sentences, target: int, rate: float | None, rng: np.random.Generator) -> Poisoned:
    """Adds poison to the full clean training set (Kurita et al. 2020, full data knowledge).

    A share `rate` of the number of clean non-target sentences is drawn from the triggered non-target sentences,
    relabelled as the target, and appended: 0.3 of 3,310 negatives gives HiddenKiller's published 993.

    Raises:
        ConfigError: A rate outside (0, 1], or more poison asked for than there are triggered sentences.
    """
    share = attack.poison_rate if rate is None else rate
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"expected a poison rate in (0, 1], got {share}")
    triggered = attack.triggered(clean, "train", rng)
    pool = triggered.excluding(target)
    wanted = int(round(share * len(clean.excluding(target))))
    if wanted > len(pool):
        raise ConfigError(
            f"a poison rate of {share} wants {wanted} triggered sentences, there are {len(pool)}; lower it"
        )
    chosen = rng.choice(len(pool), size=wanted, replace=False)
    poisoned = clean + pool.take(chosen).relabelled(target)
    return Poisoned(poisoned, len(clean), wanted, triggered.skipped_empty)
