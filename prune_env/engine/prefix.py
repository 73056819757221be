"""Hidden states at the nodes of a trie over layer masks: a mask restarts from the deepest node it shares.

What enters layer l depends on the masks of the layers before l and on nothing else. A mask is written as bytes, the
same number for each layer, so that a node of the trie is the beginning of such a text, and masks in the order of their
texts are visited depth first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from prune_env.types import HeadMasks

MEBIBYTE = 2**20
DEFAULT_BYTES = {"cpu": 512 * MEBIBYTE, "cuda": 4096 * MEBIBYTE}
"""Memory for stored states unless told otherwise, by kind of device."""


def mask_keys(masks: HeadMasks) -> list[bytes]:
    """Returns each mask's text: ceil(heads / 8) bytes a layer, first layer first.

    Args:
        masks: bool (K, layers, heads).
    """
    return [row.tobytes() for row in np.packbits(masks, axis=2)]


class PrefixStore:
    """States (one tensor a batch) by the masks of the layers that made them, within a budget of bytes.

    The least recently used node goes first. Depths are thinned out evenly where the budget holds fewer than two whole
    paths: what is kept are then every second layer's states, every third's and so on.
    """

    def __init__(self, layers: int, budget: int, node_bytes: int) -> None:
        """Starts empty.

        Args:
            layers: Layers of the model; a node of depth d is what enters layer d, 0 <= d < layers.
            budget: Bytes that stored states may take in all.
            node_bytes: Bytes of one node.
        """
        self._budget = budget
        self._node_bytes = node_bytes
        self._depths = _depths(layers, budget // max(2 * node_bytes, 1))
        self._layers = layers
        self._nodes: OrderedDict[bytes, tuple[Tensor, ...]] = OrderedDict()
        self._peak = 0

    @property
    def depths(self) -> tuple[int, ...]:
        """Layers whose input is stored, rising; empty if the budget holds none."""
        return self._depths

    @property
    def stored_bytes(self) -> int:
        """Memory that stored states take now."""
        return len(self._nodes) * self._node_bytes

    @property
    def peak_bytes(self) -> int:
        """The most memory that they took."""
        return self._peak

    def touch(self, key: bytes) -> int | None:
        """Marks the stored nodes on a mask's path as just used, and returns the depth of the deepest, or None."""
        deepest = None
        for depth in self._depths:
            prefix = self._prefix(key, depth)
            if prefix in self._nodes:
                self._nodes.move_to_end(prefix)
                deepest = depth
        return deepest

    def get(self, key: bytes, depth: int) -> tuple[Tensor, ...] | None:
        """Returns what enters layer `depth` under a mask, one tensor a batch, or None if it is not stored."""
        return self._nodes.get(self._prefix(key, depth))

    def missing(self, keys: Sequence[bytes], start: int) -> dict[bytes, tuple[int, int]]:
        """Returns the nodes that computing these masks from layer `start` on will make, and makes room for them.

        Room is made before anything is computed, so that states under way and stored ones together keep the budget;
        the nodes of depth `start` that these masks restart from stay.

        Returns:
            (place of the first mask in `keys` that passes the node, depth) of each node, by its prefix.
        """
        in_use = {prefix for prefix in (self._prefix(key, start) for key in keys) if prefix in self._nodes}
        for prefix in in_use:
            self._nodes.move_to_end(prefix)
        room = self._budget // self._node_bytes - len(in_use)
        wanted: dict[bytes, tuple[int, int]] = {}
        for place, key in enumerate(keys):
            for depth in self._depths:
                prefix = self._prefix(key, depth)
                if depth >= start and prefix not in self._nodes and len(wanted) < room:
                    wanted.setdefault(prefix, (place, depth))
        while len(self._nodes) - len(in_use) + len(wanted) > room:
            self._nodes.popitem(last=False)
        self._peak = max(self._peak, (len(self._nodes) + len(wanted)) * self._node_bytes)
        return wanted

    def put(self, prefix: bytes, states: Sequence[Tensor]) -> None:
        """Stores one of the nodes that `missing` named."""
        self._nodes[prefix] = tuple(states)

    def _prefix(self, key: bytes, depth: int) -> bytes:
        return key[: depth * (len(key) // self._layers)]


def _depths(layers: int, nodes: int) -> tuple[int, ...]:
    """Returns at most `nodes` depths, evenly spaced from 0."""
    return tuple(range(0, layers, -(-layers // nodes))) if nodes else ()
