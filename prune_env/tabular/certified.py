"""What a final mask is worth on sentences that no search has seen, on a live model as on a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prune_env.config import EnvConfig
from prune_env.engine.evaluator import Evaluator
from prune_env.layout import Layout
from prune_env.measurement import Measurement
from prune_env.types import HeadMask, HeadMasks, check_masks


class Certifier:
    """Values final masks by the formula below.

        value = pruned fraction - violates * (1/n + shortfall_weight * (threshold - accuracy))

    It looks at the full mask once, if the threshold is relative to it.

    Attributes:
        evaluator: Accuracy on those sentences.
        threshold: What a mask has to reach there.
    """

    def __init__(self, evaluator: Evaluator, config: EnvConfig, shortfall_weight: float = 1.0) -> None:
        """Takes what decides the values.

        Args:
            evaluator: Accuracy on those sentences.
            config: The constraint; an accuracy drop is from the full mask's accuracy on the same sentences.
            shortfall_weight: Price of the accuracy that is missing.

        Raises:
            ThresholdError: A threshold that no mask can meet.
        """
        self.evaluator, self._weight = evaluator, shortfall_weight
        self.threshold = Measurement(evaluator, Layout.of(evaluator.layers, evaluator.heads), config).threshold

    def value(self, mask: HeadMask) -> float:
        """Returns what a mask (layers, heads) is worth; raises as `values` does."""
        return float(self.values(np.asarray(mask)[None])[0])

    def values(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns what masks (K, layers, heads) are worth, float64 (K,).

        Raises:
            MaskError: A mask of another shape or dtype, or with an empty layer.
        """
        model, threshold = self.evaluator, self.threshold
        size = model.layers * model.heads
        correct = np.rint(model.accuracy(check_masks(masks, model.layers, model.heads)) * model.sentences)
        pruned = (size - masks.sum(axis=(1, 2))) / size
        shortfall = threshold.accuracy - correct / model.sentences
        values: NDArray[np.float64] = pruned - (correct < threshold.required) * (1 / size + self._weight * shortfall)
        return values
