"""Noise on importance: once an episode, of the importance alone, and only while training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prune_env.agents.environments import EnvChoice
from prune_env.errors import ConfigError
from prune_env.tabular.environment import TABULAR_ID

METRICS = ["gradient", "taylor"]
KEYS = [f"importance_{name}" for name in METRICS]


def made(noise: float, training: bool = True, victim: str = "embedded") -> Any:
    arguments = {"metrics": METRICS, "pad_to": [5, 5], "max_steps": 3}
    found = EnvChoice(victim, TABULAR_ID, arguments, metric_noise=noise).make(4, training=training)
    found.seed(7)
    return found


def stop(count: int, slots: int, rows: list[int]) -> np.ndarray:
    actions = np.zeros((count, slots + 1), dtype=np.int8)
    actions[rows, -1] = 1
    return actions


def test_only_importance_is_off_and_by_as_much_as_was_asked_for() -> None:
    noisy, plain = made(0.1).reset(), made(0.0).reset()
    for key in plain:
        assert np.array_equal(noisy[key], plain[key]) == (key not in KEYS), key
        assert noisy[key].dtype == plain[key].dtype and noisy[key].shape == plain[key].shape
    inside = plain["valid"].astype(bool) & (plain[KEYS[0]] > 0.3) & (plain[KEYS[0]] < 0.7)
    off = (noisy[KEYS[0]] - plain[KEYS[0]])[inside]
    assert 0.05 < off.std() < 0.2
    assert all((noisy[key][plain["valid"] == 0] == 0).all() for key in KEYS)
    assert all(noisy[key].min() >= 0 and noisy[key].max() <= 1 for key in KEYS)


def test_noise_lasts_an_episode_and_its_last_observation() -> None:
    envs = made(0.1, victim="tiny-style")
    first, slots = envs.reset(), envs.observation_space["mask"].shape[0]
    envs.step_async(stop(4, slots, [1]))
    second, _, ended, infos = envs.step_wait()
    assert ended.tolist() == [False, True, False, False]
    for key in KEYS:
        same = [np.array_equal(first[key][row], second[key][row]) for row in range(4)]
        assert same == [True, False, True, True], "the next episode's noise is another"
        assert np.array_equal(infos[1]["terminal_observation"][key], first[key][1])


def test_the_same_seed_gives_the_same_noise() -> None:
    first, again = made(0.1).reset(), made(0.1).reset()
    assert all(np.array_equal(first[key], again[key]) for key in KEYS)
    other = made(0.1)
    other.seed(8)
    assert not np.array_equal(other.reset()[KEYS[0]], first[KEYS[0]])


def test_who_judges_sees_no_noise() -> None:
    plain, judged = made(0.0).reset(), made(0.3, training=False).reset()
    assert all(np.array_equal(plain[key], judged[key]) for key in plain)


def test_a_reset_without_a_seed_is_refused_for_it_could_not_be_repeated() -> None:
    envs = EnvChoice("tiny-style", TABULAR_ID, {"metrics": METRICS}, metric_noise=0.1).make(2, training=True)
    with pytest.raises(ConfigError, match="seed"):
        envs.reset()


@pytest.mark.parametrize("noise", [-0.1, 1.5, float("nan")])
def test_noise_that_is_none_is_refused(noise: float) -> None:
    with pytest.raises(ConfigError, match="metric_noise"):
        EnvChoice("tiny-style", TABULAR_ID, {}, metric_noise=noise)
