"""Methods: the rows of a table, found by name. A method is a policy that chooses a mask, and how its search is run.

Registered as strings, as Gymnasium registers environments: a method's file knows this module, this module knows no
method, and baselines and agents never import each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from prune_env.errors import ConfigError, UnknownNameError
from prune_env.rollout import Policy

REGIMES = ("clean_only", "proxy", "reference", "oracle")

METHODS: dict[str, str] = {
    "ft": "prune_env.baselines.fine_tuning:FT",
    "gradient": "prune_env.baselines.gradient:GRADIENT",
    "random": "prune_env.baselines.random_heads:RANDOM",
    "random-balanced": "prune_env.baselines.random_heads:RANDOM_BALANCED",
    "epsilon-greedy": "prune_env.agents.epsilon_greedy:EPSILON_GREEDY",
}
"""Name -> "module:attribute"; the attribute is a `Method`."""


@dataclass(frozen=True)
class PolicyContext:
    """What a policy may be told before an episode.

    Attributes:
        seed: For its own random draws.
        layers: Layers of the model.
        heads: Heads in each layer.
        heads_to_prune: For controls of matched size: how many heads to prune; None for every other method.
    """

    seed: int
    layers: int
    heads: int
    heads_to_prune: int | None = None


PolicyFactory = Callable[[PolicyContext], Policy]


@dataclass(frozen=True)
class Method:
    """One row of a table.

    Attributes:
        name: As registered.
        summary: One line for `--help` and reports.
        policy: Makes the policy that chooses the mask; None prunes nothing.
        metrics: Importance metrics the policy observes, the first of which protects heads.
        environment: Settings of the environment that belong to the method, over the run's own.
        matches: Another method whose number of pruned heads is handed to the policy.
        unconstrained: Whether the accuracy threshold is lifted (controls of matched size).
        regime: What information the method uses, one of `REGIMES`.
    """

    name: str
    summary: str
    policy: PolicyFactory | None = None
    metrics: tuple[str, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    matches: str | None = None
    unconstrained: bool = False
    regime: str = "clean_only"

    def __post_init__(self) -> None:
        """Checks that a policy has a metric to be protected by, and the regime's name."""
        if self.regime not in REGIMES:
            raise UnknownNameError("regime", self.regime, REGIMES)
        if self.policy is not None and not self.metrics:
            raise ConfigError(f"method {self.name!r} has a policy but no importance metric; name at least one")


def get_method(name: str) -> Method:
    """Returns a registered method.

    Raises:
        UnknownNameError: No such method; the message names the nearest.
    """
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    module, attribute = METHODS[name].split(":")
    method: Method = getattr(import_module(module), attribute)
    return method
