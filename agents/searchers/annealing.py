"""Simulated annealing (Kirkpatrick, Gelatt and Vecchi, 1983) over masks: one head flipped or two exchanged a move.

A step is one move, or, where the budget has fewer evaluations than the model has heads, as many as there are heads for
each evaluation: one move a step would end within reach of the full mask, however good what lies beyond is.

A step to a mask that is worth d less is taken with probability exp(-d / temperature). The temperature falls
geometrically with the evaluations spent, from a loss of `hottest` heads to one of `coldest`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_env.agents.budget import Budget
from prune_env.agents.searchers import Importance
from prune_env.agents.searchers.moves import flipped
from prune_env.errors import ConfigError
from prune_env.types import HeadMask, full_mask


@dataclass(frozen=True)
class SimulatedAnnealing:
    """Walks from the full mask.

    Attributes:
        hottest: First temperature, in heads: losing this many is taken once in e times.
        coldest: Last temperature, in heads.
        stuck: Known masks in a row, in multiples of all heads, after which the walk goes on from the best mask, a few
            random steps away.
    """

    hottest: float = 1.0
    coldest: float = 0.1
    stuck: int = 1

    def __post_init__(self) -> None:
        """Checks the temperatures."""
        if not 0 < self.coldest <= self.hottest or self.stuck < 1:
            raise ConfigError(
                f"expected 0 < coldest <= hottest and stuck >= 1, got {self.coldest}, {self.hottest} and {self.stuck}"
            )

    def run(self, budget: Budget, importance: Importance, rng: np.random.Generator) -> None:
        """Walks until the budget is spent."""
        mask = full_mask(budget.layers, budget.heads)
        value, idle = float(budget.guide(mask[None])[0]), 0
        moves = max(1, mask.size // budget.limit)
        while True:
            jump = idle > self.stuck * mask.size
            trial = _away(budget.best.mask, rng) if jump else moved(mask, moves, rng)
            idle = idle + 1 if budget.knows(trial) and not jump else 0
            other = float(budget.guide(trial[None])[0])
            worse = (value - other) / self._temperature(budget)
            if jump or worse <= 0 or rng.random() < np.exp(-worse):
                mask, value = trial, other

    def _temperature(self, budget: Budget) -> float:
        cooled = (self.coldest / self.hottest) ** (budget.used / budget.limit)
        return float(self.hottest * cooled / (budget.layers * budget.heads))


def _away(mask: HeadMask, rng: np.random.Generator) -> HeadMask:
    return moved(mask, int(rng.integers(2, 7)), rng)


def moved(mask: HeadMask, moves: int, rng: np.random.Generator) -> HeadMask:
    """Returns a mask after so many random moves."""
    for _ in range(moves):
        mask = flipped(mask, rng)
    return mask
