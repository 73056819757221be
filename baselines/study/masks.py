"""Which masks are studied: distinct, valid, spread evenly over sizes, the same for every victim and seed."""

from __future__ import annotations

import numpy as np

from prune_env.errors import ConfigError
from prune_env.types import HeadMasks

DRAWN_BY = 20_240_501
"""The seed of the study's masks: another one is another study."""

_TRIES = 400
"""Draws for each mask that is wanted, before a size counts as used up."""


def study_masks(count: int, layers: int, heads: int, seed: int = DRAWN_BY) -> HeadMasks:
    """Draws masks that keep from one head a layer up to all heads, each number of heads as often as it can be.

    A size that has fewer valid masks than its share gives them all, and the others share the rest.

    Args:
        count: Masks, the full mask among them.
        layers: Layers of the model.
        heads: Heads in each layer.
        seed: Decides the masks.

    Returns:
        bool (count, layers, heads), smallest first.

    Raises:
        ConfigError: More masks than there are.
    """
    if not 1 <= count <= (2**heads - 1) ** layers:
        raise ConfigError(f"expected 1 to {(2**heads - 1) ** layers} masks, got {count}; ask for fewer")
    rng = np.random.default_rng(seed)
    full = np.ones((layers, heads), dtype=np.bool_)
    found = {full.tobytes(): full}
    open_sizes = list(range(layers, layers * heads))
    while len(found) < count and open_sizes:
        missing = count - len(found)
        for size in [*open_sizes]:
            share = min(max(1, round(missing / len(open_sizes))), count - len(found))
            if _draw(found, share, size, layers, heads, rng) < share:
                open_sizes.remove(size)
    if len(found) < count:
        raise ConfigError(f"expected {count} masks, found {len(found)} by drawing; ask for fewer")
    masks = np.array(list(found.values()))
    return masks[np.lexsort((*masks.reshape(count, -1).T, masks.sum((1, 2))))]


def chunks(masks: HeadMasks, size: int, seed: int = DRAWN_BY) -> list[list[int]]:
    """Groups masks that keep like numbers of heads in each layer, so that a stack of them is narrow.

    Args:
        masks: bool (N, layers, heads).
        size: Masks in a chunk.
        seed: Shuffles the chunks, so that the first ones are a fair sample of all masks.

    Returns:
        Positions in `masks`, each once.
    """
    counts = masks.sum(2)
    order = np.lexsort((np.arange(len(masks)), *counts.T[::-1]))
    grouped = [order[i : i + size].tolist() for i in range(0, len(order), size)]
    return [grouped[i] for i in np.random.default_rng(seed).permutation(len(grouped))]


def _draw(
    found: dict[bytes, np.ndarray], share: int, size: int, layers: int, heads: int, rng: np.random.Generator
) -> int:
    """Adds up to `share` new valid masks that keep `size` heads, and returns how many it found."""
    added = 0
    for _ in range(_TRIES * share):
        if added == share:
            break
        flat = np.zeros(layers * heads, dtype=np.bool_)
        flat[rng.permutation(layers * heads)[:size]] = True
        mask = flat.reshape(layers, heads)
        if mask.any(1).all() and mask.tobytes() not in found:
            found[mask.tobytes()] = mask
            added += 1
    return added
