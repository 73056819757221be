"""Uncertainty: how much a head's attention varies under Monte-Carlo dropout (the paper's strategy "Bayesian")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prune_env.engine.architecture import Architecture, Dropout
from prune_env.engine.forward import LayerWeights, cls_states, pack
from prune_env.engine.tokens import TokenizedSplit
from prune_env.errors import ConfigError
from prune_env.importance.attention_variance import cls_variance
from prune_env.importance.passes import Batch, as_scores, batches, inspected, sum_over
from prune_env.types import HeadScores

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def uncertainty(
    model: PreTrainedModel, tokens: TokenizedSplit, seed: int = 0, passes: int = 10, rate: float | None = None
) -> HeadScores:
    """Variance over dropout passes of a sentence's attention statistic, averaged over sentences.

    The statistic is `attention_variance`'s: the variance of the [CLS] row over real tokens, before the layer's own
    attention dropout. Dropout acts wherever it does in training (Gal and Ghahramani 2016). The same seed, data and
    order give the same scores; another order of the sentences changes them by Monte-Carlo noise.

    Args:
        model: A supported sequence-classification model.
        tokens: Clean sentences; labels are not used.
        seed: Of the dropout; torch's own random state is left as it was.
        passes: Dropout passes, at least 2.
        rate: One dropout rate for every place, in (0, 1); the model's own rates by default.

    Raises:
        ConfigError: Fewer than two passes, a rate out of range, or a model that drops nothing before its last layer.
    """
    if passes < 2 or (rate is not None and not 0.0 < rate < 1.0):
        raise ConfigError(f"expected passes >= 2 and a dropout rate in (0, 1), got passes={passes} and rate={rate}")
    architecture = inspected(model, tokens)
    if rate is not None:
        architecture = replace(architecture, dropout=Dropout(rate, rate, rate, rate, rate))
    if not _drops(architecture.dropout):
        raise ConfigError("expected a model with dropout, all its rates are 0; pass rate=0.1, or use another metric")
    device = architecture.embedding.word.weight.device
    with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        packed = pack(architecture)
        every = batches(architecture, tokens)
        total = sum_over(_variance(architecture, packed, batch, passes).sum(0) for batch in every)
    return as_scores(total / len(tokens))


def _variance(architecture: Architecture, packed: Sequence[LayerWeights], batch: Batch, passes: int) -> Tensor:
    """Returns the sample variance over passes of each sentence's statistic, float64 (B, layers, heads)."""
    drawn = [dropped_variance(architecture, packed, batch) for _ in range(passes)]
    return torch.stack(drawn).var(dim=0, correction=1)


def dropped_variance(architecture: Architecture, packed: Sequence[LayerWeights], batch: Batch) -> Tensor:
    """Returns the [CLS] rows' variances in one forward with dropout, float64 (B, layers, heads)."""
    found: list[Tensor] = []
    states = cls_states(
        architecture,
        batch.input_ids,
        batch.mask_lengths,
        weights=packed,
        training=True,
        observe=lambda _, probabilities: found.append(cls_variance(probabilities, batch.lengths)),
    )
    # What the classifier drops is drawn too, so that a pass starts where a pass of the whole model ends.
    architecture.classify(states[-1], training=True)
    return torch.stack(found, dim=1)


def _drops(dropout: Dropout) -> bool:
    """Tells whether any rate that attention depends on is above zero; the classifier comes after all attention."""
    return max(dropout.embedding, dropout.attention, dropout.output, dropout.ffn) > 0.0
