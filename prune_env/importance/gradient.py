"""Gradient importance: how strongly the clean loss depends on a head's key matrix (the paper's strategy "gradient")."""

from __future__ import annotations

from torch import Tensor

from prune_env.importance.shared import GradientMetric, Gradients


def head_norms(gradients: Gradients, heads: int) -> Tensor:
    """Returns the Frobenius norm of each head's rows of the mean key gradient, (layers, heads)."""
    norms: Tensor = gradients.keys.reshape(len(gradients.keys), heads, -1).norm(dim=2)
    return norms


gradient = GradientMetric(head_norms)
"""Frobenius norm of the mean gradient dLoss/dW_K, restricted to the rows that the head owns.

The mean is over sentences, of the cross-entropy without dropout, and is taken before the norm: gradients that
cancel over the data do not count. Head h owns rows h * head_size to (h + 1) * head_size of the key matrix.
"""
