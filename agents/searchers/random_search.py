"""Random search: masks drawn from one fixed distribution, each no better informed than the last.

What is drawn matters more than how often. Three distributions that need no knowledge of the model:

| name | a mask is drawn by |
| --- | --- |
| `random` | how many heads go, every number as likely; then which ones |
| `random-layers` | how many heads of each layer go, every number as likely and each layer by itself; then which ones |
| `random-uniform` | every valid mask as likely: nearly half of all heads go, in every draw |

The first is the default: it is the only one that tries light and heavy pruning equally often at any size of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_env.agents.budget import Budget
from prune_env.agents.searchers import Importance
from prune_env.agents.searchers.moves import without
from prune_env.types import HeadMask, full_mask


def any_size(layers: int, heads: int, rng: np.random.Generator) -> HeadMask:
    """Draws how many heads go, 1 to all but one a layer, then which."""
    count = int(rng.integers(1, max(layers * (heads - 1), 1) + 1))
    return without(full_mask(layers, heads), rng.permutation(layers * heads), count)


@dataclass(frozen=True)
class RandomSearch:
    """Draws the number of pruned heads, then the heads."""

    def run(self, budget: Budget, importance: Importance, rng: np.random.Generator) -> None:
        """Asks for one mask after the other."""
        while True:
            budget.counts(any_size(budget.layers, budget.heads, rng)[None])


@dataclass(frozen=True)
class LayerSizes:
    """Draws the number of pruned heads of each layer, then the heads."""

    def run(self, budget: Budget, importance: Importance, rng: np.random.Generator) -> None:
        """Asks for one mask after the other."""
        while True:
            kept = rng.integers(1, budget.heads + 1, budget.layers)
            rank = rng.permuted(np.tile(np.arange(budget.heads), (budget.layers, 1)), axis=1)
            budget.counts((rank < kept[:, None])[None])


@dataclass(frozen=True)
class UniformMasks:
    """Draws every valid mask with the same chance."""

    def run(self, budget: Budget, importance: Importance, rng: np.random.Generator) -> None:
        """Asks for one mask after the other."""
        while True:
            mask = rng.random((budget.layers, budget.heads)) < 0.5
            while not (empty := mask.any(axis=1)).all():
                mask[~empty] = rng.random((int((~empty).sum()), budget.heads)) < 0.5
            budget.counts(mask[None])
