"""What an attacker decides before building a victim: settings only, so that the command line knows the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prune_env.errors import ConfigError
from prune_env.victims.attacks import Attack, make_attack
from prune_env.victims.manifest import NAME
from prune_env.victims.training_config import TrainingConfig

READ_DATA = ("hiddenkiller", "stylebkd-poetry")
"""Attacks whose triggered sentences lie in the data folder."""


@dataclass(frozen=True)
class Recipe:
    """How an attacker makes a victim from SST-2.

    Attributes:
        name: The victim's name, which is that of its folder.
        attack: Registered attack.
        backbone: "minilm", a Hugging Face model id, or a folder.
        seed: The attacker's: poison, initial head, order, dropout.
        data: Data folder; PRUNE_ENV_DATA if None.
        poison_rate: None takes the attack's own.
        target: Class the trigger leads to (1 = positive).
        labels: Number of classes in the data.
        training: The attacker's settings; the paper's 5 epochs, at MiniLM's 5e-5.
        options: Options of the attack, such as {"folder": ...} for paired-files.

    Raises:
        ConfigError: A name that is no folder's name, a negative seed or target, fewer than two labels, a poison rate
            outside (0, 1].
    """

    name: str
    attack: str
    backbone: str = "minilm"
    seed: int = 11
    data: str | None = None
    poison_rate: float | None = None
    target: int = 1
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(learning_rate=5e-5, epochs=5))
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: int = 2

    def __post_init__(self) -> None:
        """Checks what can be checked without data."""
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"expected a victim's name of letters, digits, '.', '_' and '-', got {self.name!r}")
        if min(self.seed, self.target) < 0:
            raise ConfigError(f"expected a seed and a target label >= 0, got {self.seed} and {self.target}")
        if self.labels < 2:
            raise ConfigError(f"expected at least 2 labels, got {self.labels}; count the classes of the data")
        if self.poison_rate is not None and not 0.0 < self.poison_rate <= 1.0:
            raise ConfigError(f"expected a poison rate in (0, 1], got {self.poison_rate}")

    def make_attack(self) -> Attack:
        """Returns the attack, with the data folder handed to those that read it.

        Raises:
            UnknownNameError: No such attack.
            ConfigError: Options that the attack does not take.
            DataError: The attack reads the data folder, and there is none.
        """
        return make_attack(self.attack, self._placed(self.attack, self.options))

    def _placed(self, attack: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Returns an attack's options with what it has to be told of the data: its folder, its number of classes."""
        placed = dict(options)
        if attack in READ_DATA and self.data is not None:
            placed.setdefault("data", self.data)
        if attack == "paired-files":
            placed.setdefault("labels", self.labels)
        inner, given = placed.get("trigger"), placed.get("options", {})
        if attack == "layer-wise" and isinstance(inner, str) and isinstance(given, Mapping):
            placed["options"] = self._placed(inner, given)
        return placed
