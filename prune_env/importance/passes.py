"""What all metrics share: one pass over the data in length-bucketed batches, and statistics of attention maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from prune_env.engine.architecture import Architecture, describe
from prune_env.engine.batching import plan
from prune_env.engine.snapshot import check_finite
from prune_env.engine.tokens import TokenizedSplit
from prune_env.types import HeadScores

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_TOKENS = 2048

Statistic: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(probabilities (B, heads, rows, T), lengths (B,)) -> one number a sentence and head, float64 (B, heads)."""


@dataclass(frozen=True)
class Batch:
    """Right-padded sentences on the model's device.

    Attributes:
        input_ids: (B, T).
        lengths: (B,).
        labels: (B,).
        mask_lengths: `lengths`, or None where nothing is padded: what `forward` wants.
    """

    input_ids: Tensor
    lengths: Tensor
    labels: Tensor
    mask_lengths: Tensor | None


def inspected(model: PreTrainedModel, tokens: TokenizedSplit) -> Architecture:
    """Describes a model after checking that it is finite and can read the data.

    Raises:
        CheckpointError, UnsupportedModelError, TokenizerError, DataError: As `importance.score` says.
    """
    architecture = describe(model)
    check_finite(model)
    tokens.check_fit(architecture.vocabulary, architecture.positions, architecture.labels)
    return architecture


def batches(architecture: Architecture, tokens: TokenizedSplit, slack: int = 0) -> Iterator[Batch]:
    """Yields the data once, in batches of like length.

    Args:
        architecture: The model; batches go to its device.
        tokens: The data.
        slack: Padded places allowed per sentence.
    """
    device = architecture.embedding.word.weight.device
    for index in plan(tokens.lengths, BATCH_TOKENS, slack):
        ids, padded = tokens.batch(index)
        lengths = torch.from_numpy(tokens.lengths[index]).to(device)
        yield Batch(
            input_ids=torch.from_numpy(ids).to(device),
            lengths=lengths,
            labels=torch.from_numpy(tokens.labels[index]).to(device),
            mask_lengths=None if padded is None else lengths,
        )


def sum_over(terms: Iterator[Tensor]) -> Tensor:
    """Adds tensors of one shape in float64, so that order and division into batches matter only to rounding."""
    total = next(terms).double()
    for term in terms:
        total = total + term.double()
    return total


def as_scores(values: Tensor) -> HeadScores:
    """Returns float64 (layers, heads) on any device as the float32 array that metrics return."""
    return values.cpu().numpy().astype(np.float32)


def real_tokens(probabilities: Tensor, lengths: Tensor) -> Tensor:
    """Returns bool (B, T): which columns of a map are tokens of the sentence, not padding."""
    return torch.arange(probabilities.shape[-1], device=lengths.device) < lengths[:, None]
