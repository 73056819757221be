"""`BertHeadPruneTabular-v0` is the live environment over stored numbers."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError, ThresholdError, UnknownNameError
from prune_env.registration import make_env
from prune_env.rollout import rollout
from prune_env.tabular.build import KEPT_METRICS
from prune_env.tabular.environment import EVERY_METRIC, make_tabular_env, make_tabular_vector_env
from prune_env.tabular.family import BertHeadPruneFamilyEnv
from prune_env.tabular.family_vector import BertHeadPruneFamilyVectorEnv
from prune_env.tabular.optimum import OptimalPolicy, Optimum
from prune_env.tabular.registry import get_twin, list_twins
from prune_env.vector import BertHeadPruneVectorEnv
from prune_env.wrappers import OneHeadPerStep
from tests.env.contract import EnvContract

ID = "BertHeadPruneTabular-v0"


class TestTwin(EnvContract):
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.make(ID, victim="tiny-syntactic", on_violation="reject", render_mode=render_mode)


class TestSet(EnvContract):
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.make(ID, victim="embedded", diagnostics=True, on_violation="reject", render_mode=render_mode)


class TestOneHead(EnvContract):
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return OneHeadPerStep(gym.make(ID, victim="embedded", on_violation="reject", render_mode=render_mode))


@pytest.mark.parametrize("diagnostics", [False, True])
def test_it_shows_what_the_live_environment_shows(diagnostics: bool) -> None:
    settings: dict[str, Any] = {"victim": "tiny-style", "on_violation": "backtrack", "diagnostics": diagnostics}
    tabular, live = gym.make(ID, **settings), gym.make("BertHeadPrune-v0", **settings)
    assert tabular.observation_space == live.observation_space
    assert data_equivalence(tabular.reset(seed=3), live.reset(seed=3), exact=True)
    rng, over = np.random.default_rng(3), False
    while not over:
        action = (rng.random(17) < 0.1).astype(np.int8)
        action[-1] = 0
        shown, wanted = tabular.step(action), live.step(action)
        assert data_equivalence(shown, wanted, exact=True)
        over = shown[2] or shown[3]


@pytest.mark.parametrize("victim", ["tiny-syntactic", "tiny-style", "tiny-syntactic-organic", "tiny-style-organic"])
def test_the_optimal_actions_reach_the_optimum_in_the_live_environment(victim: str) -> None:
    live = gym.make("BertHeadPrune-v0", victim=victim)
    inside = live.unwrapped
    assert isinstance(inside, BertHeadPruneEnv)
    optimum = Optimum(get_twin(victim), inside.config, inside.reward)
    episode = rollout(live, OptimalPolicy(optimum), seed=0, deterministic=True)
    assert episode.episode_return == pytest.approx(optimum.plan().value)
    assert episode.episode_return > 0.5
    assert not any(step["violation"] for step in episode.trace)


def test_it_needs_no_torch() -> None:
    code = (
        "import gymnasium, prune_env, sys, json\n"
        f"env = gymnasium.make({ID!r}, victim='tiny-syntactic')\n"
        "env.reset(seed=0), env.step(env.action_space.sample())\n"
        f"gymnasium.make_vec({ID!r}, num_envs=2, victim='embedded').reset(seed=0)\n"
        "from prune_env.tabular.regret import Yardstick\n"
        "print(json.dumps(sorted({'torch', 'transformers', 'matplotlib', 'scipy', 'datasets'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_its_spec_is_json_and_makes_it_again() -> None:
    env = gym.make(ID, victim="tiny-style", metrics=["taylor", "gradient"], pad_to=[5, 6], threshold=0.8)
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space
    assert data_equivalence(again.reset(seed=1), env.reset(seed=1), exact=True)
    assert list(env.reset(seed=0)[0])[1:3] == ["importance_taylor", "importance_gradient"]


def test_the_vector_entry_point() -> None:
    one = gym.make_vec(ID, num_envs=3, victim="tiny-style", max_episode_steps=2)
    assert type(one) is BertHeadPruneVectorEnv
    several = gym.make_vec(ID, num_envs=3, victim="embedded", diagnostics=True)
    assert isinstance(several, BertHeadPruneFamilyVectorEnv)
    assert isinstance(make_tabular_env("embedded"), BertHeadPruneFamilyEnv)
    for env in (one, several):
        env.reset(seed=0)
        for _ in range(20):
            _, _, _, _, infos = env.step(np.eye(3, 17, dtype=np.int8))
        assert infos["accuracy"].shape == (3,)
    assert set(infos["victim"]) <= {"tiny-style", "tiny-style-organic", "tiny-syntactic", "tiny-syntactic-organic"}


def test_the_docstring_names_every_argument() -> None:
    documented = set(re.findall(r"^ {8}(\w+): ", make_tabular_env.__doc__ or "", re.MULTILINE))
    errors = {name for name in documented if name.endswith("Error")}
    assert documented - errors == set(inspect.signature(make_tabular_env).parameters)
    live = set(inspect.signature(make_env).parameters)
    assert set(inspect.signature(make_tabular_env).parameters) <= live, "arguments mean what they mean there"


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"victim": "tiny-stile"}, UnknownNameError, "tiny-style"),
        ({"victim": 3}, ConfigError, "tabular list"),
        ({"diagnostics": 1}, ConfigError, "True or False"),
        ({"metrics": []}, ConfigError, "list of metric names"),
        ({"metrics": ["gradiant"]}, UnknownNameError, "did you mean 'gradient'"),
        ({"reward": "sparse"}, UnknownNameError, "sparsity"),
        ({"render_mode": "human"}, UnknownNameError, "rgb_array"),
        ({"threshold": 0.8, "max_accuracy_drop": 0.1}, ThresholdError, "exactly one"),
        ({"pad_to": [2, 2]}, ConfigError, "pad_to"),
        ({"on_violaton": "reject"}, ConfigError, "got 'on_violaton': did you mean 'on_violation'"),
        ({"device": "cpu"}, ConfigError, "got 'device'"),
    ],
)
def test_wrong_arguments_say_what_to_do(arguments: dict[str, Any], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        make_tabular_env(**{"victim": "tiny-style", **arguments})
    with pytest.raises(error, match=complaint):
        gym.make_vec(ID, num_envs=2, **{"victim": "tiny-style", **arguments})
    with pytest.raises(ConfigError, match="num_envs"):
        make_tabular_vector_env("tiny-style", num_envs=0)


@pytest.mark.parametrize("name", [ID, "BertHeadPrune-v0"])
def test_a_misspelt_number_of_environments_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match=r"got 'num_env': did you mean 'num_envs'.*on_violation.*num_envs"):
        gym.make_vec(name, victim="tiny-style", num_env=3)


def test_every_metric_that_trained_agents_read_is_kept_in_twins() -> None:
    assert set(EVERY_METRIC) == set(KEPT_METRICS)
    assert all(set(get_twin(name).importance) == set(EVERY_METRIC) for name in list_twins("family-test"))
