"""Best of the scripts: scripted policies of strategies and baselines play their episodes, and the best mask is taken.

Each plays in its own environment on the shared budget, so that a mask two of them ask for is paid for once. Those that
draw play on with new seeds; one that asks for nothing new several times in a row, as a deterministic one does from its
second episode, has nothing more to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_env.agents.budget import Budget
from prune_env.agents.searchers import Importance
from prune_env.config import EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.methods import METHODS, Method, PolicyContext, get_method
from prune_env.rollout import Episode, rollout


@dataclass(frozen=True)
class BestOfScripts:
    """Plays each script in turn.

    Attributes:
        names: Registered methods; empty for every strategy and baseline whose metrics are there.
        idle: Episodes in a row without a new mask, after which a script plays no more.
    """

    names: tuple[str, ...] = ()
    idle: int = 5

    def run(self, budget: Budget, importance: Importance, rng: np.random.Generator) -> None:
        """Plays rounds of episodes until the budget is spent or no script asks for anything new.

        Raises:
            ConfigError: No script whose metrics are there.
        """
        methods = [get_method(name) for name in self.names] or scripts(importance)
        if not methods:
            raise ConfigError(f"expected metrics that a script reads, got {', '.join(importance)}; add gradient")
        idle = {method.name: 0 for method in methods}
        while methods:
            for method in methods:
                before = budget.used
                play(method, budget, importance, int(rng.integers(2**31)))
                idle[method.name] = 0 if budget.used > before else idle[method.name] + 1
            methods = [method for method in methods if idle[method.name] < self.idle]


def scripts(importance: Importance) -> list[Method]:
    """Returns strategies and baselines that read clean accuracies and these metrics alone, in the registry's order."""
    return [method for method in every_script() if set(method.metrics) <= set(importance)]


def every_script() -> list[Method]:
    """Returns every strategy and baseline with a policy that reads clean data alone, in the registry's order."""
    return [method for method in map(get_method, METHODS) if _is_script(method)]


def script_metrics() -> tuple[str, ...]:
    """Returns what scripts observe: each of their importance metrics once."""
    return tuple(dict.fromkeys(name for method in every_script() for name in method.metrics))


def _is_script(method: Method) -> bool:
    plain = method.matches is None and method.recover_on is None and not method.unconstrained
    return (
        plain
        and method.kind in {"strategy", "baseline"}
        and method.regime == "clean_only"
        and method.policy is not None
    )


def play(method: Method, budget: Budget, importance: Importance, seed: int) -> Episode:
    """Plays one episode of a script, in its own environment, on a budget.

    Args:
        method: Whose policy acts; it observes its own metrics.
        budget: What masks are asked of; its constraint holds.
        importance: The metrics.
        seed: Of the policy and the environment.

    Raises:
        BudgetSpentError: Before the episode's end.
        ConfigError: A method without a policy, or importance without its metrics.
    """
    if method.policy is None:
        raise ConfigError(f"method {method.name!r} plays no episode of its own; choose gradient or epsilon-greedy")
    if not set(method.metrics) <= set(importance):
        raise ConfigError(
            f"expected the importance {', '.join(method.metrics)} for {method.name!r}, got {', '.join(importance)}; "
            "score heads by it, or choose another method"
        )
    constraint = {
        "threshold": budget.config.threshold,
        "max_accuracy_drop": budget.config.max_accuracy_drop,
        "threshold_margin": budget.config.threshold_margin,
    }
    config = EnvConfig(**{**constraint, **method.environment})
    env = BertHeadPruneEnv(budget, {name: importance[name] for name in method.metrics}, config)
    return rollout(env, method.policy(PolicyContext(seed, budget.layers, budget.heads)), seed=seed)
