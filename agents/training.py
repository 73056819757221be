"""What a training is, checked when it is made, and what comes of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prune_env import __version__
from prune_env.agents.environments import EnvChoice
from prune_env.agents.sb3 import Settings, settings_of
from prune_env.errors import CheckpointError, ConfigError

SEEDS = 2**32
"""Stable-Baselines3 seeds NumPy's old generator, which takes no more."""


@dataclass(frozen=True)
class Training:
    """What is trained, and how.

    Attributes:
        agent: A name of `prune_env.agents.sb3.AGENTS`.
        policy: "heads" or "mlp".
        environment: Where.
        steps: Environment steps in all; no more, and less by what does not fill a rollout.
        n_envs: Environments that step at once.
        seed: Of weights, draws and episodes.
        changes: Settings of the agent that are not the defaults.
        policy_arguments: Of the policy's class, such as {"wanted_heads": None}.
        leg: Steps between two judgements, and checkpoints.
        episodes: Environments of a judgement, one episode each.
    """

    agent: str
    policy: str
    environment: EnvChoice
    steps: int = 20_000
    n_envs: int = 32
    seed: int = 0
    changes: Mapping[str, Any] = field(default_factory=dict)
    policy_arguments: Mapping[str, Any] = field(default_factory=dict)
    leg: int = 4_000
    episodes: int = 16

    def __post_init__(self) -> None:
        for name in ("steps", "n_envs", "leg", "episodes"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"expected {name} to be a whole number of at least 1, got {value!r}; correct it")
        if type(self.seed) is not int or not 0 <= self.seed < SEEDS:
            raise ConfigError(f"expected a seed from 0 to 2^32 - 1, got {self.seed!r}; 0 is the default")
        if self.policy_arguments.get("most_heads", 1) != 1:
            raise ConfigError(
                f"expected a training with most_heads=1, got {self.policy_arguments['most_heads']!r}: chances are "
                "known of one head a step alone; leave it out"
            )
        if self.steps < self.rollout:
            raise ConfigError(
                f"expected at least the {self.rollout} steps of one rollout, got {self.steps}; "
                "raise the steps, or lower n_envs or n_steps"
            )

    @property
    def settings(self) -> Settings:
        """The agent's settings."""
        return settings_of(self.agent, self.policy, self.changes)

    @property
    def rollout(self) -> int:
        """Steps between two updates."""
        settings = self.settings
        return self.n_envs * int(getattr(settings, "n_steps", 0) or getattr(settings, "train_freq", 1))

    @property
    def whole_steps(self) -> int:
        """Steps that fill whole rollouts."""
        return self.steps // self.rollout * self.rollout

    @property
    def asked(self) -> dict[str, Any]:
        """Everything that decides the outcome, as JSON values."""
        content = {
            **asdict(self),
            "settings": asdict(self.settings),
            "twins": self.environment.twins_sha256,
            "version": __version__,
        }
        found: dict[str, Any] = json.loads(json.dumps(content, default=str))
        return found

    @property
    def identity(self) -> str:
        """The SHA-256 of everything that decides the outcome."""
        return identity_of(self.asked)


def identity_of(asked: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of what `Training.asked` returned."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def refusal(folder: Path, there: Mapping[str, Any], asked: Mapping[str, Any]) -> CheckpointError:
    """Returns the error of a folder that holds another training, which names what differs.

    Args:
        folder: Of the training.
        there: What was asked for when it was begun, as `Training.asked`; empty where that was not kept.
        asked: What is asked for now.
    """
    if not there:
        got = "one with other settings or twins"
    elif differing := _differing(there, asked):
        got = f"one with other settings: {', '.join(differing)}"
    else:
        got = "one on twins that were built anew since"
    lengthened = there.get("steps", asked["steps"]) != asked["steps"]
    why = "; a training is not lengthened, since its rates fall with its steps" if lengthened else ""
    return CheckpointError(
        f"expected this training or nothing in {folder}, got {got}{why}; "
        "choose another folder, or ask for what is there"
    )


def _differing(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Returns what differs in words, without what follows from it: another agent has other settings."""
    one, other = _flat(there), _flat(asked)
    both = {name: (one.get(name, "not set"), other.get(name, "not set")) for name in {**other, **one}}
    found = {name: values for name, values in both.items() if values[0] != values[1]}
    if found.keys() & {"agent", "policy"}:
        found = {name: found[name] for name in found.keys() - {*there["settings"], *asked["settings"]}}
    return [f"{name} {values[0]} there and {values[1]} asked" for name, values in sorted(found.items())]


def _flat(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Returns single settings by the name that they are given by; `settings` holds what `changes` changes."""
    environment = {**asked["environment"]}
    flat = {name: value for name, value in asked.items() if not isinstance(value, dict) and name != "twins"}
    flat |= {"victim": environment.pop("victim"), **environment.pop("arguments"), **environment}
    return {**flat, **asked["policy_arguments"], **asked["settings"]}


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        folder: Where everything is.
        steps: Environment steps taken.
        best_step: After how many the best agent was saved.
        deterministic: Numbers of the best agent's judgement without chance, see `Judgement.numbers`; and its regrets.
        stochastic: The same with chance.
        seconds: Wall time, judgements and interrupted runs included.
    """

    folder: Path
    steps: int
    best_step: int
    deterministic: Mapping[str, float]
    stochastic: Mapping[str, float]
    seconds: float
