"""Confidence: how much of its attention a head gives to its favourite token (Voita et al. 2019, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from prune_env.engine.tokens import TokenizedSplit
from prune_env.importance.passes import inspected, mean_statistic, real_tokens
from prune_env.types import HeadScores

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def confidence(model: PreTrainedModel, tokens: TokenizedSplit) -> HeadScores:
    """Largest attention weight of a query, averaged over the sentence's queries and then over sentences.

    As in the source, the end-of-sentence symbol does not count as a token: it is neither a query nor a favourite.
    ([SEP] is where idle heads look, and would make them the most confident.) Unlike the source, each sentence weighs
    the same, whatever its length. Every row of every layer counts, the last included.

    Args:
        model: A supported sequence-classification model.
        tokens: Clean sentences, each ending in its end-of-sentence symbol; labels are not used.
    """
    return mean_statistic(inspected(model, tokens), tokens, mean_maximum, all_rows=True)


def mean_maximum(probabilities: Tensor, lengths: Tensor) -> Tensor:
    """Returns the mean over queries of the largest weight on a key, last real token left out, float64 (B, heads).

    Args:
        probabilities: (B, heads, T, T).
        lengths: (B,); a sentence of one token keeps that token.
    """
    inner = (lengths - 1).clamp(min=1)
    real = real_tokens(probabilities, inner)
    largest = (probabilities * real[:, None, None]).amax(-1).double()
    return (largest * real[:, None]).sum(-1) / inner[:, None]
