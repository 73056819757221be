"""One masked, differentiable forward for training, evaluation and importance.

A pruned head is physically skipped: its rows of query, key and value and its columns of the output projection leave the
matrices before the multiplication. The last layer computes the [CLS] row only: nothing else reaches the classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prune_env.engine.architecture import Architecture, Block
from prune_env.types import HeadMask, check_mask

Observer: TypeAlias = Callable[[int, Tensor], None]
"""Called with a layer and its attention probabilities (B, kept heads, rows, T); rows is T, or 1 in the last layer."""


@dataclass(frozen=True)
class LayerWeights:
    """A layer's matrices after pruning, with the modules that pruning leaves as they are.

    Attributes:
        qkv: (3 * kept * head_size, hidden): queries, then keys, then values.
        qkv_bias: (3 * kept * head_size,).
        output: (hidden, kept * head_size).
        kept: Indices of the kept heads (kept,), or None if all are kept.
        block: The layer's modules.
    """

    qkv: Tensor
    qkv_bias: Tensor
    output: Tensor
    kept: Tensor | None
    block: Block


def pack(architecture: Architecture) -> tuple[LayerWeights, ...]:
    """Fuses each layer's query, key and value into one matrix, differentiably; every head is kept."""
    packed = []
    for block in architecture.blocks:
        linears = (block.query, block.key, block.value)
        qkv = torch.cat([linear.weight for linear in linears])
        bias = torch.cat([linear.bias for linear in linears])
        packed.append(LayerWeights(qkv, bias, block.output.weight, None, block))
    return tuple(packed)


def narrow(packed: Sequence[LayerWeights], heads: int, head_mask: HeadMask | None) -> tuple[LayerWeights, ...]:
    """Cuts the pruned heads out of packed matrices, differentiably.

    Args:
        packed: What `pack` returned.
        heads: Heads in each layer before pruning.
        head_mask: bool (layers, heads), True = kept; None keeps every head. A layer that keeps all costs nothing.

    Raises:
        MaskError: An invalid mask.
    """
    if head_mask is None:
        return tuple(packed)
    rows = check_mask(head_mask, len(packed), heads)
    return tuple(_narrow(layer, heads, row) for layer, row in zip(packed, rows, strict=True))


def _narrow(layer: LayerWeights, heads: int, row: HeadMask) -> LayerWeights:
    """Keeps the heads of one layer where `row` (heads,) is True."""
    if bool(row.all()):
        return layer
    kept = torch.from_numpy(np.flatnonzero(row)).to(layer.qkv.device)
    hidden = layer.qkv.shape[1]
    return LayerWeights(
        qkv=layer.qkv.view(3, heads, -1, hidden).index_select(1, kept).reshape(-1, hidden),
        qkv_bias=layer.qkv_bias.view(3, heads, -1).index_select(1, kept).reshape(-1),
        output=layer.output.view(hidden, heads, -1).index_select(1, kept).reshape(hidden, -1),
        kept=kept,
        block=layer.block,
    )


def forward(
    architecture: Architecture,
    input_ids: Tensor,
    lengths: Tensor | None = None,
    *,
    head_mask: HeadMask | None = None,
    gates: Tensor | None = None,
    training: bool = False,
    observe: Observer | None = None,
    all_rows: bool = False,
) -> Tensor:
    """Returns the logits (B, labels) of right-padded sentences.

    Args:
        architecture: The model, from `describe`.
        input_ids: Token ids (B, T), right-padded.
        lengths: Tokens of each sentence (B,), or None if none is padded.
        head_mask: bool (layers, heads), True = kept; None keeps all.
        gates: float (layers, heads) or (B, layers, heads): multiplies each head's context before the output projection.
        training: Drops as the Hugging Face model does in train mode, from torch's current random state.
        observe: Receives each layer's attention probabilities, before attention dropout.
        all_rows: Computes (and observes) every row of the last layer too.

    Raises:
        MaskError: An invalid mask.
    """
    states = cls_states(
        architecture,
        input_ids,
        lengths,
        weights=narrow(pack(architecture), architecture.heads, head_mask),
        gates=gates,
        training=training,
        observe=observe,
        all_rows=all_rows,
    )
    return architecture.classify(states[-1], training)


def cls_states(
    architecture: Architecture,
    input_ids: Tensor,
    lengths: Tensor | None = None,
    *,
    weights: Sequence[LayerWeights] | None = None,
    gates: Tensor | None = None,
    training: bool = False,
    observe: Observer | None = None,
    all_rows: bool = False,
) -> list[Tensor]:
    """Returns the [CLS] hidden state (B, hidden) after every layer; the last one is what the classifier reads.

    Args:
        architecture: The model, from `describe`.
        input_ids: Token ids (B, T), right-padded.
        lengths: Tokens of each sentence (B,), or None if none is padded.
        weights: What `pack` or `narrow` returned, to run many batches under one mask; None keeps every head.
        gates: float (layers, heads) or (B, layers, heads), as in `forward`.
        training: Applies dropout, as in `forward`.
        observe: Receives each layer's attention probabilities, before attention dropout.
        all_rows: Computes (and observes) every row of the last layer too.
    """
    packed = pack(architecture) if weights is None else weights
    hidden = _drop(architecture.embedding(input_ids), architecture.dropout.embedding, training)
    run = run_layers(
        architecture,
        hidden,
        lengths,
        weights=packed,
        gates=gates,
        training=training,
        observe=observe,
        all_rows=all_rows,
    )
    return [states[:, 0] for states in run]


def run_layers(
    architecture: Architecture,
    hidden: Tensor,
    lengths: Tensor | None = None,
    *,
    weights: Sequence[LayerWeights],
    start: int = 0,
    gates: Tensor | None = None,
    training: bool = False,
    observe: Observer | None = None,
    all_rows: bool = False,
) -> Iterator[Tensor]:
    """Yields the hidden states after each layer from `start` on: (B, T, hidden), and (B, 1, hidden) after the last one.

    Args:
        architecture: The model, from `describe`.
        hidden: What enters layer `start`, (B, T, hidden): the embedding, or what was yielded after layer `start - 1`.
        lengths: Tokens of each sentence (B,), or None if none is padded.
        weights: What `pack` or `narrow` returned, all layers of it.
        start: The first layer to run.
        gates: float (layers, heads) or (B, layers, heads), as in `forward`.
        training: Applies dropout, as in `forward`.
        observe: Receives each layer's attention probabilities, before attention dropout.
        all_rows: Computes (and observes) every row of the last layer too.
    """
    mask = None
    if lengths is not None:
        mask = (torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None])[:, None, None, :]
    run = _Pass(architecture, mask, gates, training, observe)
    for layer in range(start, architecture.layers):
        cls_only = layer == architecture.layers - 1 and not all_rows
        context = _attention(run, layer, hidden, weights[layer], cls_only)
        hidden = _after_attention(run, hidden, context, weights[layer])
        yield hidden


@dataclass(frozen=True)
class _Pass:
    """What every layer of one forward shares; `mask` is bool (B, 1, 1, T), True at real tokens."""

    architecture: Architecture
    mask: Tensor | None
    gates: Tensor | None
    training: bool
    observe: Observer | None


def _attention(run: _Pass, layer: int, hidden: Tensor, weights: LayerWeights, cls_only: bool) -> Tensor:
    """Returns the heads' contexts side by side (B, rows, kept * head_size); rows is 1 if `cls_only`, else T."""
    batch, length, _ = hidden.shape
    size = run.architecture.head_size
    width = weights.output.shape[1]
    if cls_only:
        first = functional.linear(hidden[:, :1], weights.qkv[:width], weights.qkv_bias[:width])
        query = first.view(batch, 1, -1, size)
        fused = functional.linear(hidden, weights.qkv[width:], weights.qkv_bias[width:])
        key, value = fused.view(batch, length, 2, -1, size).unbind(2)
    else:
        fused = functional.linear(hidden, weights.qkv, weights.qkv_bias)
        query, key, value = fused.view(batch, length, 3, -1, size).unbind(2)
    context = _attend(run, layer, query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    context = context.transpose(1, 2)
    if run.gates is not None:
        context = context * _gate(run.gates[..., layer, :], weights.kept)
    return context.flatten(2)


def _attend(run: _Pass, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention of (B, kept, rows or T, head_size); explicit only if someone observes it."""
    rate = run.architecture.dropout.attention if run.training else 0.0
    if run.observe is None:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=run.mask, dropout_p=rate)
    scores = torch.matmul(query, key.transpose(2, 3)) * query.shape[-1] ** -0.5
    if run.mask is not None:
        scores = scores.masked_fill(~run.mask, float("-inf"))
    probabilities = scores.softmax(-1)
    run.observe(layer, probabilities)
    return torch.matmul(_drop(probabilities, rate, run.training), value)


def _after_attention(run: _Pass, hidden: Tensor, context: Tensor, weights: LayerWeights) -> Tensor:
    """Output projection, residual and feed-forward network on the rows that `context` has, (B, rows, hidden)."""
    block, dropout = weights.block, run.architecture.dropout
    attended = functional.linear(context, weights.output, block.output.bias)
    attended = _drop(attended, dropout.output, run.training)
    hidden = block.attention_norm(attended + hidden[:, : context.shape[1]])
    inner = run.architecture.activation(functional.linear(hidden, block.ffn_in.weight, block.ffn_in.bias))
    outer = functional.linear(inner, block.ffn_out.weight, block.ffn_out.bias)
    normalised: Tensor = block.ffn_norm(_drop(outer, dropout.ffn, run.training) + hidden)
    return normalised


def _gate(gates: Tensor, kept: Tensor | None) -> Tensor:
    """Shapes one layer's gates (heads,) or (B, heads) to multiply a context (B, rows, kept, head_size)."""
    if kept is not None:
        gates = gates.index_select(-1, kept)
    return gates[:, None, :, None] if gates.dim() == 2 else gates[:, None]


def _drop(values: Tensor, rate: float, training: bool) -> Tensor:
    """Dropout that costs nothing when it is off."""
    return functional.dropout(values, rate) if training and rate else values
