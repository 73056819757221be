"""Masks and steps between them that every layer survives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prune_env.types import HeadMask, HeadMasks


def removable(mask: HeadMask) -> NDArray[np.int64]:
    """Returns the flat indices of kept heads that are not the last of their layer, rising."""
    rows = mask & (mask.sum(axis=1, keepdims=True) > 1)
    return np.flatnonzero(rows)


def without(mask: HeadMask, order: NDArray[np.int64], count: int) -> HeadMask:
    """Returns a copy that lost the first `count` heads of `order` whose layer keeps another; fewer if there are none.

    Args:
        mask: bool (layers, heads).
        order: Flat head indices.
        count: Heads to remove.
    """
    after, heads = mask.copy(), mask.shape[1]
    for head in order.tolist():
        if count == 0:
            break
        layer = after[head // heads]
        if layer[head % heads] and np.count_nonzero(layer) > 1:
            layer[head % heads] = False
            count -= 1
    return after


def neighbours(mask: HeadMask) -> HeadMasks:
    """Returns the masks with one head less, (K, layers, heads), by rising head index."""
    heads = removable(mask)
    masks = np.repeat(mask[None], len(heads), axis=0)
    masks.reshape(len(heads), mask.size)[np.arange(len(heads)), heads] = False
    return masks


def flipped(mask: HeadMask, rng: np.random.Generator) -> HeadMask:
    """Returns a mask with one head flipped, or with a pruned and a kept one exchanged, with equal chances."""
    after = mask.copy()
    flat, size = after.reshape(-1), mask.size
    pruned = np.flatnonzero(~flat)
    if len(pruned) and rng.random() < 0.5:
        flat[rng.choice(pruned)] = True
        return without(after, rng.permutation(np.flatnonzero(mask)), 1)
    head = int(rng.integers(size))
    if flat[head]:
        return without(after, np.array([head]), 1)
    flat[head] = True
    return after
