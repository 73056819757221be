"""Where agents are trained and judged: the one place that makes their environments, by id and JSON arguments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
from stable_baselines3.common.vec_env import VecMonitor

import prune_env  # noqa: F401 - registers the ids
from prune_env.agents.noise import NoisyImportance, check_noise
from prune_env.agents.one_head import VectorOneHeadPerStep
from prune_env.agents.vec_env import PruneVecEnv
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.rewards import SparsityReward
from prune_env.tabular.environment import TABULAR_ID
from prune_env.tabular.registry import SPLITS, get_twin, list_twins
from prune_env.tabular.regret import Yardstick
from prune_env.tabular.twin import SUFFIX, TabularTwin

LIVE_ID = "BertHeadPrune-v0"
LIVE_ONLY = {"task_seed", "protocol", "data", "recover_on", "device", "dtype"}
"""Arguments that only the live environment has."""

Yardsticks: TypeAlias = Callable[[str], Yardstick]
"""Victim -> what judges its episodes exactly; a single victim is asked for as it was named."""


@dataclass(frozen=True)
class EnvChoice:
    """An environment by name, in JSON values.

    Attributes:
        victim: As `gym.make` takes it: an embedded name, a folder, on the tabular environment a family, too.
        env_id: Registered with Gymnasium, with a vector environment.
        arguments: The environment's other arguments.
        shortfall_weight: Price of missing accuracy while training (kappa); None keeps the reward's own. An agent is
            always judged by the environment's own reward.
        metric_noise: Standard deviation of the noise on importance while training, see `prune_env.agents.noise`; an
            agent is always judged without.
    """

    victim: str
    env_id: str = LIVE_ID
    arguments: Mapping[str, Any] = field(default_factory=dict)
    shortfall_weight: float | None = None
    metric_noise: float = 0.0

    def __post_init__(self) -> None:
        check_noise(self.metric_noise)
        if self.shortfall_weight is not None:
            if self.arguments.get("reward", "sparsity") != "sparsity":
                raise ConfigError(
                    f"expected the sparsity reward with a shortfall_weight, got {self.arguments['reward']!r}; "
                    "leave one of them out"
                )
            SparsityReward(self.shortfall_weight)

    @property
    def twins_sha256(self) -> str | None:
        """The SHA-256 of what the tables of the twin, or of the set of twins, were made of; None without tables.

        Raises:
            PruneEnvError: As `get_twin` says.
        """
        if self.env_id != TABULAR_ID:
            return None
        made_of = sorted([twin.name, twin.meta["victim_sha256"], twin.meta["task_sha256"]] for twin in self._twins())
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()

    @property
    def victims_sha256(self) -> tuple[str, ...]:
        """The SHA-256 of what each of the victims published, whatever it is called; () under another id.

        Raises:
            PruneEnvError: As `get_twin` and `folder_of` say.
        """
        if self.env_id == TABULAR_ID:
            return tuple(sorted({str(twin.meta["victim_sha256"]) for twin in self._twins()}))
        if self.env_id != LIVE_ID:
            return ()
        from prune_env.victims.manifest import Manifest
        from prune_env.victims.store import folder_of

        return (Manifest.read(folder_of(self.victim)).sha256,)

    def _twins(self) -> list[TabularTwin]:
        return [get_twin(name) for name in (list_twins(self.victim) if self.victim in SPLITS else [self.victim])]

    def make(self, count: int, *, one_head: bool = False, training: bool = False) -> VecMonitor:
        """Makes K of the environment for Stable-Baselines3, not yet seeded.

        Args:
            count: Sub-environments, K >= 1.
            one_head: Whether an action is one head, as DQN needs it.
            training: Whether `shortfall_weight` and `metric_noise` count.

        Raises:
            ConfigError: An id that Gymnasium does not know.
            PruneEnvError: As the environment says.
        """
        try:
            made: Any = gym.make_vec(self.env_id, num_envs=count, victim=self.victim, **self.arguments)
        except gym.error.UnregisteredEnv as error:
            raise ConfigError(f"expected an id such as {LIVE_ID}, got {self.env_id!r}: {error}") from error
        environments = PruneVecEnv(VectorOneHeadPerStep(made) if one_head else made)
        if training and self.shortfall_weight is not None:
            environments.set_attr("reward", SparsityReward(self.shortfall_weight))
        noisy = training and self.metric_noise > 0
        return VecMonitor(NoisyImportance(environments, self.metric_noise) if noisy else environments)


def best_id(victim: str, arguments: Mapping[str, Any]) -> str:
    """Returns the id to train on: the tabular twin where there is one for this victim, else the live environment.

    Args:
        victim: Its name or folder, a family's name, or a twin's file.
        arguments: The environment's others; those that a table cannot answer need the live one.
    """
    known = victim in {*list_twins(), *SPLITS} or Path(victim).suffix == SUFFIX
    return TABULAR_ID if known and not LIVE_ONLY & set(arguments) else LIVE_ID


def yardsticks_of(choice: EnvChoice) -> Yardsticks | None:
    """Returns what judges each of a choice's victims exactly; None on the live environment.

    Raises:
        PruneEnvError: As the environment says.
    """
    return exact_yardsticks(choice) if choice.env_id == TABULAR_ID else None


def exact_yardsticks(choice: EnvChoice) -> Yardsticks:
    """Returns what judges each victim of a choice of the tabular environment.

    Raises:
        PruneEnvError: As the environment says.
    """
    env: Any = gym.make(choice.env_id, victim=choice.victim, **choice.arguments).unwrapped
    members: dict[str, BertHeadPruneEnv] = getattr(env, "members", {choice.victim: env})

    @cache
    def yardstick(victim: str) -> Yardstick:
        one = members[victim]
        return Yardstick(get_twin(victim), replace(one.config, pad_to=None), one.reward)

    return yardstick
