"""The best return of an environment over a table, exactly, and a policy that reaches it.

Why looking at final masks is enough. Each reward here pays, over an episode without violations, a sum that depends on
the first and the last mask alone: gains add up to what is pruned in the end, changes of accuracy to the difference.
And a violation never helps. Under "terminate" it ends the episode at the mask before, where stopping costs nothing;
under "reject" it leaves the mask and takes a step and an evaluation; under "backtrack" it lands, if at all, on a mask
that a part of the same set reaches without it, in as many steps and with fewer evaluations. Its cost is never
negative. So the best return is the best value of a mask that can be reached through masks that meet the threshold, by
removing at most `max_heads_per_step` heads at a time, within the limits of steps and evaluations: the same in all three
modes. A set of more heads than a step may prune loses some of them at random, and is no better than the best of what
may be left. Playing every action in every state of 2x2 models gives the same numbers (tests).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune_env.config import EnvConfig
from prune_env.engine.table import TableEvaluator
from prune_env.errors import ConfigError
from prune_env.layout import Layout
from prune_env.measurement import Measurement
from prune_env.observation import Observation
from prune_env.rewards import LagrangianReward, Reward, SparsityReward, TerminalReward
from prune_env.rollout import PolicyState
from prune_env.scripted import Action, prune
from prune_env.tabular.lattice import Lattice
from prune_env.tabular.twin import TabularTwin
from prune_env.types import HeadMask, check_mask, full_mask

_EQUAL = 1e-12
"""Difference of values below which masks are equally good: rounding of sums of a few terms is smaller."""

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plan:
    """A best way to play an episode.

    Attributes:
        value: Its return.
        masks: bool (steps + 1, layers, heads), the masks from the start to the end; without a step, stopping is best.
    """

    value: float
    masks: NDArray[np.bool_]

    @property
    def sets(self) -> list[list[int]]:
        """The heads that each step prunes, as layer * heads + head."""
        gone = self.masks[:-1] & ~self.masks[1:]
        return [np.flatnonzero(one).tolist() for one in gone]


class Optimum:
    """The best returns of one environment from any mask.

    Attributes:
        config: The environment's settings.
        lattice: The masks.
        correct: Correct sentences of each mask in the table's order.
        threshold: Accuracy that a mask has to reach.
        feasible: Whether each mask meets the threshold.
    """

    def __init__(self, tables: TabularTwin | TableEvaluator, config: EnvConfig, reward: Reward | None = None) -> None:
        """Reads the table, and which masks meet the threshold.

        Args:
            tables: A twin, whose `search` table it is, or the table itself.
            config: Settings of the environment.
            reward: `SparsityReward()` if None.

        Raises:
            ConfigError: A reward of another class than those of `prune_env.rewards`: its return may depend on the way.
            ThresholdError: A threshold that no mask can meet.
        """
        table = tables.search if isinstance(tables, TabularTwin) else tables
        self.config = config
        self._price, self._terminal = _kind_of(SparsityReward() if reward is None else reward)
        self.lattice = Lattice(table.layers, table.heads)
        self._size, self._sentences = table.layers * table.heads, table.sentences
        self.correct = table.counts
        threshold = Measurement(table, Layout.of(table.layers, table.heads), config).threshold
        self.threshold = threshold.accuracy
        self.feasible: NDArray[np.bool_] = self.correct >= threshold.required

    @property
    def steps(self) -> int:
        """Sets that an episode without violations may try."""
        steps = self.config.steps(self._size)
        limit = self.config.max_evaluations
        return steps if limit is None else min(steps, limit - 1)

    def plan(self, start: HeadMask | None = None, steps: int | None = None) -> Plan:
        """Returns a best way to play: of equally good ends one with the fewest steps, then the first in the table.

        Args:
            start: bool (layers, heads), the mask to begin with; None for the full mask.
            steps: Sets that may still be tried; None for those of a new episode.

        Raises:
            MaskError: A mask of another shape or dtype, or with an empty layer.
        """
        layers, heads = self.lattice.layers, self.lattice.heads
        first = self.lattice.place(full_mask(layers, heads) if start is None else check_mask(start, layers, heads))
        limit = self.config.heads_per_step(self._size)
        depths = self.lattice.depths(self.feasible, first, limit, self.steps if steps is None else steps)
        values = np.where(depths >= 0, self._values(first), -np.inf)
        best = np.flatnonzero(values >= values.max() - _EQUAL)
        target = int(best[depths[best].argmin()])
        return Plan(float(values[target]), self.lattice.masks[self.lattice.path(depths, target, limit)])

    def _values(self, first: int) -> Values:
        """Returns what an episode from a mask is worth that ends at each mask without a violation, (N,)."""
        pruned, accuracy = self.lattice.pruned / self._size, self.correct / self._sentences
        if self._terminal:
            return pruned * self.feasible
        values: Values = pruned - pruned[first] + self._price * (accuracy - accuracy[first])
        return values


def optimal_return(
    tables: TabularTwin | TableEvaluator, config: EnvConfig, reward: Reward | None = None, start: HeadMask | None = None
) -> float:
    """Returns the largest return that any policy can reach in an episode; see `Optimum`."""
    return Optimum(tables, config, reward).plan(start).value


class OptimalPolicy:
    """Plays a best episode on one model; it looks the answer up, and is a yardstick, no method.

    It plans anew wherever it has not planned yet, with the steps and evaluations that are left, so that it goes on as
    well as possible from any mask.
    """

    def __init__(self, optimum: Optimum) -> None:
        """Takes the answers."""
        self._optimum = optimum
        self._next: dict[tuple[bytes, int], tuple[HeadMask, bool]] = {}

    def predict(
        self,
        observation: Observation,
        state: PolicyState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Action, PolicyState | None]:
        """Returns the next set of a best episode, with the stop bit in its last step; no chance.

        Raises:
            ConfigError: An observation of a model of another size.
        """
        slots = np.flatnonzero(observation["valid"])
        grid = (self._optimum.lattice.layers, self._optimum.lattice.heads)
        if len(slots) != grid[0] * grid[1]:
            raise ConfigError(f"expected an observation of {grid[0]} x {grid[1]} heads, got one of {len(slots)} heads")
        mask = observation["mask"][slots].astype(np.bool_).reshape(grid)
        left = self._left(observation["budget"])
        key = (mask.tobytes(), left)
        if key not in self._next:
            self._learn(self._optimum.plan(mask, left).masks, left)
        heads, last = self._next[key]
        return prune(observation, slots[heads.reshape(-1)], stop=last), state

    def _left(self, budget: NDArray[np.float32]) -> int:
        """Returns the sets that may still be tried, from the fractions of steps and evaluations that are left."""
        config = self._optimum.config
        steps = round(float(budget[0]) * config.steps(self._optimum.lattice.masks[0].size))
        limit = config.max_evaluations
        return steps if limit is None else min(steps, round(float(budget[1]) * limit))

    def _learn(self, masks: NDArray[np.bool_], left: int) -> None:
        final = len(masks) - 1
        for step, mask in enumerate(masks):
            then = masks[min(step + 1, final)]
            self._next[mask.tobytes(), left - step] = (mask & ~then, step + 1 >= final)


def _kind_of(reward: Reward) -> tuple[float, bool]:
    """Returns the price of accuracy in a final mask's value, and whether only masks that meet the threshold are paid.

    Raises:
        ConfigError: A reward whose return may depend on the way to the final mask.
    """
    if isinstance(reward, SparsityReward):
        return 0.0, False
    if isinstance(reward, LagrangianReward):
        return reward.multiplier, False
    if isinstance(reward, TerminalReward):
        return 0.0, True
    raise ConfigError(
        f"expected a reward of prune_env.rewards, got {type(reward).__name__}; the return of another one may depend on "
        "the way to the final mask, which is not searched"
    )
