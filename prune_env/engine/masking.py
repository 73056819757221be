"""A head mask written into a model: the form in which a pruned model is exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prune_env.engine.architecture import describe
from prune_env.types import HeadMask, check_mask

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def apply_mask(model: PreTrainedModel, mask: HeadMask) -> None:
    """Switches heads off in place: zeroes their columns of each layer's attention output projection.

    The result is an ordinary checkpoint of the same shapes, and computes what the engine computes under the mask.

    Args:
        model: A supported sequence-classification model.
        mask: bool (layers, heads), True = kept.

    Raises:
        MaskError: An invalid mask.
        UnsupportedModelError: A model of no known architecture.
    """
    architecture = describe(model)
    rows = check_mask(mask, architecture.layers, architecture.heads)
    with torch.no_grad():
        for block, row in zip(architecture.blocks, rows, strict=True):
            columns = torch.from_numpy(~row.repeat(architecture.head_size)).to(block.output.weight.device)
            block.output.weight[:, columns] = 0.0


def mask_of(model: PreTrainedModel) -> HeadMask:
    """Reads which heads a model uses: bool (layers, heads), False where all output columns of a head are exactly zero.

    Raises:
        UnsupportedModelError: A model of no known architecture.
    """
    architecture = describe(model)
    used = torch.stack([block.output.weight.detach() != 0 for block in architecture.blocks])
    kept: HeadMask = used.any(1).view(architecture.layers, architecture.heads, -1).any(2).cpu().numpy()
    return kept
