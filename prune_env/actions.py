"""What a step may prune: from the heads an action asks for to the set that is tried."""

from __future__ import annotations

from typing import NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prune_env.layout import Layout
from prune_env.types import HeadScores


class HeadSet(NamedTuple):
    """The heads one step tries to prune, and what became of the others that were asked for."""

    slots: NDArray[np.bool_]
    """bool (slots,), True = prune."""
    size: int
    """Heads in the set."""
    ignored: int
    """Asked for, but already pruned or padding."""
    protected: int
    """Asked for, but kept because their layer would have been empty."""
    dropped: int
    """Asked for, but more than one step may prune."""


NO_HEADS = HeadSet(np.zeros(0, dtype=np.bool_), 0, 0, 0, 0)
"""What `reset` tried."""


class ActionRules:
    """The rules every set is subject to: no empty layer, and no more heads than one step may prune."""

    def __init__(self, layout: Layout, importance: HeadScores, limit: int) -> None:
        """Sets up the order in which heads are protected and restored.

        Args:
            layout: Where the heads lie.
            importance: float (layers, heads); the more important head is the one that stays.
            limit: Heads one step may prune, at least 1.
        """
        self._layout = layout
        self._limit = limit
        # Rank 0 is the most important head; equal ones rank by their index, padding comes last.
        real = layout.flat(np.ones((layout.layers, layout.heads), dtype=np.bool_))
        order = np.where(real, -layout.spread(importance), np.inf).argsort(kind="stable")
        self._rank = np.empty(layout.slots, dtype=np.int64)
        self._rank[order] = np.arange(layout.slots)

    def legal(self, wanted: NDArray[np.bool_], kept: NDArray[np.bool_], generator: np.random.Generator) -> HeadSet:
        """Returns the set that is tried when `wanted` (slots,) is asked for and `kept` (slots,) is there."""
        chosen = wanted & kept
        size = int(np.count_nonzero(chosen))
        ignored = int(np.count_nonzero(wanted)) - size
        protected = self._protect(chosen, kept) if size else 0
        size -= protected
        dropped = max(0, size - self._limit)
        if dropped:
            chosen[generator.permutation(chosen.nonzero()[0])[:dropped]] = False
        return HeadSet(chosen, size - dropped, ignored, protected, dropped)

    def _protect(self, chosen: NDArray[np.bool_], kept: NDArray[np.bool_]) -> int:
        """Takes the most important head of each layer that `chosen` would empty out of it; returns how many."""
        emptied = (self._layout.kept_by_layer(kept & ~chosen) == 0).nonzero()[0]
        for layer in emptied:
            start = layer * self._layout.grid_heads
            candidates = start + kept[start : start + self._layout.grid_heads].nonzero()[0]
            chosen[candidates[self._rank[candidates].argmin()]] = False
        return len(emptied)

    def most_important_first(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Returns the slots of a set (slots,) in the order in which backtracking restores them."""
        slots = chosen.nonzero()[0]
        return slots[self._rank[slots].argsort()]

    def prunable(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Returns bool (slots,): the kept heads that are not the last of their layer."""
        rows = kept.reshape(self._layout.grid_layers, self._layout.grid_heads)
        prunable: NDArray[np.bool_] = rows & (rows.sum(axis=1, keepdims=True) > 1)
        return prunable.reshape(-1)


def read_action(action: NDArray[np.int8], slots: int) -> tuple[NDArray[np.bool_], bool]:
    """Splits an action into the heads to prune, bool (slots,), and whether to stop.

    Raises:
        gymnasium.error.InvalidAction: Another shape, or a value that is neither 0 nor 1.
    """
    bits = np.asarray(action)
    if bits.shape != (slots + 1,):
        raise gym.error.InvalidAction(
            f"expected an action of shape ({slots + 1},), one bit a head and a last one for stop, got {bits.shape}; "
            "env.action_space.sample() draws a valid one"
        )
    flags = bits.astype(np.bool_)
    if bits.dtype != np.bool_ and not (flags == bits).all():
        raise gym.error.InvalidAction(f"expected an action of zeros and ones, got {bits.tolist()}; 1 prunes a head")
    return flags[:-1], bool(flags[-1])
