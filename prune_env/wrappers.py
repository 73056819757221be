"""Other action spaces for `BertHeadPrune-v0`."""

from __future__ import annotations

from typing import Any, SupportsInt, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.observation import Observation

AnyEnv: TypeAlias = gym.Env[Observation, Any]


class OneHeadPerStep(gym.ActionWrapper[Observation, np.int64, NDArray[np.int8]], gym.utils.RecordConstructorArgs):
    """One head a step: `Discrete(n + 1)`, where action i prunes the head in slot i and the last one stops.

    Observations, rewards and `info` are the wrapped environment's. With one head a step the default `max_steps` of one
    step a head is just enough to prune everything.
    """

    def __init__(self, env: AnyEnv) -> None:
        """Wraps an environment.

        Args:
            env: A `BertHeadPruneEnv`, itself wrapped or not.

        Raises:
            ConfigError: Another environment.
        """
        if not isinstance(env.unwrapped, BertHeadPruneEnv):
            raise ConfigError(
                f"expected an environment that prunes sets of heads, got {type(env.unwrapped).__name__}; "
                "wrap a BertHeadPruneEnv"
            )
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self._slots = env.unwrapped.layout.slots
        self.action_space = gym.spaces.Discrete(self._slots + 1)

    def action(self, action: SupportsInt) -> NDArray[np.int8]:
        """Returns the wrapped environment's action: one bit set.

        Raises:
            gymnasium.error.InvalidAction: Outside 0 .. n.
        """
        if not 0 <= int(action) <= self._slots:
            raise gym.error.InvalidAction(f"expected an action in 0 .. {self._slots}, got {action}; the last one stops")
        bits = np.zeros(self._slots + 1, dtype=np.int8)
        bits[int(action)] = 1
        return bits

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns bool (n + 1,): whether each head may be pruned, and True for stop."""
        masks: NDArray[np.bool_] = self.env.get_wrapper_attr("action_masks")()
        return masks.reshape(-1, 2)[:, 1].copy()
