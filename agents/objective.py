"""What a mask is worth to those who search masks directly: the return of an episode that goes there in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.config import EnvConfig
from prune_env.engine.evaluator import Evaluator
from prune_env.layout import Layout
from prune_env.measurement import Measurement
from prune_env.rewards import Outcome, Reward, SparsityReward
from prune_env.thresholds import Threshold
from prune_env.types import HeadMasks


@dataclass(frozen=True, eq=False)
class Objective:
    """A reward and a threshold, as a function of masks and their counts of correct sentences.

    With `SparsityReward` a mask that holds the threshold is worth its pruned fraction, one that misses it
    -(1/n + shortfall_weight * (threshold - accuracy)), and the full mask 0.

    Attributes:
        sentences: Sentences in the split.
        full: How many of them are right with every head.
        threshold: What a mask has to reach.
        reward: What is paid.
    """

    sentences: int
    full: int
    threshold: Threshold
    reward: Reward

    @classmethod
    def of(cls, evaluator: Evaluator, config: EnvConfig, reward: Reward | None = None) -> Objective:
        """Measures the full mask, which the constraint and the reward may refer to.

        Args:
            evaluator: Accuracy on the split.
            config: Its threshold or accuracy drop and its margin; nothing else of it is read.
            reward: `SparsityReward()` if None.

        Raises:
            ThresholdError: A threshold that no mask can meet.
        """
        layout = Layout.of(evaluator.layers, evaluator.heads)
        measurement = Measurement(evaluator, layout, config)
        full = measurement.count(layout.full)
        return cls(evaluator.sentences, full, measurement.threshold, SparsityReward() if reward is None else reward)

    def holds(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which counts (K,) reach the threshold, bool (K,)."""
        return counts >= self.threshold.required

    def values(self, masks: HeadMasks, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns the return of going from the full mask to each mask in one step and stopping, float64 (K,).

        Args:
            masks: bool (K, layers, heads).
            counts: int64 (K,), sentences that are right under each.
        """
        pruned, holds = 1 - masks.mean(axis=(1, 2)), self.holds(counts)
        moved = pruned > 0
        kept = holds | ~moved
        accuracy, before = counts / self.sentences, self.full / self.sentences
        columns: list[Any] = [
            np.where(kept, pruned, 0.0),
            np.where(kept, pruned, 0.0),
            np.where(kept, accuracy, before),
            np.where(kept, accuracy - before, 0.0),
            accuracy,
            np.full(len(masks), self.threshold.accuracy),
            moved & ~holds,
            np.where(kept, holds, self.full >= self.threshold.required),
            np.ones(len(masks), dtype=np.bool_),
        ]
        return self._paid(masks[0].size, columns) if len(masks) else np.zeros(0)

    def _paid(self, size: int, columns: list[Any]) -> NDArray[np.float64]:
        if getattr(self.reward, "batched", False):
            # A batched reward is plain arithmetic: it takes arrays for numbers.
            return np.asarray(sum(self.reward.terms(Outcome(size, *columns)).values()), dtype=np.float64)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return np.array([float(sum(self.reward.terms(Outcome(size, *row)).values())) for row in rows])
