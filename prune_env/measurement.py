"""What masks are worth: their correct sentences, their label flip rate, and the threshold that they are held to."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from prune_env.config import EnvConfig, check_threshold, exact
from prune_env.engine.evaluator import Evaluator
from prune_env.errors import ConfigError
from prune_env.layout import Layout
from prune_env.thresholds import Threshold


class Measurement:
    """The evaluators behind an environment, asked in slots and answering in sentences.

    Attributes:
        threshold: The configured threshold.
        diagnosed: Whether label flip rates are measured, too.
    """

    def __init__(
        self, evaluator: Evaluator, layout: Layout, config: EnvConfig, diagnostics: Evaluator | None = None
    ) -> None:
        """Fixes the model and its threshold; measures the full mask if the threshold is relative to it.

        Args:
            evaluator: Accuracy on the split that is searched on.
            layout: Where the heads lie.
            config: The settings.
            diagnostics: Triggered sentences labelled with the target; their accuracy is the LFR.

        Raises:
            ConfigError: Diagnostics of a model of another size.
            ThresholdError: A threshold that no mask can meet, or a drop to 0 or below.
        """
        if diagnostics is not None and (diagnostics.layers, diagnostics.heads) != (layout.layers, layout.heads):
            raise ConfigError(
                f"expected diagnostics of a model with {layout.layers} layers of {layout.heads} heads, "
                f"got {diagnostics.layers} of {diagnostics.heads}; use the evaluator's own model"
            )
        self.evaluator = evaluator
        self.diagnosed = diagnostics is not None
        self._diagnostics = diagnostics
        self._sentences = evaluator.sentences
        self._layout = layout
        self._margin = config.threshold_margin
        self.threshold = Threshold.of(self._configured(config), self._sentences, self._margin)

    def _configured(self, config: EnvConfig) -> Fraction:
        if config.threshold is not None:
            return check_threshold(config.threshold)
        drop = exact(config.max_accuracy_drop or 0.0, "max_accuracy_drop")
        return Fraction(self.count(self._layout.full), self._sentences) - drop

    def threshold_for(self, accuracy: float | None) -> Threshold:
        """Returns the constraint of an episode that asks for another threshold, the configured one for None.

        Raises:
            ThresholdError: A threshold outside (0, 1], or one that no mask can meet.
        """
        if accuracy is None:
            return self.threshold
        return Threshold.of(check_threshold(accuracy), self._sentences, self._margin)

    def count(self, kept: NDArray[np.bool_]) -> int:
        """Returns the sentences that are right under one mask, bool (slots,)."""
        return round(float(self.evaluator.accuracy(self._layout.masks(kept))[0]) * self._sentences)

    def counts(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Returns the sentences that are right under each mask of (K, slots), int64 (K,), in one evaluator call."""
        return np.rint(self.evaluator.accuracy(self._layout.masks(kept)) * self._sentences).astype(np.int64)

    def label_flip_rates(self, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Returns the diagnostics' label flip rate under each mask of (slots,) or (K, slots), float64 (K,).

        Raises:
            ConfigError: An environment without diagnostics.
        """
        if self._diagnostics is None:
            raise ConfigError("expected diagnostics to measure label flip rates with, got none; pass them")
        return self._diagnostics.accuracy(self._layout.masks(kept))
