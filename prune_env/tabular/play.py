"""What the random policy is worth, exactly specified: the zero that regret is measured against.

The random policy tosses a fair coin for every bit of every action, the stop bit included: it is what
`env.action_space.sample()` draws. Its episodes are those of a vector environment of `ROWS` sub-environments, played in
rounds: round r begins with `reset(seed=seed + r * ROWS)`, the actions of all rounds come from one
`numpy.random.default_rng(seed)` as `integers(0, 2, (ROWS, n + 1))`, and of each round the first episode of every
sub-environment counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune_env.config import EnvConfig
from prune_env.errors import ConfigError
from prune_env.rewards import Reward
from prune_env.tabular.twin import TabularTwin
from prune_env.types import HeadMasks
from prune_env.vector import BertHeadPruneVectorEnv

ROWS = 1000
EPISODES = 10_000
SEED = 0


@dataclass(frozen=True, eq=False)
class RandomPlay:
    """What random episodes came to.

    Attributes:
        returns: float64 (episodes,).
        masks: bool (episodes, layers, heads), the masks at their ends.
    """

    returns: NDArray[np.float64]
    masks: HeadMasks


def play_randomly(
    twin: TabularTwin, config: EnvConfig, reward: Reward | None = None, episodes: int = EPISODES, seed: int = SEED
) -> RandomPlay:
    """Plays the random policy on a twin's search table.

    Args:
        twin: The model.
        config: Settings of the environment.
        reward: `SparsityReward()` if None.
        episodes: How many, a multiple of `ROWS`.
        seed: Of the actions and of the environments.

    Raises:
        ConfigError: Another number of episodes.
    """
    if episodes < ROWS or episodes % ROWS:
        raise ConfigError(f"expected a multiple of {ROWS} random episodes, got {episodes}; the default is {EPISODES}")
    env = BertHeadPruneVectorEnv(twin.search, twin.importance, config, ROWS, reward=reward)
    rng = np.random.default_rng(seed)
    rounds = [_round(env, rng, seed + start) for start in range(0, episodes, ROWS)]
    returns, masks = zip(*rounds, strict=True)
    return RandomPlay(np.concatenate(returns), np.concatenate(masks))


def _round(
    env: BertHeadPruneVectorEnv, rng: np.random.Generator, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Plays one episode in every sub-environment and returns their returns and last masks."""
    env.reset(seed=seed)
    returns, running = np.zeros(env.num_envs), np.ones(env.num_envs, dtype=np.bool_)
    masks = np.zeros((env.num_envs, env.layout.layers, env.layout.heads), dtype=np.bool_)
    slots = env.layout.slots + 1
    while running.any():
        actions = rng.integers(0, 2, (env.num_envs, slots), dtype=np.int8)
        _, rewards, terminated, truncated, infos = env.step(actions)
        returns[running] += rewards[running]
        over = running & (terminated | truncated)
        if over.any():
            masks[over] = infos["final_info"]["head_mask"][over]
        running &= ~over
    return returns, masks
