"""What scripted policies share: reading heads, layers and importance out of an observation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from prune_env.config import paper_limit
from prune_env.observation import Observation

Action = NDArray[np.int8]
"""MultiBinary(slots + 1): heads to prune, then stop."""


def layer_of(observation: Observation) -> NDArray[np.int64]:
    """Returns each slot's layer as a whole number, -1 in padding, (slots,)."""
    valid = observation["valid"].astype(np.bool_)
    layers = np.unique(observation["depth"][valid])
    found = np.searchsorted(layers, observation["depth"])
    return np.where(valid, found, -1)


def choose(observation: Observation, order: Iterable[int], count: int) -> list[int]:
    """Returns the first `count` kept heads in this order that leave every layer at least one head.

    Args:
        observation: What the environment shows.
        order: Slots, the first to prune first.
        count: Heads wanted; fewer come back where no more can go.
    """
    kept = observation["mask"].astype(np.bool_)
    layer = layer_of(observation)
    left = np.bincount(layer[kept], minlength=int(layer.max()) + 1)
    chosen: list[int] = []
    for slot in order:
        if len(chosen) == count:
            break
        if kept[slot] and left[layer[slot]] > 1:
            left[layer[slot]] -= 1
            chosen.append(int(slot))
    return chosen


def lowest_first(observation: Observation, metric: str) -> NDArray[np.int64]:
    """Returns the slots by rising importance; ties go to the lower head index."""
    return np.argsort(observation[f"importance_{metric}"], kind="stable")


def prune(observation: Observation, slots: Iterable[int], stop: bool = False) -> Action:
    """Returns the action that prunes these slots, and stops if told to."""
    action = np.zeros(len(observation["mask"]) + 1, dtype=np.int8)
    action[list(slots)] = 1
    action[-1] = stop
    return action


def group_size(observation: Observation) -> int:
    """Returns the paper's group, 10 of 144 heads, scaled to the model and at least 2."""
    return paper_limit(int(observation["valid"].sum()))
