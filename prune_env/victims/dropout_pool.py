"""Cheap dropout for stacks of models: windows of one pool of factors, drawn anew for every epoch.

Drawing a random number for each value costs a small model as much as a matrix product. Here a million factors (0, or
1 / (1 - rate)) are drawn at once, and every dropout multiplies by a window of them that begins at a random place. A
value is dropped with exactly the rate, independently of its neighbours; two windows may share factors, each at
another place of another tensor. `prune-env study --check N` measures whether results agree with plain dropout's.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

POOL = 2**20
"""Factors in a pool: 4 MB, which a processor's cache holds."""

_ROOM = 4
"""A pool is at least so many times as long as a window, so that windows differ."""


class Drop(Protocol):
    """Drops values at a rate."""

    def __call__(self, values: Tensor, rate: float) -> Tensor:
        """Returns values of the same shape, each of them 0, or divided by 1 - rate."""


class _Nothing:
    def __call__(self, values: Tensor, rate: float) -> Tensor:
        return values


NO_DROPOUT: Drop = _Nothing()


class DropoutPool:
    """Dropout of one epoch."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Takes the epoch's generator, which decides everything.

        Args:
            rng: Draws factors and windows.
        """
        self._rng = rng
        self._generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self._factors: dict[float, Tensor] = {}

    def __call__(self, values: Tensor, rate: float) -> Tensor:
        """Multiplies by a window of the pool of this rate."""
        if not rate:
            return values
        count = values.numel()
        pool = self._factors.get(rate)
        if pool is None or len(pool) < _ROOM * count:
            drawn = torch.rand(max(POOL, _ROOM * count), generator=self._generator)
            pool = self._factors[rate] = (drawn >= rate).float() / (1.0 - rate)
        start = int(self._rng.integers(len(pool) - count + 1))
        return values * pool[start : start + count].view(values.shape)
