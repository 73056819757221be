"""Attention variance: how unevenly the head's [CLS] row looks at the sentence (the paper's strategy "layer-wise")."""

from __future__ import annotations

from torch import Tensor

from prune_env.importance.passes import real_tokens
from prune_env.importance.shared import MapMetric


def cls_variance(probabilities: Tensor, lengths: Tensor) -> Tensor:
    """Returns the population variance of each [CLS] row over real tokens, float64 (B, heads).

    Args:
        probabilities: (B, heads, rows, T); row 0 is [CLS].
        lengths: (B,).
    """
    real = real_tokens(probabilities, lengths)[:, None]
    count = lengths[:, None].double()
    row = probabilities[:, :, 0].double() * real
    mean = row.sum(-1) / count
    deviations = (row - mean[..., None]) * real
    return deviations.square().sum(-1) / count


attention_variance = MapMetric(cls_variance)
"""Variance of the attention weights of the [CLS] row over the sentence's real tokens, averaged over sentences.

Padding never enters. The weights of a sentence of T tokens sum to one, so their variance lies between 0 (uniform)
and (T - 1) / T^2 (one token): its scale falls with length, short sentences weigh more in the mean, and scores are
comparable between heads on the same data, not between data sets.
"""
