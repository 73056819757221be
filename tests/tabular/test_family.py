"""A set of victims: each reset draws one, and K environments at once show what K single ones show."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.config import VIOLATIONS
from prune_env.errors import ConfigError, MaskError, UnknownNameError
from prune_env.rewards import REWARDS, Outcome, Reward, make_reward
from prune_env.tabular.family import BertHeadPruneFamilyEnv
from prune_env.tabular.family_vector import BertHeadPruneFamilyVectorEnv
from prune_env.tabular.twin import TabularTwin
from tests.env.contract import EnvContract
from tests.env.fakes import small_env
from tests.tabular.twins import env_on, random_twin

SHAPES = ((3, 3), (2, 4), (3, 4), (1, 2))
FAMILY_ID = "FakeFamily-v0"


class PlainReward:
    """A reward that knows nothing of arrays."""

    def terms(self, outcome: Outcome) -> dict[str, float]:
        return {"gain": outcome.gain * outcome.heads if not outcome.violation else -1.0}


def family(reward: Reward | None = None, **config: Any) -> BertHeadPruneFamilyEnv:
    """Four victims of different shapes in a grid of 3 x 4."""
    settings = {"pad_to": (3, 4), **config}
    return BertHeadPruneFamilyEnv({twin.name: env_on(twin, reward, **settings) for twin in victims()})


@cache
def victims() -> tuple[TabularTwin, ...]:
    return tuple(random_twin(*shape, seed=7 * place, name=f"v{place}") for place, shape in enumerate(SHAPES))


def small_family(render_mode: str | None = None) -> BertHeadPruneFamilyEnv:
    """As a factory that `gym.make` can call."""
    shapes = ((3, 4), (2, 3))
    made = [small_env(*shape, seed=place, render_mode=render_mode, pad_to=[3, 4]) for place, shape in enumerate(shapes)]
    return BertHeadPruneFamilyEnv({f"v{place}": one for place, one in enumerate(made)})


gym.register(FAMILY_ID, entry_point="tests.tabular.test_family:small_family")


class TestFamilyContract(EnvContract):
    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return gym.make(FAMILY_ID, render_mode=render_mode)


def padded(info: dict[str, Any]) -> dict[str, Any]:
    """A single environment's info with its mask in the common grid."""
    grid = np.zeros((3, 4), dtype=np.bool_)
    layers, heads = info["head_mask"].shape
    grid[:layers, :heads] = info["head_mask"]
    return {**info, "head_mask": grid}


def rows(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """The info of one sub-environment, as it would come from a single one."""
    found = {}
    for name, values in infos.items():
        if not name.startswith("_") and name not in ("final_info", "final_obs") and infos[f"_{name}"][row]:
            found[name] = values[row].item() if isinstance(values[row], np.generic) else values[row]
    return found


def same(one: Any, other: Any) -> bool:
    return data_equivalence(one, other, exact=True)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    mode=st.sampled_from(VIOLATIONS),
    limit=st.sampled_from([1, "paper", 3, None]),
    max_evaluations=st.sampled_from([None, 4]),
    reward=st.sampled_from([*REWARDS, "plain"]),
    diagnostics=st.booleans(),
    density=st.sampled_from([0.1, 0.4, 0.9]),
)
def test_it_is_k_single_environments(
    seed: int, mode: Any, limit: Any, max_evaluations: Any, reward: str, diagnostics: bool, density: float
) -> None:
    config = {
        "reward": PlainReward() if reward == "plain" else make_reward(reward),
        "on_violation": mode,
        "max_heads_per_step": limit,
        "max_evaluations": max_evaluations,
        "diagnostics": diagnostics,
    }
    singles = [family(**config) for _ in range(3)]
    vector = BertHeadPruneFamilyVectorEnv(family(**config).members, 3)
    observations, infos = vector.reset(seed=seed)
    for row, single in enumerate(singles):
        observation, info = single.reset(seed=seed + row)
        assert same({key: value[row] for key, value in observations.items()}, observation)
        assert same(rows(infos, row), padded(info))
    rng = np.random.default_rng(seed)
    for _ in range(12):
        asked = (rng.random((3, 13)) < density).astype(np.int8)
        assert vector.action_masks().tolist() == [one.action_masks().tolist() for one in singles]
        observations, rewards, terminated, truncated, infos = vector.step(asked)
        for row, single in enumerate(singles):
            observation, value, *ends, info = single.step(asked[row])
            assert (rewards[row], terminated[row], truncated[row]) == (value, *ends)
            if any(ends):
                assert same(infos["final_obs"][row], observation)
                assert same(rows(infos["final_info"], row), padded(info))
                observation, info = single.reset()
            assert same({key: array[row] for key, array in observations.items()}, observation)
            assert same(rows(infos, row), padded(info))
    assert vector.render() == tuple(one.render() for one in singles)


def test_resets_draw_every_victim_and_options_name_one() -> None:
    env = family()
    drawn = [env.reset(seed=1)[1]["victim"], *(env.reset()[1]["victim"] for _ in range(60))]
    assert set(drawn) == {"v0", "v1", "v2", "v3"}
    assert drawn == [env.reset(seed=1)[1]["victim"], *(env.reset()[1]["victim"] for _ in range(60))]
    mask = np.array([[True, False, True], [True, True, True], [True, True, True]])
    observation, info = env.reset(options={"victim": "v0", "mask": mask})
    assert info["victim"] == "v0"
    assert info["head_mask"].tolist() == mask.tolist()
    assert observation["valid"].reshape(3, 4)[:, 3].tolist() == [0, 0, 0]
    vector = BertHeadPruneFamilyVectorEnv(env.members, 4)
    _, infos = vector.reset(seed=0, options={"victim": "v0", "mask": mask})
    assert infos["victim"].tolist() == ["v0"] * 4
    assert not infos["head_mask"][:, 0, 1].any()
    for one in (env, vector):
        with pytest.raises(UnknownNameError, match="v3"):
            one.reset(options={"victim": "v4"})
        with pytest.raises(MaskError):
            one.reset(options={"victim": "v1", "mask": mask})


def test_some_rows_are_reset_alone() -> None:
    vector = BertHeadPruneFamilyVectorEnv(family().members, 3)
    observations, infos = vector.reset(seed=5)
    before = infos["victim"].tolist()
    only = np.array([False, True, False])
    again, infos = vector.reset(options={"reset_mask": only, "victim": "v3"})
    assert infos["victim"].tolist() == [None, "v3", None]
    assert infos["_victim"].tolist() == only.tolist()
    assert again["valid"][1].tolist() == [1, 1] + [0] * 10
    for key, values in observations.items():
        assert np.array_equal(again[key][~only], values[~only])
    nothing = np.zeros((3, 13), dtype=np.int8)
    *_, infos = vector.step(nothing)
    assert infos["victim"].tolist() == [before[0], "v3", before[2]]


def test_a_state_knows_its_victim() -> None:
    env = family(on_violation="reject")
    env.reset(seed=0, options={"victim": "v2"})
    state = env.get_state()
    action = env.action_space.sample()
    first = env.step(action)
    env.reset(options={"victim": "v1"})
    env.set_state(state)
    assert env.victim == "v2"
    assert same(env.step(action), first)
    other = env.members["v1"]
    other.reset(seed=0)
    with pytest.raises(ConfigError, match="get_state"):
        env.set_state(other.get_state())


def test_spaces_must_be_equal() -> None:
    with pytest.raises(ConfigError, match="pad_to"):
        BertHeadPruneFamilyEnv({str(shape): env_on(random_twin(*shape, seed=0)) for shape in SHAPES})
    with pytest.raises(ConfigError, match="at least one"):
        BertHeadPruneFamilyEnv({})
    with pytest.raises(ConfigError, match="stored tables"):
        BertHeadPruneFamilyVectorEnv({"live": small_env()})
