"""Greedy ascent: the single best head goes until none may; then again from a random start.

Of masks with equally many heads those that hold the threshold are worth the same, so the best head is the one whose
loss leaves the highest accuracy. A first ascent over n heads asks for up to n + (n - 1) + ... masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_env.agents.budget import Budget
from prune_env.agents.searchers import Importance
from prune_env.agents.searchers.moves import neighbours
from prune_env.agents.searchers.random_search import any_size
from prune_env.types import HeadMask, full_mask


@dataclass(frozen=True)
class GreedyAscent:
    """Ascends from the full mask, then from random masks that hold the threshold."""

    def run(self, budget: Budget, importance: Importance, rng: np.random.Generator) -> None:
        """Restarts until the budget is spent."""
        _ascend(budget, full_mask(budget.layers, budget.heads), rng)
        while True:
            start = any_size(budget.layers, budget.heads, rng)
            if budget.objective.holds(budget.counts(start[None]))[0]:
                _ascend(budget, start, rng)


def _ascend(budget: Budget, mask: HeadMask, rng: np.random.Generator) -> None:
    """Removes the best head until none is left whose loss the threshold survives."""
    while len(masks := neighbours(mask)):
        # In random order, so that a budget that ends here favours no head, and ties fall at random.
        masks = masks[rng.permutation(len(masks))]
        counts = budget.counts(masks)
        best = int(counts.argmax())
        if not budget.objective.holds(counts)[best]:
            return
        mask = masks[best]
