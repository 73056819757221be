"""Methods: the rows of a table, found by name. A method is a policy that chooses a mask, and how its search is run.

Registered as strings, as Gymnasium registers environments: a method's file knows this module, this module knows no
method, and baselines and agents never import each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import ConfigError, UnknownNameError
from prune_env.rollout import Policy
from prune_env.types import HeadMasks

REGIMES = ("clean_only", "proxy", "reference", "oracle")

KINDS = ("strategy", "baseline", "control", "own")
"""What a method is in a table: it chooses heads; others did it before; it shows what choosing is worth; it is ours."""

CANDIDATES: dict[str, str] = {
    "candidate-vote": "prune_env.baselines.candidates:VOTE",
    "candidate-soup": "prune_env.baselines.candidates:SOUP",
    "candidate-distil": "prune_env.baselines.candidates:DISTIL",
    "candidate-sharpness": "prune_env.baselines.candidates:SHARPNESS",
    "candidate-third-sharpness": "prune_env.baselines.candidates:THIRD_SHARPNESS",
    "candidate-reinit": "prune_env.baselines.candidates:NEW_HEADS",
    "candidate-epochs": "prune_env.baselines.candidates:EPOCHS",
    "candidate-hot": "prune_env.baselines.candidates:HOT",
    "candidate-recovered": "prune_env.baselines.candidates:RECOVERED",
    "candidate-best": "prune_env.baselines.candidates:BEST",
    "candidate-ft-hot": "prune_env.baselines.candidates:FT_HOT",
}
"""Tried on the way to the project's own defence: run by name, and no row of a comparison."""

METHODS: dict[str, str] = {
    "ft": "prune_env.baselines.fine_tuning:FT",
    "fth": "prune_env.baselines.fine_tuning:FTH",
    "meft": "prune_env.baselines.meft:MEFT",
    "pure": "prune_env.baselines.pure:PURE",
    "gradient": "prune_env.baselines.gradient:GRADIENT",
    "layer-wise": "prune_env.baselines.layer_wise:LAYER_WISE",
    "gradient-l1l2": "prune_env.baselines.gradient_l1l2:GRADIENT_L1L2",
    "random": "prune_env.baselines.random_heads:RANDOM",
    "random-balanced": "prune_env.baselines.random_heads:RANDOM_BALANCED",
    "random-third": "prune_env.baselines.random_heads:RANDOM_THIRD",
    "epsilon-greedy": "prune_env.agents.epsilon_greedy:EPSILON_GREEDY",
    "bayesian": "prune_env.baselines.bayesian:BAYESIAN",
    "ensemble": "prune_env.baselines.ensemble:ENSEMBLE",
    "hybrid": "prune_env.baselines.hybrid:HYBRID",
    "reinit": "prune_env.baselines.reinit:REINIT",
    "oracle": "prune_env.baselines.oracle_greedy:ORACLE",
    "anp": "prune_env.baselines.anp:ANP",
    "restart": "prune_env.baselines.restart:RESTART",
    **CANDIDATES,
    "as-released-gradient": "prune_env.baselines.as_released:GRADIENT_AS_RELEASED",
    "as-released-layer-wise": "prune_env.baselines.as_released:LAYER_WISE_AS_RELEASED",
    "as-released-bayesian": "prune_env.baselines.as_released:BAYESIAN_AS_RELEASED",
    "as-released-ensemble": "prune_env.baselines.as_released:ENSEMBLE_AS_RELEASED",
}
"""Name -> "module:attribute"; the attribute is a `Method`."""

Oracle = Callable[[HeadMasks], NDArray[np.float64]]
"""Masks (K, layers, heads) -> LFR (K,) of the masked scoring model on triggered validation sentences: a diagnosis."""


@dataclass(frozen=True)
class PolicyContext:
    """What a policy may be told before an episode.

    Attributes:
        seed: For its own random draws.
        layers: Layers of the model.
        heads: Heads in each layer.
        heads_to_prune: For controls of matched size: how many heads to prune; None for every other method.
        oracle: For methods of the regime "oracle" alone: what the backdoor does under a mask.
    """

    seed: int
    layers: int
    heads: int
    heads_to_prune: int | None = None
    oracle: Oracle | None = None


PolicyFactory = Callable[[PolicyContext], Policy]


class Recovery(Protocol):
    """How a purified model is made of a mask; a frozen dataclass whose fields decide it (see `prune_env.recovery`)."""

    def purify(self, job: Any) -> Any:
        """Makes a `prune_env.recovery.Purified` of a `prune_env.recovery.Job`."""


@dataclass(frozen=True)
class Method:
    """One row of a table.

    Attributes:
        name: As registered.
        summary: One line for `--help` and reports.
        policy: Makes the policy that chooses the mask; None prunes nothing.
        metrics: Importance metrics the policy observes, the first of which protects heads.
        environment: Settings of the environment that belong to the method, over the run's own.
        constraint: {"threshold": ...} or {"max_accuracy_drop": ...} of the method's own; empty takes the run's.
        reads_importance: Whether the metrics' scores decide anything: what the policy prunes, or what backtracking
            restores first. Where they decide nothing they are not computed, and all heads are shown as equal.
        matches: Another method whose number of pruned heads is handed to the policy.
        mask_of: Another method with the same search, whose mask is taken: what differs is the recovery.
        unconstrained: Whether the accuracy threshold is lifted (controls of matched size).
        regime: What information the method uses, one of `REGIMES`.
        kind: What it is, one of `KINDS`.
        recovery: How the purified model is made of the mask; None is plain fine-tuning (`prune_env.recovery.PLAIN`).
        rate_factor: The final fine-tuning's rate over the protocol's, for methods that a rate of their own defines;
            None takes the run's.
        episodes: Masks to search, each in an episode of its own; the valid ones are an ensemble's members.
        best: Whether of several episodes the most accurate mask is kept, the first of equals, and there is no ensemble.
        recover_on: Clean sentences of the short recovery after which a mask's accuracy is measured in the search (see
            `prune_env.recovered`); None measures the masked scoring model.
        victim_sha256: Of the only model that it can act on, for what was trained on that one; None for any.
    """

    name: str
    summary: str
    policy: PolicyFactory | None = None
    metrics: tuple[str, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    constraint: Mapping[str, float] = field(default_factory=dict)
    reads_importance: bool = True
    matches: str | None = None
    mask_of: str | None = None
    unconstrained: bool = False
    regime: str = "clean_only"
    kind: str = "strategy"
    recovery: Recovery | None = None
    rate_factor: float | None = None
    episodes: int = 1
    best: bool = False
    recover_on: int | None = None
    victim_sha256: str | None = None

    def __post_init__(self) -> None:
        """Checks that a policy has a metric to be protected by, the regime's name, and the numbers."""
        if self.regime not in REGIMES:
            raise UnknownNameError("regime", self.regime, REGIMES)
        if self.kind not in KINDS:
            raise UnknownNameError("kind of method", self.kind, KINDS)
        if self.policy is not None and not self.metrics:
            raise ConfigError(f"method {self.name!r} has a policy but no importance metric; name at least one")
        if set(self.environment) & {"threshold", "max_accuracy_drop"} or (self.constraint and self.unconstrained):
            raise ConfigError(
                f"expected the accuracy that method {self.name!r} holds in `constraint` alone, got it in `environment` "
                "or together with `unconstrained`; give it there, or lift it"
            )
        if self.episodes < 1 or (self.rate_factor is not None and not self.rate_factor > 0.0):
            raise ConfigError(
                f"expected episodes >= 1 and a positive rate_factor, got {self.episodes} and {self.rate_factor}"
            )

    def check_victim(self, sha256: str, name: str) -> None:
        """Refuses a model that the method cannot act on.

        Args:
            sha256: Of what was published.
            name: Of the model, for the message.

        Raises:
            ConfigError: Another one than `victim_sha256`.
        """
        if self.victim_sha256 not in (None, sha256):
            raise ConfigError(
                f"expected the victim that method {self.name!r} was trained on, got {name}: its policy knows one model "
                "alone; run it there, or train an agent with --policy heads"
            )


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


def kind_of(name: str) -> str:
    """Returns what a method is in a table, one of `KINDS`; a "strategy" if this version does not know it."""
    return get_method(name).kind if name in METHODS else "strategy"
