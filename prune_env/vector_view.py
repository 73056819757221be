"""What the outside sees of K episodes: batched observations, and `info` as Gymnasium batches it.

Every fraction of a step is a row of one array, divided once. Observation, `info` and the reward read their rows of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.config import EnvConfig
from prune_env.layout import Layout
from prune_env.observation import Observation, Observer
from prune_env.vector_dynamics import Attempts, HeadSets
from prune_env.vector_state import Rows, Start, VectorState

ACCURACY, CHANGE, STEPS_LEFT, EVALUATIONS_LEFT, PRUNED, ATTEMPTED, GAIN, ACCURACY_CHANGE, THRESHOLD, LFR = range(10)
"""The rows of the fractions: the first five follow `VectorState.numbers`, the next three `Attempts.numbers`, the last
two `VectorState.floats`."""

_COUNTS = ("evaluations", "ignored_heads", "protected_heads", "dropped_heads")
_FLAGS = ("violation", "feasible")


@dataclass(slots=True, eq=False)
class InfoTable:
    """`info` of K sub-environments: a block for each type, a row of it for each key.

    Attributes:
        fractions: float64 (10, K).
        counts: int64 (4, K).
        flags: bool (2, K).
        head_mask: bool (K, layers, heads).
        attempted_heads: object (K,), lists of int.
        terms: float64 (number of the reward's terms, K).
    """

    fractions: NDArray[np.float64]
    counts: NDArray[np.int64]
    flags: NDArray[np.bool_]
    head_mask: NDArray[np.bool_]
    attempted_heads: NDArray[Any]
    terms: NDArray[np.float64]

    def only(self, rows: NDArray[np.bool_]) -> InfoTable:
        """Returns a copy with zeros, or None, where `rows` (K,) is False, as Gymnasium fills what is not there."""
        return InfoTable(
            np.where(rows, self.fractions, 0.0),
            np.where(rows, self.counts, 0),
            rows & self.flags,
            rows[:, None, None] & self.head_mask,
            np.where(rows, self.attempted_heads, np.array(None)),
            np.where(rows, self.terms, 0.0),
        )


class VectorObserver:
    """Builds batched observations and infos whose arrays are fresh in every call."""

    def __init__(
        self, observer: Observer, layout: Layout, config: EnvConfig, sentences: int, count: int, diagnosed: bool
    ) -> None:
        """Repeats the constant columns.

        Args:
            observer: That of a single environment.
            layout: Where the heads lie.
            config: The limits that the budget is a fraction of.
            sentences: Sentences in the split that accuracies refer to.
            count: Sub-environments, K.
            diagnosed: Whether `info` has `oracle_lfr`.
        """
        self._layout = layout
        self._count = count
        self._names = tuple(observer.columns)
        self._columns = np.stack([np.tile(column, (count, 1)) for column in observer.columns.values()])
        self._valid = np.tile(observer.valid, (count, 1))
        self._divisors = np.ones((10, 1))
        self._divisors[[ACCURACY, CHANGE, ATTEMPTED, ACCURACY_CHANGE]] = sentences
        self._divisors[[PRUNED, GAIN]] = layout.size
        self._divisors[STEPS_LEFT] = config.steps(layout.size)
        self._divisors[EVALUATIONS_LEFT] = config.max_evaluations or np.inf
        shown = {"accuracy": ACCURACY, "attempted_accuracy": ATTEMPTED, "pruned_fraction": PRUNED}
        if diagnosed:
            shown["oracle_lfr"] = LFR
        self._shown = tuple(shown.items())
        self._masks = tuple(f"_{name}" for name in ("head_mask", "attempted_heads", *shown, *_COUNTS, *_FLAGS))

    def fractions(
        self, numbers: NDArray[np.int64], attempts: NDArray[np.int64], floats: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Returns the fractions (10, K) of a state's `numbers` and `floats`, and of what was attempted in it."""
        block = np.empty((10, numbers.shape[1]))
        block[:ATTEMPTED] = numbers[1:]
        block[ATTEMPTED:THRESHOLD] = attempts
        block[THRESHOLD:] = floats
        block /= self._divisors
        left = block[STEPS_LEFT:PRUNED]
        np.subtract(1, left, out=left)
        return block

    def observe(self, state: VectorState, fractions: NDArray[np.float64]) -> Observation:
        """Returns the observations of all K, (K, ...) each."""
        numbers = fractions.astype(np.float32)
        observation: Observation = dict(zip(self._names, self._columns.copy(), strict=True))
        observation["mask"] = state.kept.astype(np.int8)
        observation["valid"] = self._valid.copy()
        observation["failed"] = state.failed.astype(np.int8)
        observation["accuracy"] = numbers[ACCURACY, :, None]
        observation["last_change"] = numbers[CHANGE, :, None]
        observation["threshold"] = numbers[THRESHOLD, :, None]
        observation["budget"] = numbers[STEPS_LEFT:PRUNED].T
        return observation

    def nothing(self) -> InfoTable:
        """Returns a table for `restart` to fill."""
        return InfoTable(
            np.zeros((10, self._count)),
            np.zeros((len(_COUNTS), self._count), dtype=np.int64),
            np.zeros((len(_FLAGS), self._count), dtype=np.bool_),
            np.zeros((self._count, self._layout.layers, self._layout.heads), dtype=np.bool_),
            np.full(self._count, None, dtype=object),
            np.zeros((0, self._count)),
        )

    def describe(
        self,
        state: VectorState,
        heads: HeadSets,
        attempts: Attempts,
        fractions: NDArray[np.float64],
        terms: NDArray[np.float64],
    ) -> InfoTable:
        """Returns the infos of a step of all K, the reward's terms (T, K) included."""
        counts = np.array((state.evaluations, heads.ignored, heads.protected, heads.dropped))
        flags = np.array((attempts.violation, state.feasible))
        mask = self._layout.masks(state.kept).copy()
        return InfoTable(fractions, counts, flags, mask, self._lists(heads), terms)

    def _lists(self, heads: HeadSets) -> NDArray[Any]:
        """Returns the head indices of each set, lists in an object array (K,)."""
        flat = self._layout.masks(heads.slots).reshape(-1).nonzero()[0]
        indices, lists, start = (flat % self._layout.size).tolist(), [], 0
        for size in heads.sizes.tolist():
            lists.append(indices[start : start + size])
            start += size
        return np.fromiter(lists, dtype=object, count=self._count)

    def restart(self, table: InfoTable, rows: Rows, start: Start, fractions: NDArray[np.float64]) -> None:
        """Writes the infos of episodes that have just started, and their fractions (10, 1), into a table."""
        table.fractions[:, rows] = fractions
        table.counts[:, rows] = 0
        table.counts[0, rows] = 1
        table.flags[0, rows] = False
        table.flags[1, rows] = start.feasible
        table.head_mask[rows] = self._layout.masks(start.kept)
        table.terms[:, rows] = 0.0
        for row in rows.tolist():
            table.attempted_heads[row] = []

    def infos(
        self, table: InfoTable, names: tuple[str, ...], there: NDArray[np.bool_], stepped: NDArray[np.bool_]
    ) -> dict[str, Any]:
        """Returns each key's values (K, ...) and, as `_key`, for whom they are there; keys share these masks.

        Args:
            table: The values.
            names: Of the reward's terms.
            there: bool (K,), the sub-environments that have an `info`.
            stepped: bool (K,), those of them whose `info` comes from a step, and so has the reward's terms.
        """
        infos: dict[str, Any] = {"head_mask": table.head_mask, "attempted_heads": table.attempted_heads}
        infos |= {name: table.fractions[row] for name, row in self._shown}
        infos |= zip(_COUNTS, table.counts, strict=True)
        infos |= zip(_FLAGS, table.flags, strict=True)
        infos |= dict.fromkeys(self._masks, there.copy())
        if names:
            infos |= zip([f"reward_{name}" for name in names], table.terms, strict=True)
            infos |= dict.fromkeys([f"_reward_{name}" for name in names], stepped.copy())
        return infos
