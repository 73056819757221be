"""Array types and the head mask: its shape, its validity, its text form."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import MaskError

HeadMask: TypeAlias = NDArray[np.bool_]
"""(layers, heads), True = kept; head index = layer * heads + head."""

HeadMasks: TypeAlias = NDArray[np.bool_]
"""(K, layers, heads), K masks."""

HeadScores: TypeAlias = NDArray[np.float32]
"""(layers, heads), one importance value a head; higher = more important."""


def full_mask(layers: int, heads: int) -> HeadMask:
    """Returns the mask that keeps every head, (layers, heads)."""
    return np.ones((layers, heads), dtype=np.bool_)


def check_mask(mask: HeadMask, layers: int, heads: int) -> HeadMask:
    """Returns `mask` if it is a valid head mask of this model.

    Args:
        mask: What should be a bool array (layers, heads) with at least one kept head in each layer.
        layers: Layers of the model.
        heads: Heads in each layer.

    Raises:
        MaskError: Another dtype or shape, or a layer without a kept head.
    """
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != (layers, heads):
        raise MaskError(
            f"expected a bool head mask of shape ({layers}, {heads}), got {array.dtype} of shape {array.shape}; "
            "True keeps a head"
        )
    empty = np.flatnonzero(~array.any(axis=1))
    if empty.size:
        raise MaskError(f"the mask removes every head of layer {int(empty[0])}; keep at least one head in each layer")
    return array


def check_masks(masks: HeadMasks, layers: int, heads: int) -> HeadMasks:
    """Returns `masks` if each of the K masks is valid; raises `MaskError` as `check_mask` does."""
    array = np.asarray(masks)
    if array.ndim != 3:
        raise MaskError(f"expected masks of shape (K, {layers}, {heads}), got shape {array.shape}")
    for mask in array:
        check_mask(mask, layers, heads)
    return array


def mask_to_text(mask: HeadMask) -> str:
    """Writes a mask as one group of 1 (kept) and 0 (pruned) a layer: "1101/1111"."""
    return "/".join("".join("1" if kept else "0" for kept in row) for row in mask)


def mask_from_text(text: str) -> HeadMask:
    """Reads what `mask_to_text` wrote.

    Raises:
        MaskError: Another character, or layers of unequal length.
    """
    rows = text.split("/")
    if not text or set(text) - set("01/") or len({len(row) for row in rows}) != 1:
        raise MaskError(f"expected a mask such as '1101/1111', got {text!r}")
    return np.array([[character == "1" for character in row] for row in rows], dtype=np.bool_)
