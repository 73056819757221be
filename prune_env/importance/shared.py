"""Metrics that read the same pass over the data read it together: one forward for maps, one backward for gradients.

What is shared is what is the same to the bit. Maps come from attention that is written out, gradients from the fused
one, so these two passes stay apart; the last layer is run once for its [CLS] row and once for all rows, since a product
of other size rounds otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from prune_env.engine.architecture import Architecture
from prune_env.engine.forward import LayerWeights, cls_states, pack, run_layers
from prune_env.engine.tokens import TokenizedSplit
from prune_env.importance.passes import Batch, Statistic, as_scores, batches, inspected, sum_over
from prune_env.types import HeadScores

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class MapMetric:
    """A metric that is a statistic of every head's attention map, averaged over sentences, without dropout.

    Attributes:
        statistic: Sees each layer's map; in the last layer only its [CLS] row unless `all_rows`.
        all_rows: Whether the statistic needs every row of the last layer.
    """

    statistic: Statistic
    all_rows: bool = False

    def __call__(self, model: PreTrainedModel, tokens: TokenizedSplit) -> HeadScores:
        """Scores every head in a pass of its own; labels are not used."""
        return score_together({"": self}, model, tokens)[""]


@dataclass(frozen=True)
class Gradients:
    """What one backward pass tells of clean cross-entropy without dropout, in float64.

    Attributes:
        keys: Mean gradient of each key matrix over sentences (layers, width, hidden).
        key_biases: Mean gradient of each key bias (layers, width): zero to rounding, since softmax ignores a key bias.
        gates: Mean absolute gradient of each head's gate, taken sentence by sentence, (layers, heads).
    """

    keys: Tensor
    key_biases: Tensor
    gates: Tensor


@dataclass(frozen=True)
class GradientMetric:
    """A metric that is computed from the data's gradients.

    Attributes:
        finish: (gradients, heads in a layer) -> (layers, heads).
    """

    finish: Callable[[Gradients, int], Tensor]

    def __call__(self, model: PreTrainedModel, tokens: TokenizedSplit) -> HeadScores:
        """Scores every head in a pass of its own, over clean, labelled sentences."""
        return score_together({"": self}, model, tokens)[""]


Shared: TypeAlias = MapMetric | GradientMetric


def score_together(
    metrics: Mapping[str, Shared], model: PreTrainedModel, tokens: TokenizedSplit
) -> dict[str, HeadScores]:
    """Scores a model by several metrics in at most two passes over the data.

    Args:
        metrics: By a name of the caller's choice.
        model: As `importance.score` has it.
        tokens: As `importance.score` has it.

    Returns:
        The scores by the same names, the same bits as one by one.
    """
    architecture = inspected(model, tokens)
    maps = {name: metric for name, metric in metrics.items() if isinstance(metric, MapMetric)}
    finishes = {name: metric.finish for name, metric in metrics.items() if isinstance(metric, GradientMetric)}
    found: dict[str, Tensor] = {}
    if maps:
        found |= dict(zip(maps, mean_statistics(architecture, tokens, list(maps.values())), strict=True))
    if finishes:
        gradients = mean_gradients(architecture, tokens)
        found |= {name: finish(gradients, architecture.heads) for name, finish in finishes.items()}
    return {name: as_scores(found[name]) for name in metrics}


def mean_statistics(architecture: Architecture, tokens: TokenizedSplit, metrics: Sequence[MapMetric]) -> list[Tensor]:
    """Averages each metric's statistic over the sentences, each weighing the same; float64 (layers, heads) each."""
    with torch.no_grad():
        packed = pack(architecture)
        total = sum_over(
            _summed_statistics(architecture, packed, batch, metrics) for batch in batches(architecture, tokens)
        )
    return list(total / len(tokens))


def _summed_statistics(
    architecture: Architecture, packed: Sequence[LayerWeights], batch: Batch, metrics: Sequence[MapMetric]
) -> Tensor:
    """Returns each metric's statistic summed over a batch, float64 (metrics, layers, heads)."""
    seen: dict[MapMetric, list[Tensor]] = {metric: [] for metric in metrics}

    def observe(which: Sequence[MapMetric]) -> Callable[[int, Tensor], None]:
        def look(_layer: int, probabilities: Tensor) -> None:
            for metric in which:
                seen[metric].append(metric.statistic(probabilities, batch.lengths))

        return look

    hidden, last = architecture.embedding(batch.input_ids), architecture.layers - 1
    layers = run_layers(architecture, hidden, batch.mask_lengths, weights=packed, observe=observe(list(seen)))
    for _ in range(last):
        hidden = next(layers)
    for all_rows in (False, True):
        which = [metric for metric in seen if metric.all_rows == all_rows]
        if which:
            run = run_layers(
                architecture,
                hidden,
                batch.mask_lengths,
                weights=packed,
                start=last,
                observe=observe(which),
                all_rows=all_rows,
            )
            next(run)
    return torch.stack([torch.stack(seen[metric], dim=1).sum(0) for metric in metrics])


def mean_gradients(architecture: Architecture, tokens: TokenizedSplit) -> Gradients:
    """Returns what one pass over clean, labelled sentences tells; the model's own gradients are left alone."""
    layers = [_leaf(layer) for layer in pack(architecture)]
    width = architecture.hidden_size

    def summed(batch: Batch) -> Tensor:
        rows, biases, gates = batch_gradients(architecture, layers, batch)
        return torch.cat([rows.double().flatten(), biases.double().flatten(), gates.abs().sum(0).flatten()])

    mean = sum_over(summed(batch) for batch in batches(architecture, tokens)) / len(tokens)
    keys, biases, gates = mean.split([architecture.layers * n for n in (width * width, width, architecture.heads)])
    return Gradients(
        keys=keys.view(-1, width, width),
        key_biases=biases.view(-1, width),
        gates=gates.view(-1, architecture.heads),
    )


def _leaf(layer: LayerWeights) -> LayerWeights:
    """Returns the layer with matrices that collect gradients of their own and leave the model's alone."""
    return replace(
        layer,
        qkv=layer.qkv.detach().clone().requires_grad_(),
        qkv_bias=layer.qkv_bias.detach().clone().requires_grad_(),
    )


def batch_gradients(
    architecture: Architecture, layers: Sequence[LayerWeights], batch: Batch
) -> tuple[Tensor, Tensor, Tensor]:
    """Differentiates a batch's summed loss.

    Args:
        architecture: The model.
        layers: Its packed weights, which collect gradients.
        batch: The sentences.

    Returns:
        Gradients of keys (layers, width, hidden) and key biases (layers, width), summed over the batch, and each
        sentence's own gradient of the gates, which stand at one, float64 (B, layers, heads).
    """
    size = (len(batch.labels), architecture.layers, architecture.heads)
    gates = torch.ones(size, device=batch.labels.device, requires_grad=True)
    leaves = [layer.qkv for layer in layers] + [layer.qkv_bias for layer in layers]
    with torch.enable_grad():
        states = cls_states(architecture, batch.input_ids, batch.mask_lengths, weights=layers, gates=gates)
        loss = functional.cross_entropy(architecture.classify(states[-1]), batch.labels, reduction="sum")
        *found, gate_gradients = torch.autograd.grad(loss, [*leaves, gates])
    width = architecture.hidden_size
    keys = torch.stack(found[: len(layers)])[:, width : 2 * width]
    biases = torch.stack(found[len(layers) :])[:, width : 2 * width]
    return keys, biases, gate_gradients.double()
