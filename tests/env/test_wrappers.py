"""One head a step, and Gymnasium's own wrappers."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import FlattenObservation, RecordEpisodeStatistics, TimeLimit

from prune_env.errors import ConfigError
from prune_env.types import mask_to_text
from prune_env.wrappers import OneHeadPerStep
from tests.env.fakes import FAKE_ID, golden_env, small_env


def test_one_head_per_step() -> None:
    env = OneHeadPerStep(golden_env())
    env.reset(seed=0)
    assert env.action_masks().tolist() == [True, True, True, True, True]
    _, reward, terminated, _, info = env.step(np.int64(2))
    assert (reward, terminated, mask_to_text(info["head_mask"])) == (0.25, False, "11/01")
    assert env.action_masks().tolist() == [True, True, False, False, True]
    _, reward, terminated, _, info = env.step(np.int64(4))
    assert (reward, terminated, mask_to_text(info["head_mask"])) == (0.0, True, "11/01")


@pytest.mark.parametrize("action", [-1, 5])
def test_actions_outside_the_space(action: int) -> None:
    env = OneHeadPerStep(golden_env())
    env.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match=r"0 \.\. 4"):
        env.step(np.int64(action))


def test_other_environments_are_refused() -> None:
    with pytest.raises(ConfigError, match="CartPoleEnv"):
        OneHeadPerStep(gym.make("CartPole-v1"))


def test_the_spec_remembers_the_wrapper() -> None:
    env = OneHeadPerStep(gym.make(FAKE_ID, on_violation="reject"))
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.action_space == env.action_space


def test_gymnasiums_wrappers() -> None:
    env: gym.Env[Any, Any] = RecordEpisodeStatistics(TimeLimit(FlattenObservation(small_env(on_violation="reject")), 3))
    observation, _ = env.reset(seed=0)
    assert observation.shape == (12 * 6 + 5,)
    for _ in range(3):
        observation, _, terminated, truncated, info = env.step(np.zeros(13, dtype=np.int8))
    assert env.observation_space.contains(observation)
    assert (terminated, truncated, info["episode"]["l"]) == (False, True, 3)


def test_a_vector_of_environments() -> None:
    vector = gym.make_vec(FAKE_ID, num_envs=3, vectorization_mode="sync", on_violation="reject")
    observations, infos = vector.reset(seed=1)
    assert observations["mask"].shape == (3, 12)
    assert infos["head_mask"].shape == (3, 3, 4)
    rewards = vector.step(vector.action_space.sample())[1]
    assert rewards.shape == (3,)
    vector.close()
