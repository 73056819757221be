"""`gym.make` on an embedded victim: arguments, checkers, determinism, diagnosis only on request."""

from __future__ import annotations

import inspect
import json
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import prune_env  # noqa: F401 - registers the id
from prune_env.errors import ConfigError, DeviceError, PruneEnvError, ThresholdError, UnknownNameError
from prune_env.registration import make_env
from prune_env.vector import BertHeadPruneVectorEnv
from prune_env.victims import diagnosis, store

VICTIM = "tiny-syntactic"
ARGUMENTS: dict[str, Any] = {
    "victim": VICTIM,
    "task_seed": 11,
    "protocol": "embedded",
    "threshold": 0.9,
    "metrics": ["attention_variance", "gradient"],
    "reward": "lagrangian",
    "on_violation": "backtrack",
    "max_heads_per_step": 3,
    "max_steps": 7,
    "max_evaluations": 20,
    "pad_to": [6, 12],
    "device": "cpu",
    "dtype": "float32",
    "render_mode": "ansi",
}


@pytest.fixture
def env() -> Iterator[gym.Env[Any, Any]]:
    made = gym.make("BertHeadPrune-v0", victim=VICTIM)
    yield made
    made.close()


def test_spec_survives_json() -> None:
    env = gym.make("BertHeadPrune-v0", **ARGUMENTS)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec is not None
    assert json.loads(again.spec.to_json()) == json.loads(env.spec.to_json())
    assert again.observation_space == env.observation_space
    assert again.reset(seed=1)[1]["accuracy"] == env.reset(seed=1)[1]["accuracy"]


def test_every_argument_reaches_the_environment() -> None:
    made: Any = gym.make("BertHeadPrune-v0", **ARGUMENTS).unwrapped
    assert (made.config.threshold, made.config.max_accuracy_drop, made.config.on_violation) == (0.9, None, "backtrack")
    assert (made.config.max_heads_per_step, made.config.max_steps, made.config.max_evaluations) == (3, 7, 20)
    assert made.config.pad_to == (6, 12)
    assert made.action_space.n == 73
    assert list(made.importance) == ["attention_variance", "gradient"]
    assert type(made.reward).__name__ == "LagrangianReward"
    assert made.render_mode == "ansi"


def test_the_manifest_recommends_the_threshold(env: gym.Env[Any, Any]) -> None:
    config: Any = env.unwrapped
    assert config.config.threshold is None
    assert (
        config.config.max_accuracy_drop == store.open_victim(VICTIM).manifest.recommended["max_accuracy_drop"] == 0.02
    )


def test_both_checkers_pass_without_a_warning(env: gym.Env[Any, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=True)
        check_env_sb3(env.unwrapped)
    assert env.reset(seed=0)[0] in env.observation_space


def test_environments_on_one_task_share_their_evaluator(env: gym.Env[Any, Any]) -> None:
    other: Any = gym.make("BertHeadPrune-v0", victim=VICTIM).unwrapped
    first: Any = env.unwrapped
    assert other.evaluator is first.evaluator


def test_the_diagnosis_is_opened_on_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(victim: Any) -> None:
        raise AssertionError("a search opened the diagnosis")

    monkeypatch.setattr("prune_env.oracle.open_diagnosis", refuse)
    monkeypatch.setattr(diagnosis, "open_diagnosis", refuse)
    env = gym.make("BertHeadPrune-v0", victim=VICTIM)
    _, info = env.reset(seed=3)
    info = env.step(np.ones(env.action_space.shape, dtype=np.int8))[-1]
    assert not any(name.startswith("oracle") for name in info)
    with pytest.raises(AssertionError, match="opened the diagnosis"):
        gym.make("BertHeadPrune-v0", victim=VICTIM, diagnostics=True)


def test_diagnostics_shows_the_label_flip_rate() -> None:
    env = gym.make("BertHeadPrune-v0", victim=VICTIM, diagnostics=True, max_heads_per_step=None)
    lfr = env.reset(seed=3)[1]["oracle_lfr"]
    truth = diagnosis.open_diagnosis(store.open_victim(VICTIM)).carriers
    assert truth is not None
    action = np.append(truth.reshape(-1), True).astype(np.int8)
    assert lfr > 0.2
    assert env.step(action)[-1]["oracle_lfr"] < lfr


def _each(
    name: str, values: Iterable[Any], error: type[PruneEnvError], words: str
) -> Iterator[tuple[dict[str, Any], type[PruneEnvError], str]]:
    return (({name: value}, error, words) for value in values)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"victim": "tiny-syntactik"}, UnknownNameError, "tiny-syntactic"),
        ({"metrics": ["gradiant"]}, UnknownNameError, "gradient"),
        ({"metrics": "gradient"}, ConfigError, "list of metric names"),
        ({"reward": "sparse"}, UnknownNameError, "sparsity"),
        ({"protocol": "embeded"}, UnknownNameError, "embedded"),
        ({"threshold": 1.5}, ThresholdError, "1.5"),
        ({"threshold": 0.9, "max_accuracy_drop": 0.1}, ThresholdError, "exactly one"),
        ({"render_mode": "human"}, UnknownNameError, "rgb_array"),
        ({"dtype": "float16"}, DeviceError, "float16"),
        ({"device": "cuda:99"}, DeviceError, "cuda"),
        ({"pad_to": [2, 2]}, ConfigError, "pad_to"),
        ({"pad_to": 12}, ConfigError, "pad_to"),
        *_each("task_seed", (11.0, True, "11", -1, None), ConfigError, "task_seed"),
        *_each("victim", (3, None, ["tiny-syntactic"], ""), ConfigError, "victim"),
        *_each("protocol", (3, ["embedded"], ""), ConfigError, "protocol"),
        ({"data": 3}, ConfigError, "data"),
        *_each("metrics", ([3], ["gradient", None], [["gradient"]]), ConfigError, "metrics"),
        *_each("metrics", ([], None, 3, {"gradient": 1}), ConfigError, "list of metric names"),
        *_each("reward", (None, 3, ["sparsity"]), ConfigError, "reward"),
        *_each("device", (0, None, ["cpu"]), ConfigError, "device"),
        ({"dtype": None}, ConfigError, "dtype"),
        *_each("diagnostics", ("no", 0, None), ConfigError, "diagnostics"),
        *[
            ({"threshold": threshold}, ThresholdError, "threshold")
            for threshold in ("0.85", True, [0.85], float("nan"))
        ],
        *_each("max_accuracy_drop", ("0.02", 1.0, False), ThresholdError, "max_accuracy_drop"),
        ({"threshold_margin": ["point"]}, UnknownNameError, "lower_bound"),
        ({"on_violation": None}, UnknownNameError, "reject"),
        *_each("max_heads_per_step", ("few", [3], {}, 0, 2.0), ConfigError, "max_heads_per_step"),
        *_each("max_steps", (0, "7", 7.0, True), ConfigError, "max_steps"),
        ({"max_evaluations": [2]}, ConfigError, "max_evaluations"),
    ],
)
def test_bad_arguments_name_what_was_expected_before_any_work(
    arguments: dict[str, Any], error: type[PruneEnvError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune_env.registration.build_task", lambda *_, **__: pytest.fail("built a task"))
    with pytest.raises(error, match=words):
        gym.make("BertHeadPrune-v0", **({"victim": VICTIM} | arguments))
    with pytest.raises(error, match=words):
        gym.make_vec("BertHeadPrune-v0", num_envs=2, **({"victim": VICTIM} | arguments))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"victim": VICTIM, "on_violaton": "reject"}, "got 'on_violaton': did you mean 'on_violation'"),
        ({"victim": VICTIM, "unknown": 1}, "got 'unknown': .*known are victim, task_seed, protocol"),
        ({"task_seed": 11}, "victim='tiny-syntactic'"),
    ],
)
def test_an_argument_of_another_name_is_answered_with_the_nearest(arguments: dict[str, Any], words: str) -> None:
    for made in (gym.make, gym.make_vec):
        with pytest.raises(ConfigError, match=words):
            made("BertHeadPrune-v0", **arguments)


def test_the_signature_is_the_documented_one() -> None:
    assert list(inspect.signature(make_env).parameters)[:3] == ["victim", "task_seed", "protocol"]
    assert make_env.__doc__ is not None and make_env.__name__ == "make_env"


def test_a_vector_of_environments_is_made_by_name() -> None:
    vector: Any = gym.make_vec("BertHeadPrune-v0", num_envs=3, **ARGUMENTS)
    single: Any = gym.make("BertHeadPrune-v0", **ARGUMENTS).unwrapped
    assert isinstance(vector, BertHeadPruneVectorEnv)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert (vector.num_envs, vector.config, vector.render_mode) == (3, single.config, "ansi")
    assert vector.reward == single.reward
    assert list(vector.importance) == list(single.importance)
    assert all(np.array_equal(vector.importance[name], single.importance[name]) for name in single.importance)
    assert vector.single_observation_space == single.observation_space
    rng = np.random.default_rng(0)
    shown, _ = vector.reset(seed=5)
    for row in range(3):
        assert data_equivalence({key: part[row] for key, part in shown.items()}, single.reset(seed=5 + row)[0])
    asked = (rng.random((3, 73)) < 0.2).astype(np.int8)
    rewards = vector.step(asked)[1]
    for row in range(3):
        single.reset(seed=5 + row)
        assert single.step(asked[row])[1] == rewards[row]
    again: Any = gym.make_vec(EnvSpec.from_json(vector.spec.to_json()))  # type: ignore[union-attr]
    assert (again.num_envs, again.config) == (3, vector.config)


def test_single_and_vector_environments_share_what_they_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prune_env.scoring._SHARED", OrderedDict())  # nothing is known yet
    vector: Any = gym.make_vec("BertHeadPrune-v0", num_envs=2, victim=VICTIM)
    single: Any = gym.make("BertHeadPrune-v0", victim=VICTIM).unwrapped
    assert single.evaluator is vector.evaluator
    vector.reset(seed=0)
    asked = np.zeros((2, 17), dtype=np.int8)
    asked[0, 1] = asked[1, 9] = 1
    vector.step(asked)
    computed = vector.evaluator.counters.computed
    assert computed >= 3, "the full mask, and two more"
    for row in range(2):
        single.reset(seed=0)
        assert single.step(asked[row])[-1]["evaluations"] == 2, "asked for in this episode, known or not"
    assert single.evaluator.counters.computed == computed


def test_a_vector_of_environments_shows_label_flip_rates() -> None:
    vector = gym.make_vec("BertHeadPrune-v0", num_envs=2, victim=VICTIM, diagnostics=True)
    single = gym.make("BertHeadPrune-v0", victim=VICTIM, diagnostics=True)
    assert vector.reset(seed=0)[1]["oracle_lfr"].tolist() == [single.reset(seed=0)[1]["oracle_lfr"]] * 2


def test_max_episode_steps_reaches_a_vector_of_environments() -> None:
    vector = gym.make_vec("BertHeadPrune-v0", num_envs=2, victim=VICTIM, max_episode_steps=2)
    vector.reset(seed=0)
    nothing = np.zeros((2, 17), dtype=np.int8)
    ends = [vector.step(nothing)[3].tolist() for _ in range(4)]
    assert ends == [[False, False], [True, True]] * 2


@pytest.mark.parametrize("arguments", [{"num_envs": 0}, {"num_envs": True}, {"max_episode_steps": 0}])
def test_bad_counts_of_a_vector_are_named_before_any_work(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune_env.registration.open_victim", lambda *_: pytest.fail("opened a victim"))
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        gym.make_vec("BertHeadPrune-v0", **({"num_envs": 2} | arguments), victim=VICTIM)
