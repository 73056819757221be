"""Fine-tuning many masks of one small model at once: `prune_env.victims.training.train`, for a stack of copies.

Every copy sees the batches that `train` gives a model with this seed, and is clipped and stepped by itself: without
dropout the weights are those of `train` up to rounding. Dropout is drawn from a pool (see `dropout_pool`), so with
dropout the two agree in distribution.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from prune_env.engine.tokens import TokenizedSplit
from prune_env.errors import ConfigError
from prune_env.seeds import derive
from prune_env.victims.dropout_pool import NO_DROPOUT, DropoutPool
from prune_env.victims.model_stack import ModelStack
from prune_env.victims.training import epoch_order, make_batch
from prune_env.victims.training_config import TrainingConfig

EVALUATION_BATCH = 64
"""Sentences that a stack is asked about together."""

_NO_DIVISION_BY_ZERO = 1e-6
"""As torch.nn.utils.clip_grad_norm_ has it."""


@dataclass(frozen=True)
class StackLog:
    """What a training did: each copy's mean loss of each epoch (K, epochs), steps, and its time in seconds."""

    losses: NDArray[np.float64]
    steps: int
    seconds: float
    cpu_seconds: float


def train_stack(
    stack: ModelStack,
    tokens: TokenizedSplit,
    config: TrainingConfig,
    seed: int,
    *,
    stream: str = "",
    dropout: bool = True,
    on_step: Callable[[int, int], None] | None = None,
) -> StackLog:
    """Fine-tunes every copy of a stack in place, its mask held, by plain cross-entropy in float32.

    Args:
        stack: The copies.
        tokens: The training sentences.
        config: Settings; the precision is float32.
        seed: Decides the order of the sentences, as in `train`, and dropout.
        stream: Names a dropout of the stack's own, so that stacks with the same seed draw different ones.
        dropout: Whether to drop as the architecture does.
        on_step: Called with (steps done, steps in all).

    Raises:
        ConfigError: Another precision, a negative seed, or a loss that is no longer finite.
        TokenizerError: Token ids or lengths that the model does not have.
        DataError: Labels that the model does not have.
    """
    if seed < 0 or config.resolved().precision != "float32":
        raise ConfigError(f"expected a seed >= 0 and float32, got {seed} and {config.precision}; stacks know no other")
    architecture = stack.architecture
    tokens.check_fit(architecture.vocabulary, architecture.positions, architecture.labels)
    steps = math.ceil(len(tokens) / config.batch_size)
    total = steps * config.epochs
    stack.flat.grad = stack.gradient
    optimiser = torch.optim.AdamW([stack.flat], lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    started, used = time.perf_counter(), time.process_time()
    losses: list[torch.Tensor] = []
    for epoch in range(config.epochs):
        drop = DropoutPool(np.random.default_rng([seed, epoch, derive(0, stream)])) if dropout else NO_DROPOUT
        summed = torch.zeros(len(stack))
        for i, index in enumerate(epoch_order(tokens.lengths, config.batch_size, seed, epoch)):
            done = epoch * steps + i
            rate = config.learning_rate * (1.0 - done / total)
            optimiser.param_groups[0]["lr"] = rate
            batch = make_batch(tokens, index)
            value = _losses(stack.logits(batch.input_ids, batch.lengths, drop), batch.labels)
            stack.differentiate(value.sum())
            _clip(stack.gradient, config.max_grad_norm)
            optimiser.step()
            stack.decay *= 1.0 - rate * config.weight_decay
            summed += value.detach()
            if on_step is not None:
                on_step(done + 1, total)
        losses.append(summed / steps)
        if not bool(losses[-1].isfinite().all()):
            raise ConfigError(f"a loss is no longer finite after epoch {epoch + 1}; lower the learning rate")
    seconds = (time.perf_counter() - started, time.process_time() - used)
    return StackLog(torch.stack(losses, dim=1).double().numpy(), total, *seconds)


def stack_logits(stack: ModelStack, tokens: TokenizedSplit) -> NDArray[np.float32]:
    """Returns every copy's logits on a split, (K, N, labels), in the split's order."""
    found = np.empty((len(stack), len(tokens), stack.architecture.labels), dtype=np.float32)
    with torch.inference_mode():
        for index in _unpadded(tokens):
            batch = make_batch(tokens, index)
            found[:, index] = stack.logits(batch.input_ids, batch.lengths).numpy()
    return found


def _unpadded(tokens: TokenizedSplit) -> Iterator[NDArray[np.int64]]:
    """Yields batches of sentences of one length."""
    lengths = tokens.lengths
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        yield from (same[i : i + EVALUATION_BATCH] for i in range(0, len(same), EVALUATION_BATCH))


def _losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns each copy's mean cross-entropy (K,) from logits (K, B, labels)."""
    chosen = logits.log_softmax(-1).gather(2, labels.expand(len(logits), -1)[:, :, None])
    return -chosen.mean((1, 2))


def _clip(gradient: torch.Tensor, norm: float) -> None:
    """Scales each copy's gradient, a row of (K, P), to at most this norm."""
    found = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    gradient.mul_((norm / (found + _NO_DIVISION_BY_ZERO)).clamp_(max=1.0))
