"""Training with importance that is a little off, another way in each episode: against learning victims by heart.

A few dozen victims have a few dozen numbers each. A network that is shown them a thousand times tells the victims apart
by these numbers and learns what is best on each, which is worth nothing on the next one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvObs, VecEnvStepReturn, VecEnvWrapper

from prune_env.errors import ConfigError

_IMPORTANCE = "importance_"


def check_noise(noise: float) -> None:
    """Checks a standard deviation of noise.

    Raises:
        ConfigError: Not from 0 to 1: importance is.
    """
    if not 0 <= noise <= 1:
        raise ConfigError(f"expected metric_noise to be from 0 to 1, got {noise!r}; importance goes from 0 to 1")


class NoisyImportance(VecEnvWrapper):
    """Adds normal noise to every head's importance by every metric, drawn once an episode; the rest is as it was.

    What comes of it is cut to [0, 1], and padding stays 0. The environment itself, and what protects a layer's last
    head, goes by the true importance.

    Attributes:
        noise: Standard deviation, from 0 to 1.
    """

    def __init__(self, venv: VecEnv, noise: float) -> None:
        """Takes environments of `BertHeadPrune-v0`.

        Raises:
            ConfigError: A standard deviation that is none.
        """
        check_noise(noise)
        super().__init__(venv)
        self.noise = noise
        space: Any = venv.observation_space
        self._keys = [key for key in space.spaces if key.startswith(_IMPORTANCE)]
        self._added = np.zeros((len(self._keys), self.num_envs, *space["mask"].shape), dtype=np.float32)
        self._random: np.random.Generator | None = None

    def seed(self, seed: int | None = None) -> Any:
        """Seeds the noise and, for the next reset, the environments."""
        # The first environment's generator begins with it as well, which draws victims and surplus heads alone: the
        # published agents were trained like this, and the same seed has to give them again.
        self._random = np.random.default_rng(seed)
        return self.venv.seed(seed)

    def reset(self) -> VecEnvObs:
        """Starts an episode everywhere, each with noise of its own."""
        observations = self.venv.reset()
        self._draw(np.arange(self.num_envs))
        shown: VecEnvObs = self._shown(observations, self._added)
        return shown

    def step_wait(self) -> VecEnvStepReturn:
        """Steps; an episode that begins gets new noise, the last observation of the one that ended has its own."""
        observations, rewards, ended, infos = self.venv.step_wait()
        rows = np.flatnonzero(ended)
        for row in rows.tolist():
            last = infos[row]["terminal_observation"]
            infos[row]["terminal_observation"] = self._shown(last, self._added[:, row])
        self._draw(rows)
        return self._shown(observations, self._added), rewards, ended, infos

    def _draw(self, rows: NDArray[np.intp]) -> None:
        if self._random is None:
            raise ConfigError("expected seed() before the first reset, got none: noise has to be repeatable; call it")
        if len(rows):
            shape = (len(self._keys), len(rows), self._added.shape[2])
            self._added[:, rows] = self._random.normal(0.0, self.noise, shape)

    def _shown(self, observations: Any, added: NDArray[np.float32]) -> Any:
        there = observations["valid"]
        noisy = {
            key: np.clip(observations[key] + one, 0.0, 1.0) * there for key, one in zip(self._keys, added, strict=True)
        }
        return {**observations, **noisy}
