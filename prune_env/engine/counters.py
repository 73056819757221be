"""What an evaluator has really computed: its own account, apart from what an episode asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counters:
    """Masks and layers so far.

    Attributes:
        asked: Masks asked for, repeated ones included.
        cached: Masks answered without the model: known before, or twice in one question.
        computed: Masks sent through the model.
        layers_full: Layers that `computed` masks have.
        layers_computed: Layers really run for them; the rest came from stored prefixes.
        prefix_bytes: Memory that stored prefixes take now.
        prefix_bytes_peak: The most they took.
    """

    asked: int
    cached: int
    computed: int
    layers_full: int
    layers_computed: int
    prefix_bytes: int
    prefix_bytes_peak: int

    @property
    def hit_rate(self) -> float:
        """Share of the masks asked for that were answered without the model, in [0, 1]; 0 before the first question."""
        return self.cached / self.asked if self.asked else 0.0

    @property
    def layers_saved(self) -> float:
        """Share of the computed masks' layers that stored prefixes spared, in [0, 1]; 0 before the first mask."""
        return 1.0 - self.layers_computed / self.layers_full if self.layers_full else 0.0
