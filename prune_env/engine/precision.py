"""How far bfloat16 is from float32, measured on the model and split at hand, to be kept beside results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prune_env.engine.tokens import TokenizedSplit
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.types import HeadMasks, full_mask

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Deviation:
    """What bfloat16 changes against float32, over all masks and sentences measured.

    Attributes:
        flipped: Share of (mask, sentence) pairs whose correctness differs, in [0, 1].
        accuracy: Largest difference of a mask's accuracy, in [0, 1].
        logits: Largest absolute difference of a logit.
        masks: Masks measured.
        sentences: Sentences measured.
    """

    flipped: float
    accuracy: float
    logits: float
    masks: int
    sentences: int


def deviation(
    model: PreTrainedModel, tokens: TokenizedSplit, masks: HeadMasks | None = None, device: str = "cpu"
) -> Deviation:
    """Measures bfloat16 against float32 on one device.

    Args:
        model: A supported sequence-classification model; not changed.
        tokens: The split.
        masks: bool (K, layers, heads), K >= 1; the full mask by default.
        device: "cpu", "cuda" or "cuda:N".

    Raises:
        MaskError: An invalid mask.

    Raises as `TransformerEvaluator` does, too.
    """
    exact = TransformerEvaluator(model, tokens, device=device, prefix_bytes=0)
    rounded = TransformerEvaluator(model, tokens, device=device, dtype="bfloat16", prefix_bytes=0)
    chosen = full_mask(exact.layers, exact.heads)[None] if masks is None else masks
    logits = np.stack([[one.logits(mask) for mask in chosen] for one in (exact, rounded)])
    correct = logits.argmax(axis=3) == tokens.labels
    accuracy = correct.mean(axis=2)
    return Deviation(
        flipped=float(np.mean(correct[0] != correct[1])),
        accuracy=float(np.abs(accuracy[0] - accuracy[1]).max()),
        logits=float(np.abs(logits[0] - logits[1]).max()),
        masks=len(chosen),
        sentences=len(tokens),
    )
