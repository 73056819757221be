"""What an environment needs of a model: the accuracy of any head mask, and nothing else."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from prune_env.types import HeadMasks


@runtime_checkable
class Evaluator(Protocol):
    """Exact accuracy of a model under head masks, on one fixed split of sentences.

    The same mask always gives the same value, whatever else is evaluated with or before it.
    """

    @property
    def layers(self) -> int:
        """Layers of the model."""

    @property
    def heads(self) -> int:
        """Attention heads in each layer."""

    @property
    def sentences(self) -> int:
        """Sentences in the split: accuracies are whole multiples of 1 / sentences."""

    def accuracy(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns the share of sentences classified correctly under each mask.

        Args:
            masks: bool (K, layers, heads), True = kept.

        Returns:
            float64 (K,), each in [0, 1].

        Raises:
            MaskError: Wrong shape or dtype, or a layer without a kept head.
        """


@runtime_checkable
class CorrectnessEvaluator(Evaluator, Protocol):
    """An evaluator that also tells which sentences are right, for paired statistics."""

    def correct(self, masks: HeadMasks) -> NDArray[np.bool_]:
        """Returns bool (K, sentences) in the split's own order: whether each sentence is classified correctly."""
