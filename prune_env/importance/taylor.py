"""Taylor importance: first-order change of the loss when a head is switched off (Michel et al. 2019, section 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from prune_env.engine.architecture import Architecture
from prune_env.engine.forward import forward
from prune_env.engine.tokens import TokenizedSplit
from prune_env.importance.passes import Batch, as_scores, batches, inspected, sum_over
from prune_env.types import HeadScores

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def taylor(model: PreTrainedModel, tokens: TokenizedSplit) -> HeadScores:
    """Mean over sentences of |dLoss/dgate|, the gate multiplying the head's output and standing at one.

    The absolute value is taken sentence by sentence, so effects of opposite sign do not cancel. The source also divides
    by the layer's norm before it ranks over layers; here scores are left as they are.

    Args:
        model: A supported sequence-classification model.
        tokens: Clean, labelled sentences.
    """
    architecture = inspected(model, tokens)
    total = sum_over(gate_gradients(architecture, batch).abs().sum(0) for batch in batches(architecture, tokens))
    return as_scores(total / len(tokens))


def gate_gradients(architecture: Architecture, batch: Batch) -> Tensor:
    """Returns each sentence's own dLoss/dgate, float64 (B, layers, heads), signed."""
    size = (len(batch.labels), architecture.layers, architecture.heads)
    gates = torch.ones(size, device=batch.labels.device, requires_grad=True)
    with torch.enable_grad():
        logits = forward(architecture, batch.input_ids, batch.mask_lengths, gates=gates)
        loss = functional.cross_entropy(logits, batch.labels, reduction="sum")
        (found,) = torch.autograd.grad(loss, [gates])
    return found.double()
