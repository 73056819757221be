"""The adapter for Stable-Baselines3: what its own vector of single environments shows, and training on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked_policy
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import prune_env  # noqa: F401 - registers the id
from prune_env.agents.vec_env import PruneVecEnv
from prune_env.config import EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.vector import BertHeadPruneVectorEnv
from tests.env.fakes import FAKE_ID, golden_env, random_model

COUNT = 3
SETTINGS: dict[str, Any] = {"threshold": 0.9, "on_violation": "reject", "max_heads_per_step": 2, "max_steps": 4}


def single() -> BertHeadPruneEnv:
    scores = {"gradient": np.random.default_rng(0).random((3, 4)).astype(np.float32)}
    return BertHeadPruneEnv(random_model(3, 4, 0), scores, EnvConfig(**SETTINGS))


def vector(render_mode: str | None = None, count: int = COUNT) -> BertHeadPruneVectorEnv:
    env = single()
    return BertHeadPruneVectorEnv(env.evaluator, env.importance, env.config, count, render_mode=render_mode)


def walk(env: Any, steps: int = 40) -> list[Any]:
    env.seed(5)
    seen: list[Any] = [(env.reset(), np.zeros(COUNT), np.zeros(COUNT), [], [dict(info) for info in env.reset_infos])]
    rng = np.random.default_rng(5)
    for _ in range(steps):
        asked = (rng.random((COUNT, 13)) < 0.15).astype(np.int8)
        seen.append((*env.step(asked), [dict(info) for info in env.reset_infos]))
    return seen


def test_it_shows_what_sb3s_own_vector_of_single_environments_shows() -> None:
    ours, theirs = walk(PruneVecEnv(vector())), walk(DummyVecEnv([single] * COUNT))
    cut = 0
    for one, other in zip(ours, theirs, strict=True):
        assert all(data_equivalence(dict(one[0])[key], part) for key, part in dict(other[0]).items())
        assert data_equivalence(one[1:3], other[1:3], exact=True)
        for info, wanted in zip(one[-2], other[-2], strict=True):
            assert data_equivalence(info, wanted, exact=True)
            cut += bool(info.get("TimeLimit.truncated"))
        assert data_equivalence(one[-1], other[-1], exact=True)
    assert ours[1][1].dtype == np.float32
    assert cut > 5


def test_seeds_and_options_count_once() -> None:
    env = PruneVecEnv(vector())
    assert env.seed(3) == [3, 4, 5]
    mask = np.ones((3, 4), dtype=np.bool_)
    mask[0, 0] = False
    env.set_options([{}, {"mask": mask}, {"threshold": 0.5}])
    observations: Any = env.reset()
    assert env.get_attr("np_random_seed") == [3, 4, 5]
    assert observations["mask"][:, 0].tolist() == [1, 0, 1]
    assert observations["threshold"][:, 0].tolist() == pytest.approx([0.9, 0.9, 0.5])
    assert [info["pruned_fraction"] for info in env.reset_infos] == [0.0, 1 / 12, 0.0]
    observations = env.reset()
    assert observations["mask"].all()
    assert env.get_attr("np_random_seed") == [3, 4, 5], "no seed goes on with the generators"


def test_attributes_and_methods() -> None:
    env = PruneVecEnv(RecordEpisodeStatistics(vector()))
    env.reset()
    assert env.has_attr("action_masks") and not env.has_attr("no_such_thing")
    assert is_masking_supported(env)
    masks = get_action_masks(env)
    assert masks.shape == (COUNT, 26)
    assert np.array_equal(env.env_method("action_masks", indices=1)[0], masks[1])
    assert env.get_attr("config", [0, 2]) == [single().config] * 2
    assert env.get_attr("observation_space", 0) == [env.observation_space] == [single().observation_space]
    assert env.get_attr("render_mode") == [None] * COUNT
    assert env.get_attr("episode_count") == [0] * COUNT, "a wrapper's own"
    assert len(set(env.get_attr("np_random"))) == COUNT
    env.set_attr("note", "kept")
    assert env.get_attr("note") == ["kept"] * COUNT
    with pytest.raises(ConfigError, match="all 3 environments"):
        env.set_attr("note", "lost", indices=[0])
    with pytest.raises(AttributeError, match="no_such_thing"):
        env.get_attr("no_such_thing")
    assert env.get_attr("action_masks")[0]().shape == (COUNT, 26), "a bound method answers for all rows"
    assert env.env_is_wrapped(RecordEpisodeStatistics, [0, 1]) == [True, True]  # type: ignore[arg-type]
    assert env.env_is_wrapped(Monitor) == [False] * COUNT
    env.close()
    assert env.env.unwrapped.closed


@pytest.mark.parametrize("name", ["reset", "step"])
def test_what_starts_or_steps_episodes_is_no_method_of_a_row(name: str) -> None:
    env = PruneVecEnv(vector())
    env.reset()
    env.step(np.eye(13, dtype=np.int8)[:COUNT])
    with pytest.raises(ConfigError, match="set_options"):
        env.env_method(name, *([np.zeros((COUNT, 13), dtype=np.int8)] if name == "step" else []), indices=0)
    assert env.get_attr("unwrapped")[0].action_masks()[0, 1] == 0, "nothing was reset"


@pytest.mark.parametrize("answer", [7, "abc", {0: 1, 1: 2, 2: 3}, [1, 2], np.zeros(4), np.array(3)], ids=str)
def test_a_method_answers_with_one_item_a_row(answer: Any) -> None:
    env = PruneVecEnv(vector())
    env.set_attr("tell", lambda given: given)
    assert env.env_method("tell", [1, 2, 3], indices=[2, 0]) == [3, 1]
    assert env.env_method("tell", None) == [None] * COUNT
    with pytest.raises(ConfigError, match="one item for each of 3"):
        env.env_method("tell", answer)


def test_pictures() -> None:
    env = PruneVecEnv(vector("rgb_array", 2))
    env.reset()
    one, other = env.get_images()
    assert one is not None and other is not None
    assert one.shape == other.shape and one.dtype == np.uint8
    assert env.render() is not None
    assert PruneVecEnv(vector()).get_images() == [None] * COUNT


@pytest.mark.parametrize(
    "make",
    [golden_env, lambda: SyncVectorEnv([single]), lambda: gym.make(FAKE_ID)],
    ids=["single", "next-step", "made"],
)
def test_other_environments_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match="SAME_STEP"):
        PruneVecEnv(make())


def episodes(env: Any, steps: int = 60) -> list[tuple[float, int]]:
    """Returns the return and length of each episode, as `info["episode"]` tells them."""
    env.seed(1)
    env.reset()
    rng, told, totals, lengths = np.random.default_rng(1), [], np.zeros(COUNT), np.zeros(COUNT, dtype=int)
    for _ in range(steps):
        _, rewards, ended, infos = env.step((rng.random((COUNT, 13)) < 0.15).astype(np.int8))
        totals, lengths = totals + rewards, lengths + 1
        for row in range(COUNT):
            assert ("episode" in infos[row]) == ended[row]
            if ended[row]:
                episode = infos[row]["episode"]
                assert episode["r"] == pytest.approx(totals[row], abs=1e-6)
                assert episode["l"] == lengths[row]
                assert episode["t"] >= 0
                told.append((float(episode["r"]), int(episode["l"])))
                totals[row], lengths[row] = 0.0, 0
    return told


def test_episodes_are_told_by_vec_monitor_and_by_gymnasiums_wrapper() -> None:
    monitored = episodes(VecMonitor(PruneVecEnv(vector())))
    recorded = episodes(PruneVecEnv(RecordEpisodeStatistics(vector())))
    assert len(monitored) > 10
    assert np.allclose(monitored, recorded, atol=1e-6)


def embedded(**arguments: Any) -> VecMonitor:
    environments = gym.make_vec("BertHeadPrune-v0", num_envs=4, victim="tiny-syntactic", **arguments)
    return VecMonitor(PruneVecEnv(environments))


class Watch(BaseCallback):
    """Keeps every action and the masks it was drawn under."""

    def __init__(self) -> None:
        super().__init__()
        self.wasted = self.pruned = self.episodes = 0

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            self.wasted += info["ignored_heads"]
            self.pruned += len(info["attempted_heads"])
            self.episodes += "episode" in info
        return True


def test_ppo_trains() -> None:
    env = embedded(on_violation="reject")
    model = PPO("MultiInputPolicy", env, n_steps=32, batch_size=64, n_epochs=2, gamma=1.0, seed=0, device="cpu")
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    watch = Watch()
    model.learn(256, callback=watch)
    assert model.num_timesteps == 256
    assert watch.episodes > 4
    assert len(model.ep_info_buffer or ()) == min(watch.episodes, 100), "SB3 keeps the last hundred for its log"
    assert watch.pruned > 100
    assert any(not new.equal(old) for new, old in zip(model.policy.parameters(), before, strict=True))
    returns, lengths = evaluate_policy(model, embedded(), n_eval_episodes=4, return_episode_rewards=True)
    assert len(returns) == 4 and all(length >= 1 for length in lengths)  # type: ignore[arg-type, union-attr]


def test_maskable_ppo_trains_and_wastes_nothing() -> None:
    env = embedded(on_violation="reject")
    model = MaskablePPO("MultiInputPolicy", env, n_steps=32, batch_size=64, n_epochs=1, gamma=1.0, seed=0, device="cpu")
    watch = Watch()
    model.learn(128, callback=watch)
    assert model.num_timesteps == 128
    assert watch.wasted == 0, "heads that are not there are masked"
    assert watch.pruned > 50
    assert watch.episodes > 2
    mean, _ = evaluate_masked_policy(model, embedded(), n_eval_episodes=4)
    assert np.isfinite(mean)
