"""One head a step in the vector environment, for DQN: the twin of `prune_env.wrappers.OneHeadPerStep`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorActionWrapper, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from prune_env.errors import ConfigError
from prune_env.observation import Observation


class VectorOneHeadPerStep(VectorActionWrapper[Observation, NDArray[np.int64], NDArray[np.int8], NDArray[Any]]):
    """Makes the action space `Discrete(n + 1)`: action i prunes the head in slot i, the last one stops."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        """Wraps a vector environment.

        Args:
            env: One whose single action is one bit a slot, and stop.

        Raises:
            ConfigError: Another action space.
        """
        super().__init__(env)
        if not isinstance(env.single_action_space, gym.spaces.MultiBinary):
            raise ConfigError(
                f"expected an environment that prunes sets of heads, got the actions {env.single_action_space}; "
                "wrap BertHeadPrune-v0's vector environment"
            )
        (self._bits,) = env.single_action_space.shape
        self.single_action_space = gym.spaces.Discrete(self._bits)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def actions(self, actions: NDArray[np.int64]) -> NDArray[np.int8]:
        """Returns bits (K, n + 1), one of which is set in each row."""
        return one_bit(actions, self._bits)


def one_bit(actions: Any, bits: int) -> NDArray[np.int8]:
    """Returns the bits (..., bits) of one head, or stop, each.

    Raises:
        gymnasium.error.InvalidAction: Outside 0 .. bits - 1.
    """
    chosen = np.asarray(actions)
    if ((chosen < 0) | (chosen >= bits)).any():
        raise gym.error.InvalidAction(f"expected actions in 0 .. {bits - 1}, got {chosen.tolist()}; the last one stops")
    found: NDArray[np.int8] = (chosen[..., None] == np.arange(bits)).astype(np.int8)
    return found
