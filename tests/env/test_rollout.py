"""One function drives scripted and learned policies, from the observation alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from numpy.typing import NDArray

from prune_env.config import EnvConfig
from prune_env.engine.table import TableEvaluator
from prune_env.env import BertHeadPruneEnv
from prune_env.observation import Observation
from prune_env.rollout import Policy, PolicyState, decode_action, encode_action, rollout
from prune_env.types import HeadMask, mask_from_text, mask_to_text
from prune_env.wrappers import OneHeadPerStep
from tests.env.fakes import golden_env, random_model, small_env


class LowestFirst:
    """Algorithm 1 of the paper: the least important heads in groups, past the sets that failed, until none is left."""

    def __init__(self, metric: str, group: int) -> None:
        self.metric, self.group = metric, group

    def predict(
        self,
        observation: Observation,
        state: PolicyState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], PolicyState | None]:
        left = observation["mask"] == 1
        chosen: list[int] = []
        for slot in np.argsort(observation[f"importance_{self.metric}"], kind="stable"):
            same_layer = (observation["depth"] == observation["depth"][slot]) & (observation["valid"] == 1)
            if left[slot] and not observation["failed"][slot] and left[same_layer].sum() > 1:
                chosen.append(int(slot))
                left[slot] = False
            if len(chosen) == self.group:
                break
        action = np.zeros(len(left) + 1, dtype=np.int8)
        action[chosen] = 1
        action[-1] = not chosen
        return action, state


class Replayed:
    """Plays recorded actions."""

    def __init__(self, actions: list[NDArray[Any]]) -> None:
        self.actions = iter(actions)

    def predict(
        self,
        observation: Observation,
        state: PolicyState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], PolicyState | None]:
        return next(self.actions), state


def algorithm_1(env_seed: int, layers: int, heads: int, threshold: float, group: int) -> HeadMask:
    """The same search written against the model itself, on (layer, head) pairs."""
    model = random_model(layers, heads, env_seed)
    scores = np.random.default_rng(env_seed).random((layers, heads)).astype(np.float32)
    order = sorted(((layer, head) for layer in range(layers) for head in range(heads)), key=lambda at: scores[at])
    mask, tried = np.ones((layers, heads), dtype=np.bool_), set[tuple[int, int]]()
    while True:
        trial, chosen = mask.copy(), list[tuple[int, int]]()
        for layer, head in order:
            if trial[layer, head] and (layer, head) not in tried and trial[layer].sum() > 1 and len(chosen) < group:
                trial[layer, head] = False
                chosen.append((layer, head))
        if not chosen:
            return mask
        restored = []
        while chosen and model.accuracy(trial[None])[0] < threshold:
            restored.append(chosen.pop())
            trial[restored[-1]] = True
        tried = set(restored) if chosen else tried | set(restored)
        mask = trial


@pytest.mark.parametrize("seed", range(6))
def test_algorithm_1_from_the_observation_alone(seed: int) -> None:
    env = small_env(4, 4, seed=seed, on_violation="backtrack", max_heads_per_step=3, max_steps=99, pad_to=(5, 6))
    episode = rollout(env, LowestFirst("gradient", 3), seed=0)
    assert episode.terminated
    assert mask_to_text(episode.mask) == mask_to_text(algorithm_1(seed, 4, 4, 0.9, 3))


def test_the_paper_s_backtracking_leaves_the_golden_optimum() -> None:
    episode = rollout(golden_env(on_violation="backtrack"), LowestFirst("gradient", 2), seed=0)
    assert (mask_to_text(episode.mask), episode.episode_return, episode.terminated) == ("01/01", 0.5, True)
    assert (episode.accuracy, episode.evaluations) == (0.9, 2)


def test_the_trace_is_a_replayable_record() -> None:
    env = small_env(4, 4, on_violation="reject")
    episode = rollout(env, LowestFirst("gradient", 5), seed=4)
    assert any(entry["violation"] for entry in episode.trace)
    trace = json.loads(json.dumps(episode.trace))
    model = random_model(4, 4, 0)
    for entry in trace:
        for key, accuracy in (("attempted", "attempted_accuracy"), ("mask", "accuracy")):
            assert model.accuracy(mask_from_text(entry[key])[None])[0] == entry[accuracy]
    actions = [decode_action(entry["action"], env.action_space) for entry in trace]
    again = rollout(env, Replayed(actions), seed=4)
    assert data_equivalence(list(again.trace), list(episode.trace), exact=True)
    assert again.episode_return == pytest.approx(sum(entry["reward"] for entry in trace))
    assert again.start["evaluations"] == 1
    assert again.info["evaluations"] == again.evaluations


def test_a_stored_table_gives_the_same_episode() -> None:
    model, scores = random_model(3, 3, 7), {"gradient": np.random.default_rng(7).random((3, 3), dtype=np.float32)}
    config = EnvConfig(threshold=0.9, on_violation="backtrack")
    episodes = [
        rollout(BertHeadPruneEnv(evaluator, scores, config), LowestFirst("gradient", 2), seed=1)
        for evaluator in (model, TableEvaluator.from_evaluator(model))
    ]
    assert episodes[0].trace == episodes[1].trace


def test_actions_are_written_as_json() -> None:
    env = golden_env()
    one = OneHeadPerStep(env)
    assert encode_action(np.array([0, 1, 0, 0, 1], dtype=np.int8)) == [1, 4]
    assert decode_action([1, 4], env.action_space).tolist() == [0, 1, 0, 0, 1]
    assert encode_action(np.int64(3)) == 3  # type: ignore[arg-type]
    assert decode_action(3, one.action_space) == 3
    assert env.action_space.contains(decode_action([], env.action_space))
    assert one.action_space.contains(decode_action(3, one.action_space)[()])


def test_options_reach_the_reset() -> None:
    mask = np.array([[True, False], [True, True]])
    episode = rollout(golden_env(threshold=0.7), LowestFirst("gradient", 1), seed=0, options={"mask": mask})
    assert mask_to_text(episode.start["head_mask"]) == "10/11"
    assert mask_to_text(episode.mask) == "10/01"


class OnlyOneAllowed:
    """Takes the first action the masks allow, as sb3-contrib's policies are handed them."""

    def predict(
        self,
        observation: Observation,
        state: PolicyState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[Any], PolicyState | None]:
        if action_masks is None or episode_start is None:
            raise ValueError("expected action masks and episode_start")
        count = 0 if state is None else int(state[0][0])
        if bool(episode_start[0]) != (count == 0):
            raise ValueError("expected episode_start in the first step and no other")
        return np.array(action_masks.argmax()), (np.array([count + 1]),)


def test_masks_and_state_reach_the_policy() -> None:
    episode = rollout(OneHeadPerStep(golden_env(threshold=0.7)), OnlyOneAllowed(), seed=0)
    assert [entry["action"] for entry in episode.trace] == [0, 2]
    assert mask_to_text(episode.mask) == "01/01"


@pytest.mark.parametrize("wrapped", [False, True])
def test_ppo_trains_and_rolls_out(wrapped: bool) -> None:
    from stable_baselines3 import PPO

    plain: BertHeadPruneEnv = small_env(on_violation="reject")
    env = OneHeadPerStep(plain) if wrapped else plain
    model = PPO("MultiInputPolicy", env, n_steps=16, batch_size=16, n_epochs=1, gamma=1.0, seed=0, device="cpu")
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(32)
    assert any((value != before[name]).any() for name, value in model.policy.state_dict().items())
    policy: Policy = model
    first, second = (rollout(env, policy, seed=5, deterministic=True) for _ in range(2))
    assert first.trace == second.trace


def test_maskable_ppo_never_asks_for_what_is_gone() -> None:
    contrib = pytest.importorskip("sb3_contrib", reason="sb3-contrib is an extra")
    env = small_env(on_violation="reject", threshold=0.5)
    model = contrib.MaskablePPO("MultiInputPolicy", env, n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu")
    model.learn(16)
    env.reset(seed=1)
    ignored = 0
    for _ in range(3):
        observation, _ = env.reset()
        over = False
        while not over:
            action, _ = model.predict(observation, action_masks=env.action_masks())
            observation, _, terminated, truncated, info = env.step(action)
            ignored += info["ignored_heads"]
            over = terminated or truncated
    assert ignored == 0
    assert rollout(env, model, seed=2).info["ignored_heads"] == 0


def test_whoever_watches_sees_the_reset_and_every_step() -> None:
    seen: list[dict[str, Any]] = []
    episode = rollout(golden_env(on_violation="backtrack"), LowestFirst("gradient", 2), seed=0, on_step=seen.append)
    assert len(seen) == 1 + len(episode.trace)
    assert (seen[0], seen[-1]) == (episode.start, episode.info)
