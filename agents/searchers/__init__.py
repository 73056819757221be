"""Searchers: they ask for masks directly, and never learn a policy. What a learned agent has to beat at their budget.

A searcher sees what an agent sees, clean accuracies through a `Budget` and importance metrics, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prune_env.agents.budget import Budget
from prune_env.config import EnvConfig
from prune_env.engine.evaluator import Evaluator
from prune_env.errors import BudgetSpentError, UnknownNameError
from prune_env.rewards import Reward
from prune_env.tabular.certified import Certifier
from prune_env.types import HeadMask, HeadScores

PATIENCE = 2000
"""Known masks in a row after which a search has seen what it will ever ask for."""

SEARCHERS: dict[str, str] = {
    "random": "prune_env.agents.searchers.random_search:RandomSearch",
    "random-uniform": "prune_env.agents.searchers.random_search:UniformMasks",
    "random-layers": "prune_env.agents.searchers.random_search:LayerSizes",
    "greedy": "prune_env.agents.searchers.greedy:GreedyAscent",
    "annealing": "prune_env.agents.searchers.annealing:SimulatedAnnealing",
    "evolution": "prune_env.agents.searchers.evolution:Evolution",
    "scripts": "prune_env.agents.searchers.scripts:BestOfScripts",
}
"""Name -> "module:attribute"; called without arguments the attribute gives a `Searcher`."""

Importance = Mapping[str, HeadScores]
"""Metric name -> (layers, heads)."""


class Searcher(Protocol):
    """Asks a budget for masks until that is spent."""

    def run(self, budget: Budget, importance: Importance, rng: np.random.Generator) -> None:
        """Searches; may return early, and need not catch `BudgetSpentError`.

        Args:
            budget: Whose `values`, `guide` and `accuracy` tell what masks are worth.
            importance: What heads are worth by each metric.
            rng: The only source of chance.
        """


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search came to.

    Attributes:
        mask: The best mask by the search split, the first of equals, (layers, heads).
        value: Its value there.
        certified: Its value on sentences that no search sees; None without them.
        evaluations: Distinct masks asked for.
        curve: Best value after each evaluation, float64 (evaluations,).
    """

    mask: HeadMask
    value: float
    certified: float | None
    evaluations: int
    curve: NDArray[np.float64]


def get_searcher(name: str) -> Searcher:
    """Returns a registered searcher with its default settings.

    Raises:
        UnknownNameError: No such searcher; the message names the nearest.
    """
    if name not in SEARCHERS:
        raise UnknownNameError("searcher", name, SEARCHERS)
    module, attribute = SEARCHERS[name].split(":")
    searcher: Searcher = getattr(import_module(module), attribute)()
    return searcher


def spend(searcher: Searcher, budget: Budget, importance: Importance, rng: np.random.Generator) -> None:
    """Runs a searcher until it returns, its budget is spent, or it asks for nothing new `PATIENCE` times in a row."""
    before, budget.patience = budget.patience, budget.patience or PATIENCE
    try:
        with suppress(BudgetSpentError):
            searcher.run(budget, importance, rng)
    finally:
        budget.patience = before


def search(
    searcher: str | Searcher,
    evaluator: Evaluator,
    importance: Importance,
    config: EnvConfig,
    evaluations: int,
    rng: np.random.Generator,
    *,
    reward: Reward | None = None,
    certify: Evaluator | None = None,
) -> SearchResult:
    """Searches a model's masks within a budget.

    Args:
        searcher: A registered name, or any searcher.
        evaluator: Accuracy on the split that is searched on.
        importance: At least one metric.
        config: The constraint, and the environment of scripted policies.
        evaluations: Distinct masks that may be asked for, the full one included.
        rng: The only source of chance.
        reward: `SparsityReward()` if None.
        certify: Accuracy on a split that no search sees, asked once, at the end.

    Raises:
        UnknownNameError: No such searcher.
        ConfigError: A budget below 1.
    """
    found = get_searcher(searcher) if isinstance(searcher, str) else searcher
    budget = Budget(evaluator, config, evaluations, reward=reward)
    spend(found, budget, importance, rng)
    best = budget.best
    certified = None if certify is None else Certifier(certify, config).value(best.mask)
    return SearchResult(best.mask, best.value, certified, budget.used, budget.curve)
