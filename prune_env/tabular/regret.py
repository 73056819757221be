"""How far from the best: regret on a scale whose 0 is the optimum and whose 1 is the random policy's mean.

Both measures are (optimum - value) / (optimum - mean random value), so that models of different difficulty compare:

* `regret` of an episode's return, on the table that is searched on: the MDP's own measure.
* `certified_regret` of a final mask, valued on sentences that no search has seen,

      value = pruned fraction - violates * (1/n + shortfall_weight * (threshold - accuracy))

  with accuracy and threshold on `certify` (a drop is against the full mask there). Its optimum is the largest value of
  any mask at all, so that it is never negative; its random value is that of the masks at the ends of random episodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from prune_env.config import EnvConfig
from prune_env.errors import ConfigError
from prune_env.rewards import Reward
from prune_env.tabular.certified import Certifier
from prune_env.tabular.optimum import Optimum, Plan
from prune_env.tabular.play import EPISODES, SEED, RandomPlay, play_randomly
from prune_env.tabular.registry import get_twin
from prune_env.tabular.twin import TabularTwin
from prune_env.types import HeadMask, HeadMasks

LEGEND = (
    "regret: of the return, on the sentences that are searched on; certified regret: of the final mask, on sentences "
    "that no search has seen; 0 = the best there is, 1 = random play"
)
"""What stands below a table that has both."""


@dataclass(frozen=True)
class Scale:
    """A scale of regret.

    Attributes:
        optimum: The best value.
        random: The random policy's mean value, below it.

    Raises:
        ConfigError: A random policy that is as good as the best: there is nothing to measure with.
    """

    optimum: float
    random: float

    def __post_init__(self) -> None:
        """Checks that the scale has a length."""
        if not self.random < self.optimum:
            raise ConfigError(
                f"expected random play to be worse than the optimum {self.optimum:.4f}, got {self.random:.4f}; "
                "on this model and threshold there is nothing to choose"
            )

    def regret(self, value: float) -> float:
        """Returns the normalised regret of a value: 0 = optimal, 1 = as good as random."""
        return (self.optimum - value) / (self.optimum - self.random)


@cache
def yardstick_of(name: str) -> Yardstick:
    """Returns the yardstick of a twin that ships, in its environment's default settings; computed once a process.

    Raises:
        UnknownNameError: No such twin.
    """
    twin = get_twin(name)
    return Yardstick(twin, twin.config())


class Yardstick:
    """Everything that one environment over a twin is judged by; what is not asked for is not computed.

    Attributes:
        twin: The model.
        config: The environment's settings.
        optimum: The exact answers on the search table.
    """

    def __init__(
        self,
        twin: TabularTwin,
        config: EnvConfig,
        reward: Reward | None = None,
        *,
        shortfall_weight: float = 1.0,
        episodes: int = EPISODES,
        seed: int = SEED,
    ) -> None:
        """Takes what decides the values.

        Args:
            twin: The model.
            config: Settings of the environment.
            reward: `SparsityReward()` if None.
            shortfall_weight: Price of missing accuracy in the certified value.
            episodes: Random episodes behind the mean random values.
            seed: Of the random episodes.

        Raises:
            ConfigError: A reward whose optimum is not known.
            ThresholdError: A threshold that no mask can meet.
        """
        self.twin, self.config = twin, config
        self.optimum = Optimum(twin, config, reward)
        self._reward, self._episodes, self._seed = reward, episodes, seed
        self._certifier = Certifier(twin.certify, config, shortfall_weight)

    @cached_property
    def plan(self) -> Plan:
        """A best episode."""
        return self.optimum.plan()

    @cached_property
    def random(self) -> RandomPlay:
        """The random episodes."""
        return play_randomly(self.twin, self.config, self._reward, self._episodes, self._seed)

    @cached_property
    def scale(self) -> Scale:
        """The scale of returns."""
        return Scale(self.plan.value, float(self.random.returns.mean()))

    @cached_property
    def certified_scale(self) -> Scale:
        """The scale of certified values."""
        every = self.certified_values(self.optimum.lattice.masks)
        return Scale(float(every.max()), float(self.certified_values(self.random.masks).mean()))

    def regret(self, episode_return: float) -> float:
        """Returns the normalised regret of an episode's return: 0 = optimal, 1 = as good as random."""
        return self.scale.regret(episode_return)

    def certified_regret(self, mask: HeadMask) -> float:
        """Returns the normalised regret of a final mask (layers, heads) on `certify`, never negative.

        Raises:
            MaskError: A mask of another shape or dtype, or with an empty layer.
        """
        return self.certified_scale.regret(self.certified_value(mask))

    def certified_value(self, mask: HeadMask) -> float:
        """Returns what a final mask (layers, heads) is worth on `certify`.

        Raises:
            MaskError: A mask of another shape or dtype, or with an empty layer.
        """
        return self._certifier.value(mask)

    def certified_values(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns what final masks (K, layers, heads) are worth on `certify`, (K,)."""
        return self._certifier.values(masks)
