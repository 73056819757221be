"""Gradient importance: how strongly the clean loss depends on a head's key matrix (the paper's strategy "gradient")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from prune_env.engine.architecture import Architecture
from prune_env.engine.forward import LayerWeights, cls_states, pack
from prune_env.engine.tokens import TokenizedSplit
from prune_env.importance.passes import Batch, as_scores, batches, inspected, sum_over
from prune_env.types import HeadScores

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def gradient(model: PreTrainedModel, tokens: TokenizedSplit) -> HeadScores:
    """Frobenius norm of the mean gradient dLoss/dW_K, restricted to the rows that the head owns.

    The mean is over sentences, of the cross-entropy without dropout, and is taken before the norm: gradients that
    cancel over the data do not count. Head h owns rows h * head_size to (h + 1) * head_size of the key matrix.

    Args:
        model: A supported sequence-classification model.
        tokens: Clean, labelled sentences.
    """
    architecture = inspected(model, tokens)
    rows, _ = mean_key_gradient(architecture, tokens)
    return as_scores(rows.reshape(architecture.layers, architecture.heads, -1).norm(dim=2))


def mean_key_gradient(architecture: Architecture, tokens: TokenizedSplit) -> tuple[Tensor, Tensor]:
    """Returns the mean gradients of all key matrices (layers, width, hidden) and key biases (layers, width), float64.

    The bias part is zero to rounding for every model: a key bias adds the same number to all of a query's scores, and
    softmax ignores that.
    """
    layers = [_leaf(layer) for layer in pack(architecture)]
    sums = sum_over(_summed_gradient(architecture, layers, batch) for batch in batches(architecture, tokens))
    mean = sums / len(tokens)
    return mean[..., :-1], mean[..., -1]


def _leaf(layer: LayerWeights) -> LayerWeights:
    """Returns the layer with matrices that collect gradients of their own and leave the model's alone."""
    return replace(
        layer,
        qkv=layer.qkv.detach().clone().requires_grad_(),
        qkv_bias=layer.qkv_bias.detach().clone().requires_grad_(),
    )


def _summed_gradient(architecture: Architecture, layers: list[LayerWeights], batch: Batch) -> Tensor:
    """Returns the summed gradients of keys and, in the last column, their biases: (layers, width, hidden + 1)."""
    with torch.enable_grad():
        states = cls_states(architecture, batch.input_ids, batch.mask_lengths, weights=layers)
        loss = functional.cross_entropy(architecture.classify(states[-1]), batch.labels, reduction="sum")
        found = torch.autograd.grad(loss, [layer.qkv for layer in layers] + [layer.qkv_bias for layer in layers])
    width = layers[0].output.shape[1]
    keys = torch.stack(found[: len(layers)])[:, width : 2 * width]
    biases = torch.stack(found[len(layers) :])[:, width : 2 * width]
    return torch.cat([keys, biases[..., None]], dim=2)
