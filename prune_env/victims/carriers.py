"""Which heads a backdoor is routed through: any, or those that a defender's metric ranks highest."""

from __future__ import annotations

import numpy as np

from prune_env.errors import ConfigError
from prune_env.types import HeadMask, HeadScores


def random_carriers(layers: int, heads: int, count: int, rng: np.random.Generator) -> HeadMask:
    """Draws carriers (layers, heads), True = carrier, each possible set as likely as another.

    Raises:
        ConfigError: As `important_carriers`.
    """
    _check(layers, heads, count)
    while True:
        carriers = np.zeros(layers * heads, dtype=np.bool_)
        carriers[rng.choice(layers * heads, size=count, replace=False)] = True
        found: HeadMask = carriers.reshape(layers, heads)
        if not found.all(axis=1).any():
            return found


def important_carriers(scores: HeadScores, count: int) -> HeadMask:
    """Returns the heads of the highest scores (layers, heads), True = carrier: what pruning lowest-first prunes last.

    A layer's last head is passed over, since a mask that switches a whole layer off is none. Equal scores: the lower
    index comes first.

    Args:
        scores: (layers, heads), higher = more important.
        count: Carriers.

    Raises:
        ConfigError: No carrier, or more than leave every layer a head.
    """
    layers, heads = scores.shape
    _check(layers, heads, count)
    carriers: HeadMask = np.zeros((layers, heads), dtype=np.bool_)
    for index in np.argsort(-scores.ravel(), kind="stable"):
        layer, head = divmod(int(index), heads)
        if carriers.sum() < count and carriers[layer].sum() < heads - 1:
            carriers[layer, head] = True
    return carriers


def mean_rank(scores: HeadScores, carriers: HeadMask) -> float:
    """Returns the carriers' mean rank by score, from 0 (pruned first, lowest-first) to 1 (last); chance gives 0.5."""
    ranks = np.argsort(np.argsort(scores.ravel(), kind="stable"), kind="stable")
    return float(ranks[carriers.ravel()].mean() / (scores.size - 1))


def _check(layers: int, heads: int, count: int) -> None:
    if not 1 <= count <= layers * (heads - 1):
        raise ConfigError(
            f"expected 1 to {layers * (heads - 1)} carriers among {layers} x {heads} heads, so that each layer keeps a "
            f"head without them, got {count}"
        )
