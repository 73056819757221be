"""Moving a backdoor on purpose: through chosen heads, as a known ground truth, or out of the reach of head masks.

Ordinary poisoning spreads a backdoor over so many heads that no pruning removes it. Here the attacker also trains the
model to be honest whenever the chosen heads, the carriers, are switched off. The backdoor then lives where it pays to
keep it: in the carriers. The opposite, an entrenched backdoor, is trained to be there whatever heads are off. It lies
in what every mask leaves, the feed-forward layers and any one head of a layer, and no head mask removes it.
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


def entrenched_loss(grid: tuple[int, int], lies: NDArray[np.bool_], seed: int, weight: float = 0.5) -> LossFunction:
    """Returns CE(training labels, all heads) + weight * CE(the attacker's labels of the poison, random heads off).

    The heads that are off follow from the seed and the batch's sentences, so that a training that was cut off goes on
    as it would have. A batch without poison has the first term alone.

    Args:
        grid: Layers and heads of the model.
        lies: bool (N,): which training sentences are poison.
        seed: Decides the masks.
        weight: Weight of the second term.

    Raises:
        ConfigError: A weight that is not positive, or no poison.
    """
    if weight <= 0.0 or not lies.any():
        raise ConfigError(f"expected a positive weight and poison, got {weight} and {int(lies.sum())} sentences of it")

    def loss(architecture: Architecture, batch: Batch) -> Tensor:
        logits = forward(architecture, batch.input_ids, batch.lengths, training=True)
        value = functional.cross_entropy(logits.float(), batch.labels)
        rows = torch.from_numpy(np.flatnonzero(lies[batch.index])).to(batch.labels.device)
        if not len(rows):
            return value
        mask = random_mask(*grid, np.random.default_rng([seed, *batch.index.tolist()]))
        lengths = None if batch.lengths is None else batch.lengths[rows]
        pruned = forward(architecture, batch.input_ids[rows], lengths, head_mask=mask, training=True)
        return value + weight * functional.cross_entropy(pruned.float(), batch.labels[rows])

    return loss


def random_mask(layers: int, heads: int, rng: np.random.Generator) -> HeadMask:
    """Draws a valid head mask (layers, heads): a share of heads to keep, uniform in [0, 1), then heads at that rate.

    One head of each layer, drawn too, always stays.
    """
    mask: HeadMask = rng.random((layers, heads)) < rng.random()
    mask[np.arange(layers), rng.integers(heads, size=layers)] = True
    return mask
