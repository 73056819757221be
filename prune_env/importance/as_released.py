"""What the paper's released code computes where it differs from the paper: for comparison, never by default.

Each metric changes the one thing that its docstring names; all else is as in the metric of the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor

from prune_env.importance.attention_variance import cls_variance
from prune_env.importance.shared import GradientMetric, Gradients, MapMetric

ENTRIES = 127
"""Entries of the flattened map that the released code looks at, at its padding length of 128."""


def layer_norms(gradients: Gradients, heads: int) -> Tensor:
    """Returns the norm of each layer's mean gradient of key matrix and bias, once for every head, (layers, heads)."""
    whole = torch.cat([gradients.keys.flatten(1), gradients.key_biases], dim=1)
    norms: Tensor = whole.norm(dim=1, keepdim=True)
    return norms.expand(-1, heads)


def padded_variance(probabilities: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG001 - lengths are what it ignores
    """Returns the population variance of each [CLS] row's first 127 places, padding counted as zeros, (B, heads)."""
    row = probabilities[:, :, 0, :ENTRIES].double()
    return row.square().sum(-1) / ENTRIES - (row.sum(-1) / ENTRIES).square()


gradient = GradientMetric(layer_norms)
"""Norm of the WHOLE layer's mean key gradient, given to each of its heads: all heads of a layer tie."""

uncertainty = MapMetric(cls_variance)
"""Mean over passes that all run in eval mode: they are identical, so it is the statistic itself, computed once."""

attention_variance = MapMetric(padded_variance)
"""Variance of the flattened map's first 127 entries at padding length 128: the [CLS] row with its padding zeros.

It depends on sentence length: the same attention over fewer tokens has another variance.
"""
