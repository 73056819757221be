"""Where a model's heads lie in the flat arrays of observations and actions, with or without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import ConfigError
from prune_env.types import HeadMask, HeadMasks, full_mask


@dataclass(frozen=True)
class Layout:
    """A model's (layers, heads) in the upper left corner of a grid, flattened row by row into slots.

    Head h of layer l lies in slot l * grid_heads + h. Without padding the grid is the model and a slot is a head index.

    Attributes:
        layers: Layers of the model.
        heads: Heads in each layer.
        grid_layers: Layers of the grid, >= layers.
        grid_heads: Heads in each layer of the grid, >= heads.
    """

    layers: int
    heads: int
    grid_layers: int
    grid_heads: int

    @classmethod
    def of(cls, layers: int, heads: int, pad_to: tuple[int, int] | None = None) -> Layout:
        """Places a model in its own grid, or in a larger one.

        Raises:
            ConfigError: The grid is smaller than the model.
        """
        grid_layers, grid_heads = pad_to or (layers, heads)
        if grid_layers < layers or grid_heads < heads:
            raise ConfigError(
                f"expected pad_to to hold {layers} layers of {heads} heads, got {grid_layers} x {grid_heads}; "
                "give a grid at least as large as the model"
            )
        return cls(layers, heads, grid_layers, grid_heads)

    @cached_property
    def slots(self) -> int:
        """Slots in all, padding included."""
        return self.grid_layers * self.grid_heads

    @cached_property
    def size(self) -> int:
        """Heads of the model in all."""
        return self.layers * self.heads

    @cached_property
    def padded(self) -> bool:
        """Whether the grid is larger than the model."""
        return self.slots != self.size

    @cached_property
    def full(self) -> NDArray[np.bool_]:
        """The slots (slots,) of the mask that keeps every head: those that are not padding. Not to be written to."""
        return self.flat(full_mask(self.layers, self.heads))

    def masks(self, kept: NDArray[np.bool_]) -> HeadMasks:
        """Returns head masks (K, layers, heads) of the kept slots (slots,) or (K, slots); memory may be shared."""
        grids = kept.reshape(-1, self.grid_layers, self.grid_heads)
        return grids[:, : self.layers, : self.heads] if self.padded else grids

    def mask(self, kept: NDArray[np.bool_]) -> HeadMask:
        """Returns a fresh head mask (layers, heads) of the kept slots (slots,)."""
        grid = kept.reshape(self.grid_layers, self.grid_heads)
        return grid[: self.layers, : self.heads].copy() if self.padded else grid.copy()

    def flat(self, mask: HeadMask) -> NDArray[np.bool_]:
        """Returns the slots (slots,) of a head mask (layers, heads), padding False."""
        grid = np.zeros((self.grid_layers, self.grid_heads), dtype=np.bool_)
        grid[: self.layers, : self.heads] = mask
        return grid.reshape(-1)

    def head_indices(self, slots: Sequence[int]) -> list[int]:
        """Returns the head indices (layer * heads + head) of a model's slots, as a fresh list."""
        if not self.padded:
            return list(slots)
        return [slot // self.grid_heads * self.heads + slot % self.grid_heads for slot in slots]

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the slots (slots,) of one number a head (layers, heads), padding 0."""
        grid = np.zeros((self.grid_layers, self.grid_heads), dtype=np.float32)
        grid[: self.layers, : self.heads] = values
        return grid.reshape(-1)
