"""Confidence: how much of its attention a head gives to its favourite token (Voita et al. 2019, section 3)."""

from __future__ import annotations

from torch import Tensor

from prune_env.importance.passes import real_tokens
from prune_env.importance.shared import MapMetric


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


confidence = MapMetric(mean_maximum, all_rows=True)
"""Largest attention weight of a query, averaged over the sentence's queries and then over sentences.

As in the source, the end-of-sentence symbol does not count as a token: it is neither a query nor a favourite.
([SEP] is where idle heads look, and would make them the most confident.) Unlike the source, each sentence weighs
the same, whatever its length. Every row of every layer counts, the last included. Sentences end in their
end-of-sentence symbol.
"""
