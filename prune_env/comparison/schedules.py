"""Schedules that follow what is spent: within a budget of evaluations a training mostly ends before its steps do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from prune_env.agents.budget import Budget

FADED = 0.8
"""Share of a training at which nothing is paid for chance any more, as in `prune_env.agents.callbacks.Fading`."""


def follow(algorithm: BaseAlgorithm, progress: Callable[[int, int], float]) -> None:
    """Lets everything that Stable-Baselines3 schedules fall with another progress than that of the steps.

    Args:
        algorithm: Not yet trained.
        progress: (steps so far, planned steps) -> share of the training that is over, in [0, 1].
    """

    def update(steps: int, planned: int) -> None:
        algorithm._current_progress_remaining = 1.0 - progress(steps, planned)

    changed: Any = algorithm
    changed._update_current_progress_remaining = update


def of_steps_and(budget: Budget) -> Callable[[int, int], float]:
    """Returns the progress of a training that ends when its steps or a budget's evaluations are spent."""
    return lambda steps, planned: min(1.0, max(steps / planned, budget.used / budget.limit))


class FadingByProgress(BaseCallback):
    """Lets `ent_coef` fall to nothing at `FADED` of the training, by the algorithm's own progress."""

    def __init__(self, start: float) -> None:
        """Takes the first value."""
        super().__init__()
        self._start = start

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        model: Any = self.model
        model.ent_coef = self._start * max(0.0, 1.0 - (1.0 - model._current_progress_remaining) / FADED)
