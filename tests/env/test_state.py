"""get_state and set_state: a tree search can go back, and forward again, exactly."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from tests.env.fakes import golden_env, small_env


def future(env: BertHeadPruneEnv, steps: int = 5) -> list[Any]:
    """Surplus heads in every step, so that the random generator matters."""
    results: list[Any] = []
    for _ in range(steps):
        results.append(env.step(np.array([1] * env.layout.slots + [0], dtype=np.int8)))
        if results[-1][2] or results[-1][3]:
            break
    return results


def running() -> BertHeadPruneEnv:
    env = small_env(4, 4, on_violation="reject", max_evaluations=20, threshold=0.7)
    env.reset(seed=3)
    future(env, 2)
    return env


def test_the_future_repeats_itself() -> None:
    env = running()
    state = env.get_state()
    first = future(env)
    assert len(first) == 5
    assert not data_equivalence(future(env), first, exact=True)
    env.set_state(state)
    assert data_equivalence(future(env), first, exact=True)
    env.set_state(state)
    assert data_equivalence(future(env), first, exact=True), "a state can be set more than once"


def test_another_environment_takes_over() -> None:
    env, other = running(), small_env(4, 4, on_violation="reject", max_evaluations=20, threshold=0.7)
    other.set_state(pickle.loads(pickle.dumps(env.get_state())))
    assert data_equivalence(future(other), future(env), exact=True)


def test_the_end_is_part_of_the_state() -> None:
    env = running()
    state = env.get_state()
    env.step(np.array([0] * 16 + [1], dtype=np.int8))
    over = env.get_state()
    env.set_state(state)
    env.step(np.zeros(17, dtype=np.int8))
    env.set_state(over)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(17, dtype=np.int8))


def test_a_state_stays_what_it_was() -> None:
    env = golden_env(on_violation="reject")
    env.reset(seed=0)
    state = env.get_state()
    env.step(np.array([0, 1, 0, 0, 0], dtype=np.int8))
    env.set_state(state)
    assert env.step(np.zeros(5, dtype=np.int8))[0]["failed"].tolist() == [0, 0, 0, 0]
    state.kept[:] = state.failed[:] = False
    assert env.step(np.zeros(5, dtype=np.int8))[0]["mask"].tolist() == [1, 1, 1, 1]


def test_states_that_do_not_fit_are_named() -> None:
    env = running()
    with pytest.raises(ConfigError, match="4 slots, got one with 16"):
        golden_env().set_state(env.get_state())
    with pytest.raises(gym.error.ResetNeeded):
        golden_env().get_state()
