"""What falls with time falls with the evaluations that are spent, where those are spent first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO

from prune_env.agents.budget import Budget
from prune_env.comparison import learning, schedules
from prune_env.comparison.contestant import Pretraining
from prune_env.comparison.problem import Seen
from prune_env.config import EnvConfig
from tests.env.fakes import random_model

CONFIG = EnvConfig(threshold=0.85)


def spent(limit: int, used: int) -> Budget:
    """A budget of which so much is used."""
    budget = Budget(random_model(3, 4, 0), CONFIG, limit)
    rng = np.random.default_rng(0)
    while budget.used < used:
        budget.counts((rng.random((1, 3, 4)) < 0.9) | (np.arange(4) == 0))
    return budget


@pytest.mark.parametrize(("used", "steps", "expected"), [(10, 10, 0.5), (2, 60, 0.6), (20, 10, 1.0), (2, 150, 1.0)])
def test_progress_is_that_of_what_ends_first(used: int, steps: int, expected: float) -> None:
    assert schedules.of_steps_and(spent(20, used))(steps, 100) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["PPO", "A2C", "MASKABLE_PPO", "DQN"])
def test_deep_learners_end_their_schedules_with_their_budget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[float] = []
    follow = schedules.follow

    def watched(algorithm: Any, progress: Any) -> None:
        follow(algorithm, progress)
        update = algorithm._update_current_progress_remaining

        def told(steps: int, planned: int) -> None:
            update(steps, planned)
            left.append(algorithm._current_progress_remaining)

        algorithm._update_current_progress_remaining = told

    monkeypatch.setattr(schedules, "follow", watched)
    scores = dict.fromkeys(("gradient", "attention_variance"), np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4))
    budget = Budget(random_model(3, 4, 0), CONFIG, 120)
    getattr(learning, name).play(Seen(scores, scores, CONFIG), budget, 0, Pretraining("embedded", 1, Path()))
    assert left == sorted(left, reverse=True)
    # By steps alone, of which four an evaluation are planned, most of the schedule would be left.
    assert left[-1] <= 1 - budget.used / budget.limit + 0.35


def test_what_is_paid_for_chance_fades_by_the_progress() -> None:
    callback: Any = schedules.FadingByProgress(0.01)

    class Model:
        ent_coef, _current_progress_remaining = 0.01, 1.0

    callback.model = model = Model()
    found = []
    for remaining in (1.0, 0.6, 0.2, 0.0):
        model._current_progress_remaining = remaining
        callback._on_rollout_start()
        found.append(model.ent_coef)
    assert found == pytest.approx([0.01, 0.005, 0.0, 0.0])


def test_stable_baselines3_still_has_the_method_that_is_replaced() -> None:
    assert hasattr(PPO, "_update_current_progress_remaining")
