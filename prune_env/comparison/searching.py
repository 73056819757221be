"""Searchers and scripts as contestants: nothing is learned, and nothing is left behind but masks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prune_env.agents.budget import Budget
from prune_env.agents.searchers import get_searcher, spend
from prune_env.agents.searchers.scripts import every_script, play
from prune_env.comparison.contestant import Left, Pretraining
from prune_env.comparison.problem import Seen
from prune_env.errors import BudgetSpentError
from prune_env.methods import get_method
from prune_env.seeds import derive


@dataclass(frozen=True)
class Searching:
    """A searcher with its default settings.

    Attributes:
        searcher: Registered name.
        kind: "searcher", "random" or, for several scripts, "script".
    """

    searcher: str
    kind: str = "searcher"

    @property
    def settings(self) -> dict[str, Any]:
        """The searcher and its settings."""
        searcher: Any = get_searcher(self.searcher)
        scripts = {"scripts": [method.name for method in every_script()]} if self.kind == "script" else {}
        return {"searcher": self.searcher, **asdict(searcher), **scripts}

    def prepare(self, seed: int, before: Pretraining) -> None:
        """Needs nothing."""

    def play(self, seen: Seen, budget: Budget, seed: int, before: Pretraining) -> Left:
        """Searches until the budget is spent or nothing new comes up."""
        rng = np.random.default_rng(derive(seed, f"search:{self.searcher}"))
        spend(get_searcher(self.searcher), budget, seen.scores if self.kind == "script" else seen.importance, rng)
        return Left()


@dataclass(frozen=True)
class Script:
    """One episode of a scripted policy; what it does not need of the budget stays unspent.

    Attributes:
        method: Registered method.
        kind: "script".
    """

    method: str
    kind: str = "script"

    @property
    def settings(self) -> dict[str, Any]:
        """The method and its environment."""
        method = get_method(self.method)
        return {"method": self.method, "environment": dict(method.environment), "metrics": list(method.metrics)}

    def prepare(self, seed: int, before: Pretraining) -> None:
        """Needs nothing."""

    def play(self, seen: Seen, budget: Budget, seed: int, before: Pretraining) -> Left:
        """Plays; an episode that the budget ends is judged by the masks that were seen."""
        with suppress(BudgetSpentError):
            return Left(episode=play(get_method(self.method), budget, seen.scores, derive(seed, "script")))
        return Left()


RANDOM = Searching("random", "random")
RANDOM_UNIFORM = Searching("random-uniform", "random")
RANDOM_LAYERS = Searching("random-layers", "random")
GREEDY = Searching("greedy")
ANNEALING = Searching("annealing")
EVOLUTION = Searching("evolution")
SCRIPTS = Searching("scripts", "script")
SCRIPT_GRADIENT = Script("gradient")
SCRIPT_LAYER_WISE = Script("layer-wise")
SCRIPT_BAYESIAN = Script("bayesian")
SCRIPT_ANP = Script("anp")
SCRIPT_PURE = Script("pure")
SCRIPT_EPSILON_GREEDY = Script("epsilon-greedy")
