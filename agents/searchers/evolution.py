"""An evolution strategy over masks: CMA-ES with margin, as the library `cmaes` has it.

Hamano, Saito, Nomura and Shirakawa, "CMA-ES with Margin: Lower-Bounding Marginal Probability for Mixed-Integer
Black-Box Optimization" (2022): a Gaussian over n numbers, each rounded to 0 (pruned) or 1 (kept), whose marginal
probabilities are kept from dying out. A layer that a draw would empty keeps its largest number's head. When a
distribution has converged the next one starts with twice the population.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune_env.agents.budget import Budget
from prune_env.agents.searchers import Importance
from prune_env.errors import ConfigError
from prune_env.types import HeadMasks

_LARGEST = 2**31 - 1
"""Of seeds that the library takes."""


@dataclass(frozen=True)
class Evolution:
    """CMA-ES with margin, restarted with a growing population.

    Attributes:
        kept: First mean of every number: above one half, a head is rather kept than pruned.
        spread: First standard deviation.
        idle: Generations in a row that asked for nothing new, after which a distribution counts as converged.
    """

    kept: float = 0.6
    spread: float = 0.4
    idle: int = 5

    def __post_init__(self) -> None:
        """Checks the settings."""
        if not 0 <= self.kept <= 1 or self.spread <= 0 or self.idle < 1:
            raise ConfigError(
                f"expected kept in [0, 1], spread > 0 and idle >= 1, got {self.kept}, {self.spread} and {self.idle}"
            )

    def run(self, budget: Budget, importance: Importance, rng: np.random.Generator) -> None:
        """Evolves one distribution after the other until the budget is spent."""
        size = budget.layers * budget.heads
        population = 4 + int(3 * np.log(size))
        while True:
            self._evolve(budget, population, int(rng.integers(_LARGEST)))
            population = min(2 * population, 16 * size)

    def _evolve(self, budget: Budget, population: int, seed: int) -> None:
        from cmaes import CMAwM

        size = budget.layers * budget.heads
        strategy = CMAwM(
            mean=np.full(size, self.kept),
            sigma=self.spread,
            bounds=np.tile([0.0, 1.0], (size, 1)),
            steps=np.ones(size),
            population_size=population,
            seed=seed,
        )
        idle = 0
        while idle < self.idle and not strategy.should_stop():
            drawn = [strategy.ask() for _ in range(population)]
            bits, raw = (np.array(part) for part in zip(*drawn, strict=True))
            before = budget.used
            values = budget.guide(repaired(bits, raw, budget.layers))
            idle = 0 if budget.used > before else idle + 1
            strategy.tell([(point, -value) for point, value in zip(raw, values.tolist(), strict=True)])


def repaired(bits: NDArray[np.float64], raw: NDArray[np.float64], layers: int) -> HeadMasks:
    """Returns valid masks (K, layers, heads): a layer without a kept head keeps that of its largest raw number.

    Args:
        bits: (K, n), 0 or 1.
        raw: (K, n), the numbers they were rounded from.
        layers: Layers of the model.
    """
    masks = (bits > 0.5).reshape(len(bits), layers, -1)
    largest = raw.reshape(masks.shape).argmax(axis=2)
    row, layer = np.nonzero(~masks.any(axis=2))
    masks[row, layer, largest[row, layer]] = True
    return masks
