"""Steps a second of the tabular environments, in the process's own CPU time: what else runs hardly matters."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prune_env.tabular.environment import make_tabular_env, make_tabular_vector_env

STEPS = 20_000
"""Steps of a turn, of all sub-environments together."""

TURNS = 3


def single_speed(victim: str, steps: int = STEPS) -> float:
    """Returns the steps a second of a single environment, resets included: one random head a step.

    Args:
        victim: A twin's name, or a set of twins.
        steps: Steps of a turn.
    """
    env = make_tabular_env(victim)
    actions = _actions(steps, env.layout.slots)
    env.reset(seed=0)

    def play() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return _best(play, steps)


def vector_speed(victim: str, num_envs: int, steps: int = STEPS) -> float:
    """Returns the steps a second of a vector environment, all sub-environments counted: one random head a step.

    Args:
        victim: A twin's name, or a set of twins.
        num_envs: Sub-environments.
        steps: Steps of a turn, of all together; at least twenty calls are made.

    Raises:
        ConfigError: No sub-environment.
    """
    env = make_tabular_vector_env(victim, num_envs=num_envs)
    calls = max(20, steps // num_envs)
    actions = _actions(calls * num_envs, env.layout.slots).reshape(calls, num_envs, -1)
    env.reset(seed=0)

    def play() -> None:
        for action in actions:
            env.step(action)

    return _best(play, calls * num_envs)


def _actions(count: int, slots: int) -> NDArray[np.int8]:
    actions = np.zeros((count, slots + 1), dtype=np.int8)
    actions[np.arange(count), np.random.default_rng(0).integers(0, slots, count)] = 1
    return actions


def _best(play: Callable[[], None], steps: int) -> float:
    """Returns the steps a second of the fastest turn."""
    seconds = []
    for _ in range(TURNS):
        started = time.process_time()
        play()
        seconds.append(time.process_time() - started)
    return steps / min(seconds)
