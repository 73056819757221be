"""What the machine could do at most, and how much of it an evaluation needs.

The ceiling is the fastest of several square matrix products with the same device, dtype and threads, measured in the
same run. Useful
work is what the logits of the UNPRUNED model need on unpadded sentences: a contestant that pads or computes rows
nobody reads does more for the same useful work, one that skips pruned heads does less.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch.nn import functional

from prune_env.engine.architecture import describe
from prune_env.engine.device import resolve_device, resolve_dtype
from prune_env.engine.tokens import TokenizedSplit
from prune_env.speed.subject import Subject

FORMULA = (
    "per sentence of T tokens, hidden width h, feed-forward width f, 2 FLOP a multiply-add: every layer but the last "
    "8Th^2 + 4T^2h + 4Thf; the last one, of which the classifier reads one row, 4Th^2 + 4h^2 + 4Th + 4hf; classifier "
    "2h^2 + 2h * labels; embeddings, norms and activations count nothing"
)

REPETITIONS = 8

SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
"""Rows and columns of the products; processors differ in which size they multiply fastest."""


@dataclass(frozen=True)
class Ceiling:
    """The best of several square products.

    Attributes:
        flops: FLOP a second.
        size: Rows and columns of each matrix.
    """

    flops: float
    size: int


def measure_ceiling(dtype: str, device: str, quick: bool = False) -> Ceiling:
    """Multiplies square matrices of each size a few times, as a product and as a linear layer, and takes the fastest.

    Raises:
        DeviceError: A device or dtype that is not there.
    """
    where, kind = resolve_device(device), resolve_dtype(dtype)
    found = [_square(size, where, kind) for size in ((256,) if quick else SIZES[where.type])]
    return max(found, key=lambda one: one.flops)


def _square(size: int, device: torch.device, dtype: torch.dtype) -> Ceiling:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(size, size, generator=generator).to(device, dtype) for _ in range(2))
    best = float("inf")
    for number in range(2 * REPETITIONS):
        product = functional.linear if number % 2 else torch.mm
        synchronise(device)
        started = time.perf_counter()
        product(first, second)
        synchronise(device)
        best = min(best, time.perf_counter() - started)
    return Ceiling(2.0 * size**3 / best, size)


def useful_flop(subject: Subject, tokens: TokenizedSplit | None = None) -> float:
    """Returns the FLOP of one evaluation of the unpruned model on all sentences, as `FORMULA` says."""
    architecture = describe(subject.model)
    hidden, inner = architecture.hidden_size, architecture.blocks[0].ffn_in.out_features
    total = 0.0
    for length in (subject.tokens if tokens is None else tokens).lengths.astype(float):
        full = 8 * length * hidden**2 + 4 * length**2 * hidden + 4 * length * hidden * inner
        last = 4 * length * hidden**2 + 4 * hidden**2 + 4 * length * hidden + 4 * hidden * inner
        total += (architecture.layers - 1) * full + last + 2 * hidden**2 + 2 * hidden * architecture.labels
    return total


def synchronise(device: torch.device) -> None:
    """Waits until a GPU has done what it was given; a processor is never behind."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
