"""The valid masks of a small model as a lattice: what can be reached by removing heads, all masks at once.

A set of masks is a bool array in a table's order (see `prune_env.engine.table`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from prune_env.engine.table import all_masks, table_size
from prune_env.types import HeadMask, HeadMasks

Places = NDArray[np.bool_]
"""A set of masks, bool (table_size(layers, heads),)."""


class Lattice:
    """The valid masks of a model.

    Attributes:
        layers: Layers of the model.
        heads: Heads in each layer.
        masks: bool (N, layers, heads), every valid mask in the table's order.
        pruned: int64 (N,), heads that each mask lacks.
    """

    def __init__(self, layers: int, heads: int) -> None:
        """Lists the masks.

        Raises:
            ConfigError: More valid masks than a table may hold.
        """
        self.layers, self.heads = layers, heads
        self.masks: HeadMasks = np.concatenate(list(all_masks(layers, heads)))
        self.pruned: NDArray[np.int64] = layers * heads - self.masks.sum(axis=(1, 2))
        self._base = 2**heads - 1
        self._size = table_size(layers, heads)

    def place(self, mask: HeadMask) -> int:
        """Returns the place of a valid mask (layers, heads) in the table."""
        place = 0
        for digit in mask @ (2 ** np.arange(self.heads)) - 1:
            place = place * self._base + int(digit)
        return place

    def below(self, masks: Places, heads: int) -> Places:
        """Returns what comes of a set of masks by removing at most so many heads from one of them."""
        found = masks
        for _ in range(min(heads, self.layers * (self.heads - 1))):
            more = found.copy()
            for axis, full, less in self._removals():
                _along(more, axis, self._base)[:, less] |= _along(found, axis, self._base)[:, full]
            if np.count_nonzero(more) == np.count_nonzero(found):
                break
            found = more
        return found

    def _removals(self) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """Yields, for each head, the masks below a layer's in a table, and the digits with it and without it."""
        digits = np.arange(1, self._base + 1)
        for layer in range(self.layers):
            for head in range(self.heads):
                with_it = digits[(digits & (1 << head) > 0) & (digits != 1 << head)]
                yield self._base ** (self.layers - 1 - layer), with_it - 1, (with_it ^ (1 << head)) - 1

    def depths(self, allowed: Places, start: int, heads: int, steps: int) -> NDArray[np.int16]:
        """Returns the fewest steps in which each mask can be reached from one, int16 (N,), -1 where it cannot.

        Args:
            allowed: Masks that may be stepped on.
            start: Place of the first mask, which need not be among them.
            heads: Heads that a step may remove.
            steps: Steps that may be taken.
        """
        depths = np.full(self._size, -1, dtype=np.int16)
        depths[start] = 0
        frontier = depths == 0
        for step in range(1, min(steps, self.layers * self.heads) + 1):
            frontier = self.below(frontier, heads) & allowed & (depths < 0)
            if not frontier.any():
                break
            depths[frontier] = step
        return depths

    def path(self, depths: NDArray[np.int16], target: int, heads: int) -> list[int]:
        """Returns the places on a shortest way to a reachable mask, the start first.

        Args:
            depths: What `depths` returned.
            target: Place of the last mask.
            heads: Heads that a step may remove.
        """
        places = [target]
        for depth in range(int(depths[target]) - 1, -1, -1):
            before = np.flatnonzero(depths == depth)
            there, then = self.masks[before], self.masks[places[-1]]
            within = (there >= then).all(axis=(1, 2)) & (self.pruned[places[-1]] - self.pruned[before] <= heads)
            places.append(int(before[within.argmax()]))
        return places[::-1]


def _along(masks: Places, stride: int, base: int) -> Places:
    """Returns a view (..., base, stride) of a set, whose middle axis is the digit of one layer."""
    return masks.reshape(-1, base, stride)
