"""What the paper's released code computes where it differs from the paper: for comparison, never by default.

Each function changes the one thing that its docstring names; all else is as in the metric of the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prune_env.engine.tokens import TokenizedSplit
from prune_env.importance import attention_variance as paper_variance
from prune_env.importance.gradient import mean_key_gradient
from prune_env.importance.passes import as_scores, inspected, mean_statistic
from prune_env.types import HeadScores

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ENTRIES = 127
"""Entries of the flattened map that the released code looks at, at its padding length of 128."""


def gradient(model: PreTrainedModel, tokens: TokenizedSplit) -> HeadScores:
    """Norm of the WHOLE layer's mean key gradient, given to each of its heads: all heads of a layer tie."""
    architecture = inspected(model, tokens)
    rows, biases = mean_key_gradient(architecture, tokens)
    norm = torch.cat([rows.flatten(1), biases], dim=1).norm(dim=1, keepdim=True)
    return as_scores(norm.expand(architecture.layers, architecture.heads))


def uncertainty(model: PreTrainedModel, tokens: TokenizedSplit) -> HeadScores:
    """Mean over passes that all run in eval mode: they are identical, so it is the statistic itself, computed once."""
    return paper_variance.attention_variance(model, tokens)


def attention_variance(model: PreTrainedModel, tokens: TokenizedSplit) -> HeadScores:
    """Variance of the flattened map's first 127 entries at padding length 128: the [CLS] row with its padding zeros.

    It depends on sentence length: the same attention over fewer tokens has another variance.
    """
    return mean_statistic(inspected(model, tokens), tokens, padded_variance)


def padded_variance(probabilities: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG001 - lengths are what it ignores
    """Returns the population variance of each [CLS] row's first 127 places, padding counted as zeros, (B, heads)."""
    row = probabilities[:, :, 0, :ENTRIES].double()
    return row.square().sum(-1) / ENTRIES - (row.sum(-1) / ENTRIES).square()
