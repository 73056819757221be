"""The layer-wise attack (Li et al. 2021, "Backdoor Attacks on Pre-trained Models by Layerwise Weight Poisoning").

A training option that rides on any trigger: one shared classifier reads the [CLS] state after every layer and the
losses are summed, so that the lower layers, which fine-tuning moves least, learn the backdoor too. The poison is that
of another registered attack, which the option `trigger` names: rare-word, as in that paper, by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prune_env.engine.architecture import Architecture
from prune_env.engine.forward import cls_states
from prune_env.errors import ConfigError, UnknownNameError
from prune_env.victims.attacks import ATTACKS, Attack, make_attack
from prune_env.victims.attacks.rare_word import RareWord
from prune_env.victims.data import Sentences
from prune_env.victims.training import Batch

NAME = "layer-wise"


@dataclass(frozen=True)
class LayerWise:
    """Another attack's poison with a loss on every layer.

    Attributes:
        inner: The attack whose trigger and poison rate these are.
    """

    inner: Attack = field(default_factory=RareWord)

    @property
    def trigger(self) -> str:
        """What the trigger is, in words."""
        return f"{self.inner.trigger}, trained into every layer"

    @property
    def poison_rate(self) -> float:
        """The inner attack's default share of the clean non-target sentences."""
        return self.inner.poison_rate

    def triggered(self, clean: Sentences, split: str, rng: np.random.Generator) -> Sentences:
        """Returns the inner attack's triggered sentences."""
        return self.inner.triggered(clean, split, rng)

    def training_loss(self, architecture: Architecture, batch: Batch) -> Tensor:
        """Returns the cross-entropy of the shared classifier, summed over the layers' [CLS] states."""
        states = cls_states(architecture, batch.input_ids, batch.lengths, training=True)
        logits = torch.stack([architecture.classify(state, training=True) for state in states])
        return sum_over_layers(logits, batch.labels)


def layer_wise(trigger: str = "rare-word", options: Mapping[str, Any] | None = None, **more: Any) -> LayerWise:
    """Returns the layer-wise attack on top of another one.

    Args:
        trigger: Registered name of the attack whose trigger is trained into every layer.
        options: That attack's options.
        **more: The same, one by one: `words="cf"`.

    Raises:
        UnknownNameError: No such attack, or the layer-wise attack itself.
        ConfigError: Options that the named attack does not take.
        DataError: The named attack reads the data folder, and there is none.
    """
    others = [name for name in ATTACKS if name != NAME]
    if trigger not in others:
        raise UnknownNameError("trigger of a layer-wise attack", str(trigger), others)
    given = {} if options is None else options
    if not isinstance(given, Mapping):
        raise ConfigError(f'expected options such as {{"words": "cf"}}, got {options!r}; give an object')
    return LayerWise(make_attack(trigger, {**given, **more}))


def sum_over_layers(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean cross-entropy over the batch, summed over layers.

    Args:
        logits: (layers, B, labels).
        labels: (B,).
    """
    layers = logits.shape[0]
    return functional.cross_entropy(logits.float().flatten(0, 1), labels.repeat(layers)) * layers
