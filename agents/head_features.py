"""What a linear agent knows of each head that may be pruned: one row of numbers a head, out of an observation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prune_env.observation import Observation
from prune_env.scripted import layer_of

COMMON = ("one", "depth", "failed", "layer_pruned", "pruned", "slack", "last_change")
"""Features beside the metrics, the first ones of a row. The last four tell states apart, and not heads of a layer."""

_TENTH = 10.0
"""Accuracies differ by hundredths where it matters: a tenth counts as one."""


def feature_names(metrics: Sequence[str], slots: int = 0) -> tuple[str, ...]:
    """Returns the names of a row's numbers.

    Args:
        metrics: Importance metrics: each gives its value, and its product with the slack.
        slots: Heads that have a feature of their own; 0 for weights that fit any model.
    """
    by_metric = [f"{name}{suffix}" for name in metrics for suffix in ("", "*slack")]
    return (*COMMON, *by_metric, *(f"slot_{slot}" for slot in range(slots)))


def head_features(observation: Observation, metrics: Sequence[str], slots: int = 0) -> NDArray[np.float64]:
    """Returns one row a slot, float64 (slots, features), in the order of `feature_names`."""
    mask, valid = observation["mask"].astype(np.float64), observation["valid"].astype(np.bool_)
    layer, size = layer_of(observation), max(int(valid.sum()), 1)
    inside = np.where(valid, layer, 0)
    heads = np.bincount(inside, weights=valid.astype(np.float64))
    left = np.bincount(inside, weights=mask)
    slack = float(observation["accuracy"][0] - observation["threshold"][0]) * _TENTH
    columns = [
        np.ones(len(mask)),
        observation["depth"],
        observation["failed"],
        (1 - left / np.maximum(heads, 1))[inside],
        np.full(len(mask), 1 - mask.sum() / size),
        np.full(len(mask), np.clip(slack, -3.0, 3.0)),
        np.full(len(mask), np.clip(float(observation["last_change"][0]) * _TENTH, -3.0, 3.0)),
    ]
    for name in metrics:
        scores = observation[f"importance_{name}"].astype(np.float64)
        columns += [scores, scores * columns[5]]
    return np.column_stack([*columns, np.eye(len(mask), slots)] if slots else columns)
