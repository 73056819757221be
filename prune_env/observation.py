"""What the outside sees of an episode: the observation, all in 1-D arrays, and `info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from prune_env.dynamics import Attempt
from prune_env.errors import ConfigError
from prune_env.layout import Layout
from prune_env.state import EnvState
from prune_env.types import HeadScores

Observation: TypeAlias = dict[str, NDArray[Any]]
"""What `BertHeadPruneEnv` shows a policy; its keys and shapes are in the environment's docstring."""


class Observer:
    """Builds observations whose arrays are fresh in every call; holds the columns that never change.

    Attributes:
        space: The observation space.
        importance: float32 (layers, heads) for each metric, scaled to [0, 1].
    """

    def __init__(self, layout: Layout, importance: Mapping[str, HeadScores], sentences: int) -> None:
        """Scales the metrics and lays out the constant columns.

        Args:
            layout: Where the heads lie.
            importance: At least one metric, each float (layers, heads); the first decides which heads are protected.
            sentences: Sentences in the split that accuracies refer to.

        Raises:
            ConfigError: No metric, or scores of another shape or not finite.
        """
        if not importance:
            raise ConfigError("expected at least one importance metric, got none; the first one protects heads")
        self._layout = layout
        self._sentences = sentences
        self.importance = {name: _scaled(name, scores, layout) for name, scores in importance.items()}
        depth = np.linspace(0, 1, layout.layers, dtype=np.float32) if layout.layers > 1 else np.zeros(1, np.float32)
        columns = {"depth": np.repeat(depth[:, None], layout.heads, axis=1)}
        columns |= {f"importance_{name}": scores for name, scores in self.importance.items()}
        self._names = tuple(columns)
        self._columns = np.stack([layout.spread(column) for column in columns.values()])
        self._valid = layout.flat(np.ones((layout.layers, layout.heads), dtype=np.bool_)).view(np.int8)
        self.space = self._make_space(layout.slots)

    def _make_space(self, slots: int) -> spaces.Dict[Any]:
        parts: dict[str, spaces.Space[Any]] = {name: spaces.MultiBinary(slots) for name in ("mask", "valid", "failed")}
        parts |= {name: spaces.Box(0.0, 1.0, (slots,), np.float32) for name in self._names}
        parts |= {name: spaces.Box(0.0, 1.0, (1,), np.float32) for name in ("accuracy", "threshold")}
        parts["last_change"] = spaces.Box(-1.0, 1.0, (1,), np.float32)
        parts["budget"] = spaces.Box(0.0, 1.0, (2,), np.float32)
        return spaces.Dict(parts)

    def observe(self, state: EnvState, steps_left: float, evaluations_left: float) -> Observation:
        """Returns the observation of a state; both budgets are fractions of what there was."""
        observation: Observation = dict(zip(self._names, self._columns.copy(), strict=True))
        observation["mask"] = state.kept.astype(np.int8)
        observation["valid"] = self._valid.copy()
        observation["failed"] = state.failed.astype(np.int8)
        accuracy, change = state.correct / self._sentences, state.change / self._sentences
        numbers = np.array((accuracy, change, state.threshold.accuracy, steps_left, evaluations_left), np.float32)
        observation["accuracy"] = numbers[0:1]
        observation["last_change"] = numbers[1:2]
        observation["threshold"] = numbers[2:3]
        observation["budget"] = numbers[3:5]
        return observation

    def describe(self, state: EnvState, attempt: Attempt) -> dict[str, Any]:
        """Returns `info`, without the reward's terms; JSON values but for the head mask."""
        heads, size = attempt.heads, self._layout.size
        info: dict[str, Any] = {
            "head_mask": self._layout.mask(state.kept),
            "accuracy": state.correct / self._sentences,
            "attempted_accuracy": attempt.correct / self._sentences,
            "attempted_heads": self._layout.head_indices(heads.slots) if heads.size else [],
            "violation": attempt.violation,
            "evaluations": len(state.counts),
            "pruned_fraction": (size - state.remaining) / size,
            "feasible": state.feasible,
            "ignored_heads": heads.ignored,
            "protected_heads": heads.protected,
            "dropped_heads": heads.dropped,
        }
        if state.lfr is not None:
            info["oracle_lfr"] = state.lfr
        return info


def _scaled(name: str, scores: HeadScores, layout: Layout) -> HeadScores:
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (layout.layers, layout.heads) or not np.isfinite(values).all():
        raise ConfigError(
            f"expected finite scores of shape ({layout.layers}, {layout.heads}) for metric {name!r}, "
            f"got shape {values.shape}{'' if np.isfinite(values).all() else ' with NaN or infinity'}; score this model"
        )
    low, high = values.min(), values.max()
    return ((values - low) / (high - low) if high > low else np.zeros_like(values)).astype(np.float32)
