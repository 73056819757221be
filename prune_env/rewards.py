"""What a step is worth: small objects that split the reward into named terms. Undiscounted; agents use gamma = 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from prune_env.errors import ConfigError, UnknownNameError


class Outcome(NamedTuple):
    """What one step did; fractions are of all the model's heads, accuracies of all the split's sentences."""

    heads: int
    """Heads of the model in all, n."""
    gain: float
    """Pruned fraction the kept mask won in this step, 0 if it did not change."""
    pruned_fraction: float
    """Pruned fraction of the kept mask."""
    accuracy: float
    """Accuracy of the kept mask."""
    accuracy_change: float
    """What the kept mask's accuracy changed by in this step."""
    attempted_accuracy: float
    """Accuracy of the set that was tried."""
    threshold: float
    """Accuracy a mask has to reach."""
    violation: bool
    """Whether the set that was tried misses the threshold."""
    holds: bool
    """Whether the kept mask meets the threshold (false only until an infeasible starting mask has been left)."""
    ended: bool
    """Whether the episode is over, terminated or truncated."""


class Reward(Protocol):
    """A reward is the sum of its terms, which stand in `info` as `reward_<name>`.

    A reward with the attribute `batched = True` promises that `terms` is plain arithmetic, so that it works on an
    `Outcome` of arrays (K,) as well: the vector environment then calls it once a step, instead of once a
    sub-environment. Nothing else depends on it.
    """

    def terms(self, outcome: Outcome) -> dict[str, float]:
        """Returns the same names in every step, 0.0 where a term does not apply."""


@dataclass(frozen=True)
class SparsityReward:
    """The default: pruned fraction won, minus a cost for every set that misses the threshold.

    A violating set costs 1/n + shortfall_weight * (threshold - accuracy): more than the head too many could ever win,
    so overshooting never pays. The best return is the largest pruned fraction of a mask that meets the threshold.

    Attributes:
        shortfall_weight: Price of the accuracy that is missing, >= 0.
    """

    batched: ClassVar[bool] = True
    shortfall_weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight("shortfall_weight", self.shortfall_weight)

    def terms(self, outcome: Outcome) -> dict[str, float]:
        """Returns `gain` and `violation`."""
        return {"gain": outcome.gain, "violation": _violation(outcome, self.shortfall_weight)}


@dataclass(frozen=True)
class LagrangianReward:
    """Also pays accuracy: the return is pruned fraction + multiplier * accuracy of the final mask, both as gains.

    Violations cost as in `SparsityReward`, at the same price of accuracy, so that one multiplier serves both sides of
    the threshold. The best return maximises that sum over the masks that meet the threshold.

    Attributes:
        multiplier: Price of accuracy in pruned fractions, >= 0.
    """

    batched: ClassVar[bool] = True
    multiplier: float = 1.0

    def __post_init__(self) -> None:
        _check_weight("multiplier", self.multiplier)

    def terms(self, outcome: Outcome) -> dict[str, float]:
        """Returns `gain`, `accuracy` and `violation`."""
        return {
            "gain": outcome.gain,
            "accuracy": self.multiplier * outcome.accuracy_change,
            "violation": _violation(outcome, self.multiplier),
        }


@dataclass(frozen=True)
class TerminalReward:
    """Sparse: nothing until the episode ends, then the final mask's pruned fraction if it meets the threshold."""

    batched: ClassVar[bool] = True

    def terms(self, outcome: Outcome) -> dict[str, float]:
        """Returns `final`."""
        return {"final": outcome.pruned_fraction * (outcome.ended & outcome.holds)}


REWARDS: dict[str, Callable[[], Reward]] = {
    "sparsity": SparsityReward,
    "lagrangian": LagrangianReward,
    "terminal": TerminalReward,
}
"""Every reward by the name that `gym.make` and the command line know."""


def make_reward(name: str) -> Reward:
    """Returns the reward of this name with its default weights.

    Raises:
        UnknownNameError: No reward of this name.
    """
    if name not in REWARDS:
        raise UnknownNameError("reward", name, REWARDS)
    return REWARDS[name]()


def _violation(outcome: Outcome, weight: float) -> float:
    cost = 1 / outcome.heads + weight * (outcome.threshold - outcome.attempted_accuracy)
    return 0.0 - outcome.violation * cost  # not -(...): without a violation that is -0.0


def _check_weight(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"expected {name} to be a finite number >= 0, got {value!r}; 1.0 is the default")
