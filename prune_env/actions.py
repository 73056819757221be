"""What a step may prune: from the heads an action asks for to the set that is tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prune_env.layout import Layout
from prune_env.types import HeadScores


class HeadSet(NamedTuple):
    """The heads one step tries to prune, and what became of the others that were asked for."""

    slots: Sequence[int]
    """The heads to prune, by rising slot."""
    ignored: int
    """Asked for, but already pruned or padding."""
    protected: int
    """Asked for, but kept because their layer would have been empty."""
    dropped: int
    """Asked for, but more than one step may prune."""


NO_HEADS = HeadSet((), 0, 0, 0)
"""What `reset` tried."""


class ActionRules:
    """The rules every set is subject to: no empty layer, and no more heads than one step may prune.

    Attributes:
        limit: Heads one step may prune.
        rank: int64 (slots,), 0 = the most important head, which stays first and is restored first; padding comes last.
    """

    def __init__(self, layout: Layout, importance: HeadScores, limit: int) -> None:
        """Sets up the order in which heads are protected and restored.

        Args:
            layout: Where the heads lie.
            importance: float (layers, heads); the more important head is the one that stays.
            limit: Heads one step may prune, at least 1.
        """
        self.limit = limit
        self._layout = layout
        self._grid_heads = layout.grid_heads
        # Equal heads rank by their index.
        order = np.where(layout.full, -layout.spread(importance), np.inf).argsort(kind="stable")
        self.rank = np.empty(layout.slots, dtype=np.int64)
        self.rank[order] = np.arange(layout.slots)
        self._rank_of = self.rank.tolist()

    def legal(self, wanted: list[int], kept: NDArray[np.bool_], generator: np.random.Generator) -> HeadSet:
        """Returns the set that is tried when these slots, rising, are asked for and `kept` (slots,) is there."""
        there = kept.tobytes()
        chosen = [slot for slot in wanted if there[slot]]
        ignored = len(wanted) - len(chosen)
        stay = self._protected(chosen, there)
        if stay:
            chosen = [slot for slot in chosen if slot not in stay]
        dropped = len(chosen) - self.limit
        if dropped <= 0:
            return HeadSet(chosen, ignored, len(stay), 0)
        return HeadSet(surviving(chosen, dropped, generator), ignored, len(stay), dropped)

    def _protected(self, chosen: list[int], there: bytes) -> list[int]:
        """Returns the most important head of each layer that `chosen` would empty; `there` holds 1 for a kept head."""
        stay, width, first, size = [], self._grid_heads, 0, len(chosen)
        while first < size:
            start = chosen[first] // width * width
            end, last = start + width, first + 1
            while last < size and chosen[last] < end:
                last += 1
            if there.count(1, start, end) == last - first:
                stay.append(min(chosen[first:last], key=self._rank_of.__getitem__))
            first = last
        return stay

    def most_important_first(self, chosen: Sequence[int]) -> list[int]:
        """Returns the slots of a set in the order in which backtracking restores them."""
        return sorted(chosen, key=self._rank_of.__getitem__)

    def prunable(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Returns bool (..., slots): the kept heads of (..., slots) that are not the last of their layer."""
        rows = kept.reshape(*kept.shape[:-1], self._layout.grid_layers, self._grid_heads)
        prunable: NDArray[np.bool_] = rows & (rows.sum(axis=-1, keepdims=True) > 1)
        return prunable.reshape(kept.shape)


def surviving(chosen: Sequence[int], dropped: int, generator: np.random.Generator) -> list[int]:
    """Returns what is left of a set, in its order, when the generator drops this many of its heads."""
    gone = set(generator.permutation(np.array(chosen, dtype=np.int64))[:dropped].tolist())
    return [slot for slot in chosen if slot not in gone]


def read_action(action: NDArray[np.int8], slots: int) -> tuple[list[int], bool]:
    """Splits an action into the slots to prune, rising, and whether to stop.

    Raises:
        gymnasium.error.InvalidAction: Another shape, or a value that is neither 0 nor 1.
    """
    bits = read_bits(action, (slots + 1,))
    wanted: list[int] = bits.nonzero()[0].tolist()
    stop = bool(wanted) and wanted[-1] == slots
    return wanted[:-1] if stop else wanted, stop


def read_bits(action: NDArray[np.int8], shape: tuple[int, ...]) -> NDArray[Any]:
    """Returns an action, or a batch of them, as an array that holds nothing but zeros and ones.

    Args:
        action: What should be bits of that shape, in any dtype.
        shape: (slots + 1,), or (K, slots + 1) for K of them.

    Raises:
        gymnasium.error.InvalidAction: Another shape, or a value that is neither 0 nor 1.
    """
    bits = np.asarray(action)
    if bits.shape != shape:
        raise gym.error.InvalidAction(
            f"expected an action of shape {shape}, one bit a head and a last one for stop, got {bits.shape}; "
            "env.action_space.sample() draws a valid one"
        )
    if bits.dtype.char == "b":  # int8, what the action space draws: as bytes it is checked fastest
        valid = not bits.tobytes().translate(None, b"\0\1")
    else:
        valid = bool((bits.astype(np.bool_) == bits).all())
    if not valid:
        raise gym.error.InvalidAction(f"expected an action of zeros and ones, got {bits.tolist()}; 1 prunes a head")
    return bits
