"""What every environment of this project keeps to: inherit `EnvContract`, say how to make one, and its tests run."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.passive_env_checker import data_shares_objects
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3


@pytest.mark.filterwarnings("error")  # no warning of either checker is allowed
class EnvContract(ABC):
    """A subclass named Test... gets every test of this class."""

    @abstractmethod
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Returns a new environment, equal to the last one, that does not truncate after one step.

        It comes from `gym.make`: Gymnasium's checker warns where it has no spec to try the render modes with.
        """

    def walk(self, env: gym.Env[Any, Any], seed: int, steps: int = 40) -> list[Any]:
        """Plays seeded random actions over the ends of episodes; returns all that came back."""
        env.action_space.seed(seed)
        seen: list[Any] = [env.reset(seed=seed)]
        for _ in range(steps):
            seen.append(env.step(env.action_space.sample()))
            if seen[-1][2] or seen[-1][3]:
                seen.append(env.reset())
        return seen

    def test_gymnasiums_checker_passes(self) -> None:
        check_env(self.make().unwrapped)

    @pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
    def test_gymnasiums_checker_passes_when_rendering(self, mode: str) -> None:
        check_env(self.make(render_mode=mode).unwrapped)

    def test_sb3s_checker_passes(self) -> None:
        check_env_for_sb3(self.make())

    def test_observations_are_in_their_space_and_one_dimensional(self) -> None:
        env = self.make()
        for observation, *_ in self.walk(env, seed=3):
            assert env.observation_space.contains(observation)
            assert {value.ndim for value in observation.values()} == {1}
            assert all(np.isfinite(value).all() for value in observation.values())

    def test_rewards_and_ends_are_python_values(self) -> None:
        for _, reward, terminated, truncated, _ in [seen for seen in self.walk(self.make(), seed=4) if len(seen) == 5]:
            assert type(reward) is float
            assert type(terminated) is bool
            assert type(truncated) is bool
            assert not (terminated and truncated)

    def test_reward_is_the_sum_of_its_terms(self) -> None:
        for _, reward, _, _, info in [seen for seen in self.walk(self.make(), seed=5) if len(seen) == 5]:
            terms = [value for key, value in info.items() if key.startswith("reward_")]
            assert terms
            assert reward == pytest.approx(sum(terms))

    def test_info_is_json_but_for_the_mask(self) -> None:
        for *_, info in self.walk(self.make(), seed=6):
            mask = info.pop("head_mask")
            assert mask.dtype == np.bool_
            assert mask.any(axis=1).all()
            assert json.loads(json.dumps(info)) == info

    def test_every_call_returns_fresh_arrays(self) -> None:
        seen = [(result[0], result[-1]) for result in self.walk(self.make(), seed=7, steps=6)]
        for index, one in enumerate(seen):
            assert not any(data_shares_objects(one, other) for other in seen[index + 1 :])

    def test_writing_into_what_came_back_changes_nothing(self) -> None:
        spoiled, clean = self.make(), self.make()
        spoiled.reset(seed=8), clean.reset(seed=8)
        spoiled.action_space.seed(8)
        for _ in range(8):
            action = spoiled.action_space.sample()
            got, wanted = spoiled.step(action), clean.step(action)
            assert data_equivalence(got[0], wanted[0], exact=True)
            for array in (*got[0].values(), got[-1]["head_mask"]):
                array[...] = 0
            if wanted[2] or wanted[3]:
                break

    def test_seeded_runs_are_equal_infos_included(self) -> None:
        assert data_equivalence(self.walk(self.make(), seed=9), self.walk(self.make(), seed=9), exact=True)

    def test_a_second_episode_does_not_remember_the_first(self) -> None:
        env = self.make()
        first = self.walk(env, seed=10)
        assert data_equivalence(self.walk(env, seed=10), first, exact=True)

    def test_action_masks_fit_the_action_space(self) -> None:
        env = self.make()
        env.reset(seed=11)
        masks = env.get_wrapper_attr("action_masks")()
        bits = 2 * env.action_space.n if isinstance(env.action_space, gym.spaces.MultiBinary) else env.action_space.n  # type: ignore[attr-defined]
        assert masks.dtype == np.bool_
        assert masks.shape == (bits,)
        assert masks[-1], "stopping is always allowed"

    def test_stepping_before_reset_says_what_to_do(self) -> None:
        env = self.make().unwrapped
        with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\)"):
            env.step(env.action_space.sample())
