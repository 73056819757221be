"""A copy of a model on a device, checked: what an evaluator computes with, whatever happens to the model later."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from prune_env.engine.architecture import Architecture, describe
from prune_env.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def snapshot(model: PreTrainedModel, device: torch.device, dtype: torch.dtype) -> Architecture:
    """Describes a copy of the model on the device: the classifier in float32, all else in `dtype`.

    Raises:
        CheckpointError: Weights that are not finite.
        UnsupportedModelError: A model of no known architecture.
    """
    check_finite(model)
    architecture = describe(copy.deepcopy(model).requires_grad_(False))
    embedding, classifier = architecture.embedding, architecture.classifier
    for block in architecture.blocks:
        for module in vars(block).values():
            module.to(device, dtype)
    for part in (embedding.word, embedding.position, embedding.token_type, embedding.norm):
        if part is not None:
            part.to(device, dtype)
    classifier.dense.to(device, torch.float32)
    classifier.output.to(device, torch.float32)
    return architecture


def check_finite(model: PreTrainedModel) -> None:
    """Checks that every weight is a finite number.

    Raises:
        CheckpointError: NaN or infinite weights; names the first tensor that has them.
    """
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise CheckpointError(
                f"expected finite weights, but {name} has NaN or infinite values; train or load it anew"
            )
