"""Head importance from clean data: one file and one line below a metric.

To add a metric, write `(model, tokens) -> float32 (layers, heads)` in a file of its own and name it in `METRICS`; one
that draws random numbers also takes `seed`. Higher scores mean more important heads.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from prune_env.errors import UnknownNameError
from prune_env.types import HeadScores

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from prune_env.engine.tokens import TokenizedSplit

METRICS = {
    "gradient": "prune_env.importance.gradient:gradient",
    "attention_variance": "prune_env.importance.attention_variance:attention_variance",
    "uncertainty": "prune_env.importance.uncertainty:uncertainty",
    "taylor": "prune_env.importance.taylor:taylor",
    "confidence": "prune_env.importance.confidence:confidence",
    "as_released_gradient": "prune_env.importance.as_released:gradient",
    "as_released_attention_variance": "prune_env.importance.as_released:attention_variance",
    "as_released_uncertainty": "prune_env.importance.as_released:uncertainty",
}
"""Name -> "module:function", imported when first asked for."""


def load_metric(name: str) -> Callable[..., HeadScores]:
    """Returns the function of a registered metric.

    Raises:
        UnknownNameError: No metric of this name; the message offers the nearest.
    """
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    module, _, function = METRICS[name].partition(":")
    metric: Callable[..., HeadScores] = getattr(importlib.import_module(module), function)
    return metric


def score(name: str, model: PreTrainedModel, tokens: TokenizedSplit, seed: int = 0) -> HeadScores:
    """Scores every head of a model on clean data.

    Args:
        name: A key of `METRICS`.
        model: A supported sequence-classification model, on the device to use; neither its weights nor their gradients
            change, and its train or eval mode does not matter.
        tokens: Clean, labelled training sentences.
        seed: For metrics that draw random numbers.

    Returns:
        float32 (layers, heads), higher = more important.

    Raises:
        UnknownNameError: No metric of this name.
        UnsupportedModelError: A model of no known architecture.
        CheckpointError: Weights that are not finite.
        TokenizerError: Token ids or lengths that the model does not have.
        DataError: Labels that the model does not have.
    """
    metric = load_metric(name)
    seeded = "seed" in inspect.signature(metric).parameters
    return metric(model, tokens, seed=seed) if seeded else metric(model, tokens)
