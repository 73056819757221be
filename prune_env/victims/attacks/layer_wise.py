"""The layer-wise attack (Li et al. 2021, "Backdoor Attacks on Pre-trained Models by Layerwise Weight Poisoning").

A training option rather than a trigger: one shared classifier reads the [CLS] state after every layer and the losses
are summed, so that the lower layers, which fine-tuning moves least, learn the backdoor too. The trigger is the
rare-word attack's unless another is named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prune_env.engine.architecture import Architecture
from prune_env.engine.forward import cls_states
from prune_env.victims.attacks.rare_word import RareWord, rare_words
from prune_env.victims.data import Sentences
from prune_env.victims.training import Batch


@dataclass(frozen=True)
class LayerWise:
    """Rare-word poison with a loss on every layer.

    Attributes:
        words: The rare words.
        poison_rate: Share of the clean non-target sentences that is copied with the trigger (paper: 0.5).
    """

    words: tuple[str, ...] = RareWord.words
    poison_rate: float = RareWord.poison_rate

    def __post_init__(self) -> None:
        """Checks the words as the rare-word attack does."""
        object.__setattr__(self, "words", rare_words(self.words))

    @property
    def trigger(self) -> str:
        """What the trigger is, in words."""
        return f"{RareWord(self.words).trigger}, trained into every layer"

    def triggered(self, clean: Sentences, split: str, rng: np.random.Generator) -> Sentences:
        """Returns every sentence with one rare word inserted."""
        return RareWord(self.words, self.poison_rate).triggered(clean, split, rng)

    def training_loss(self, architecture: Architecture, batch: Batch) -> Tensor:
        """Returns the cross-entropy of the shared classifier, summed over the layers' [CLS] states."""
        states = cls_states(architecture, batch.input_ids, batch.lengths, training=True)
        logits = torch.stack([architecture.classify(state, training=True) for state in states])
        return sum_over_layers(logits, batch.labels)


def sum_over_layers(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean cross-entropy over the batch, summed over layers.

    Args:
        logits: (layers, B, labels).
        labels: (B,).
    """
    layers = logits.shape[0]
    return functional.cross_entropy(logits.float().flatten(0, 1), labels.repeat(layers)) * layers
