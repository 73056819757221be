"""Action masks that are read off an observation are the environment's own."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import prune_env  # noqa: F401  # registers the environments
from prune_env.agents.action_masks import masks_of


@pytest.mark.parametrize("victim", ["tiny-style", "family-train"])
def test_they_are_the_environments_in_every_step(victim: str) -> None:
    env: Any = gym.make("BertHeadPruneTabular-v0", victim=victim, on_violation="reject")
    env.action_space.seed(3)
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        done = False
        while not done:
            np.testing.assert_array_equal(masks_of(observation), env.unwrapped.action_masks())
            action = env.action_space.sample()
            action[-1] = 0
            observation, _, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
        assert not masks_of(observation).all()


def test_a_batch_has_a_row_each() -> None:
    environments: Any = gym.make_vec("BertHeadPruneTabular-v0", num_envs=3, victim="tiny-style")
    observations, _ = environments.reset(seed=1)
    actions = np.zeros((3, 17), dtype=np.int8)
    actions[0, [0, 1]] = actions[1, 5] = 1
    observations, *_ = environments.step(actions)
    np.testing.assert_array_equal(masks_of(observations), environments.unwrapped.action_masks())
