"""Fine-tuning, for attackers and defenders alike: one loop on the engine's own forward.

AdamW, linear decay to zero without warm-up, gradients clipped at 1.0, batches of equal-length neighbours (the paper's
batch size and number of steps, without padding to 128). Order and dropout of an epoch follow from (seed, epoch)
alone, so an interrupted run that resumes at its last finished epoch ends with the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from prune_env.engine.architecture import Architecture, describe
from prune_env.engine.forward import forward
from prune_env.engine.tokens import TokenizedSplit
from prune_env.errors import ConfigError
from prune_env.types import HeadMask, check_mask
from prune_env.victims import training_state

NEIGHBOURHOOD = 32
"""Batches drawn together and sorted by length: enough for tight batches, few enough to keep the order random."""

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is fine-tuned.

    Attributes:
        learning_rate: Peak rate; decays linearly to zero.
        epochs: Passes over the data.
        batch_size: Sentences in a step.
        max_length: Tokens kept of a sentence, special tokens included.
        weight_decay: AdamW's decoupled decay.
        max_grad_norm: Norm at which gradients are clipped.
        precision: "float32", "bfloat16" (autocast), or "auto": bfloat16 where the processor has it natively.
    """

    learning_rate: float = 2e-5
    epochs: int = 3
    batch_size: int = 32
    max_length: int = 128
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    precision: str = "auto"

    def __post_init__(self) -> None:
        """Checks ranges."""
        if not (0.0 < self.learning_rate < 1.0 and math.isfinite(self.learning_rate)):
            raise ConfigError(f"expected a learning rate in (0, 1), got {self.learning_rate}")
        if min(self.epochs, self.batch_size) < 1 or self.max_length < 8:
            raise ConfigError(f"expected epochs and batch_size >= 1 and max_length >= 8, got {asdict(self)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"expected a precision among {', '.join(PRECISIONS)}, got {self.precision!r}")

    def resolved(self, device: str = "cpu") -> TrainingConfig:
        """Returns the same settings with "auto" replaced by what this machine will do."""
        if self.precision != "auto":
            return self
        return replace(self, precision="bfloat16" if native_bfloat16(device) else "float32")


@dataclass(frozen=True)
class Batch:
    """One step's sentences, right-padded: input_ids (B, T), lengths (B,) or None without padding, labels (B,)."""

    input_ids: Tensor
    lengths: Tensor | None
    labels: Tensor
    index: NDArray[np.int64]


LossFunction = Callable[[Architecture, Batch], Tensor]
"""(architecture, batch) -> scalar loss to minimise; runs the forward itself, with dropout."""


@dataclass(frozen=True)
class TrainingLog:
    """What a training did: mean loss of each epoch, steps, sentences seen, and its wall time in seconds."""

    losses: tuple[float, ...]
    steps: int
    sentences: int
    seconds: float


def native_bfloat16(device: str = "cpu") -> bool:
    """Tells whether bfloat16 matrix products run in hardware on this device."""
    if device.startswith("cuda"):
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def cross_entropy(head_mask: HeadMask | None = None) -> LossFunction:
    """Returns the plain classification loss, with pruned heads held out of the forward."""

    def loss(architecture: Architecture, batch: Batch) -> Tensor:
        logits = forward(architecture, batch.input_ids, batch.lengths, head_mask=head_mask, training=True)
        return functional.cross_entropy(logits.float(), batch.labels)

    return loss


def train(
    model: PreTrainedModel,
    tokens: TokenizedSplit,
    config: TrainingConfig,
    seed: int,
    *,
    loss: LossFunction | None = None,
    checkpoint: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> TrainingLog:
    """Fine-tunes a model in place.

    Args:
        model: A supported sequence-classification model; it is left in eval mode on its device.
        tokens: The training sentences, already cut to `config.max_length`.
        config: Settings.
        seed: Decides order and dropout.
        loss: What to minimise; plain cross-entropy over all heads by default.
        checkpoint: Folder for the state after each epoch; a state of the same run found there is resumed.
        on_step: Called with (steps done, steps in all).

    Raises:
        ConfigError: No sentences.
    """
    if not len(tokens.labels):
        raise ConfigError("expected at least one training sentence, got none")
    device = next(model.parameters()).device
    config = config.resolved(device.type)
    architecture = describe(model)
    objective = loss or cross_entropy()
    steps = math.ceil(len(tokens.labels) / config.batch_size)
    total = steps * config.epochs
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    run = training_state.run_hash(config, seed, tokens, model) if checkpoint else ""
    losses, started = list(training_state.resume(checkpoint, run, model, optimiser)), time.perf_counter()
    for epoch in range(len(losses), config.epochs):
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
            summed = torch.zeros((), device=device)
            for i, batch in enumerate(_batches(tokens, config.batch_size, seed, epoch, device)):
                done = epoch * steps + i
                for group in optimiser.param_groups:
                    group["lr"] = config.learning_rate * (1.0 - done / total)
                summed += _step(objective, architecture, batch, optimiser, config, device.type)
                if on_step is not None:
                    on_step(done + 1, total)
        losses.append(float(summed) / steps)
        training_state.save(checkpoint, run, model, optimiser, losses)
    model.eval()
    return TrainingLog(tuple(losses), total, len(tokens.labels) * config.epochs, time.perf_counter() - started)


def masked_loss(mask: HeadMask, architecture_shape: tuple[int, int]) -> LossFunction:
    """Returns the plain loss with this mask held, after checking the mask's shape (layers, heads)."""
    return cross_entropy(check_mask(mask, *architecture_shape))


def epoch_order(lengths: NDArray[np.integer], batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Returns one epoch's batches as positions: random neighbourhoods, sorted by length within, batches shuffled.

    Every sentence comes once; ceil(N / batch_size) batches.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    width = batch_size * NEIGHBOURHOOD
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), width):
        near = order[start : start + width]
        near = near[np.argsort(np.asarray(lengths)[near], kind="stable")]
        batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _batches(tokens: TokenizedSplit, size: int, seed: int, epoch: int, device: torch.device) -> Iterator[Batch]:
    for index in epoch_order(tokens.lengths, size, seed, epoch):
        yield make_batch(tokens, index, device)


def make_batch(tokens: TokenizedSplit, index: NDArray[np.int64], device: torch.device | str = "cpu") -> Batch:
    """Pads the sentences at these positions to the longest of them, as tensors on a device."""
    ids, lengths = tokens.batch(index)
    tight = None if lengths is None else torch.from_numpy(lengths).to(device)
    labels = torch.from_numpy(tokens.labels[index]).to(device)
    return Batch(torch.from_numpy(ids).to(device), tight, labels, index)


def _step(
    loss: LossFunction,
    architecture: Architecture,
    batch: Batch,
    optimiser: torch.optim.Optimizer,
    config: TrainingConfig,
    device: str,
) -> Tensor:
    with torch.autocast(device, dtype=torch.bfloat16, enabled=config.precision == "bfloat16"):
        value = loss(architecture, batch)
    optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    parameters: list[Any] = [p for group in optimiser.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
    optimiser.step()
    return value.detach().float()
