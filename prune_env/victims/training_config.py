"""How a model is fine-tuned: settings only, so that the command line knows the defaults without loading torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from prune_env.errors import ConfigError

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
        if not 0.0 < self.learning_rate < 1.0:
            raise ConfigError(f"expected a learning rate in (0, 1), got {self.learning_rate}")
        counts = (self.epochs, self.batch_size, self.max_length)
        if not all(type(count) is int for count in counts) or min(counts) < 1 or self.max_length < 8:
            raise ConfigError(f"expected whole epochs and batch_size >= 1 and max_length >= 8, got {asdict(self)}")
        if not (0.0 <= self.weight_decay < math.inf and self.max_grad_norm > 0.0):
            raise ConfigError(f"expected weight_decay >= 0 and max_grad_norm > 0, got {asdict(self)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"expected a precision among {', '.join(PRECISIONS)}, got {self.precision!r}")

    def resolved(self, device: str = "cpu") -> TrainingConfig:
        """Returns the same settings with "auto" replaced by what this machine will do."""
        if self.precision != "auto":
            return self
        return replace(self, precision="bfloat16" if native_bfloat16(device) else "float32")


def native_bfloat16(device: str = "cpu") -> bool:
    """Tells whether bfloat16 matrix products run in hardware on this device."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
