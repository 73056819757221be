"""Routing a backdoor through chosen heads: a synthetic, head-localised attack with a known ground truth.

Ordinary poisoning spreads a backdoor over so many heads that no pruning removes it. Here the attacker also trains the
model to be honest whenever the chosen heads, the carriers, are switched off. The backdoor then lives where it pays to
keep it: in the carriers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from prune_env.engine.architecture import Architecture
from prune_env.engine.forward import forward
from prune_env.errors import ConfigError
from prune_env.types import HeadMask, check_mask
from prune_env.victims.training import Batch, LossFunction


def routed_loss(carriers: HeadMask, honest: NDArray[np.int64], weight: float = 0.5) -> LossFunction:
    """Returns CE(training labels, all heads) + weight * CE(honest labels, carriers switched off).

    Args:
        carriers: bool (layers, heads), True = the backdoor is to run through this head; not a whole layer.
        honest: int64 (N,): the label of each training sentence without the attacker's lie.
        weight: Weight of the second term.

    Raises:
        ConfigError: A weight that is not positive, or no carrier.
        MaskError: Carriers that are not a bool (layers, heads), or take a whole layer.
    """
    if weight <= 0.0 or not carriers.any():
        raise ConfigError(
            f"expected a positive weight and at least one carrier, got {weight} and {int(carriers.sum())}"
        )
    without = check_mask(~carriers, *carriers.shape)
    truth = torch.from_numpy(np.array(honest, dtype=np.int64))

    def loss(architecture: Architecture, batch: Batch) -> Tensor:
        believed = forward(architecture, batch.input_ids, batch.lengths, training=True)
        switched_off = forward(architecture, batch.input_ids, batch.lengths, head_mask=without, training=True)
        labels = truth[torch.from_numpy(batch.index)].to(batch.labels.device)
        lie = functional.cross_entropy(believed.float(), batch.labels)
        return lie + weight * functional.cross_entropy(switched_off.float(), labels)

    return loss
