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
from prune_env.vector_dynamics import HeadSets
from prune_env.vector_state import Rows, VectorState

GAIN, ACCURACY_CHANGE, PRUNED, ACCURACY, ATTEMPTED, CHANGE, STEPS_LEFT, EVALUATIONS_LEFT, THRESHOLD, LFR = range(10)
"""The rows of the fractions: those of `VectorState.shares`, and of its `floats`."""

_COUNTS = ("evaluations", "ignored_heads", "protected_heads", "dropped_heads")
_FLAGS = ("violation", "feasible")
_INT8 = np.dtype(np.int8)


@dataclass(slots=True, eq=False)
class InfoTable:
    """`info` of K sub-environments: a block for each type, a row of it for each key.

    Counts, flags and masks may be a state's own.

    Attributes:
        fractions: float64 (10, K).
        counts: int64 (4, K).
        flags: 0 or 1 (2, K).
        head_mask: bool (K, layers, heads).
        attempted_heads: object (K,), lists of int.
        terms: float64 (number of the reward's terms, K).
    """

    fractions: NDArray[np.float64]
    counts: NDArray[np.int64]
    flags: NDArray[Any]
    head_mask: NDArray[np.bool_]
    attempted_heads: NDArray[Any]
    terms: NDArray[np.float64]

    def only(self, rows: NDArray[np.bool_]) -> InfoTable:
        """Returns a copy with zeros, or None, where `rows` (K,) is False, as Gymnasium fills what is not there."""
        lists = np.empty_like(self.attempted_heads)
        np.copyto(lists, self.attempted_heads, where=rows)
        return InfoTable(
            np.where(rows, self.fractions, 0.0),
            np.where(rows, self.counts, 0),
            np.logical_and(rows, self.flags),
            rows[:, None, None] & self.head_mask,
            lists,
            np.where(rows, self.terms, 0.0),
        )

    def restart(self, rows: Rows, fractions: NDArray[np.float64]) -> None:
        """Begins new episodes in some rows, whose fractions are then these (10, 1); all else is left to the state."""
        self.fractions[:, rows] = fractions
        self.terms[:, rows] = 0.0
        for row in rows.tolist():
            self.attempted_heads[row] = []

    def copy(self) -> InfoTable:
        """Returns one that shares no memory with a state."""
        return InfoTable(
            self.fractions,
            self.counts.copy(),
            self.flags.astype(np.bool_),
            self.head_mask.copy(),
            self.attempted_heads,
            self.terms,
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
        self._divisors = np.ones((8, count))
        self._divisors[[ACCURACY, CHANGE, ATTEMPTED, ACCURACY_CHANGE]] = sentences
        self._divisors[[PRUNED, GAIN]] = layout.size
        self._divisors[STEPS_LEFT] = config.steps(layout.size)
        self._divisors[EVALUATIONS_LEFT] = config.max_evaluations or np.inf
        shown = {"accuracy": ACCURACY, "attempted_accuracy": ATTEMPTED, "pruned_fraction": PRUNED}
        if diagnosed:
            shown["oracle_lfr"] = LFR
        self._shown = tuple(shown.values())
        self._keys = ("head_mask", "attempted_heads", *shown, *_COUNTS, *_FLAGS)
        self._keys_with: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._row_of, self._head_of = np.divmod(np.arange(count * layout.size), layout.size)

    def fractions(self, state: VectorState) -> NDArray[np.float64]:
        """Returns the fractions (10, K) of a state."""
        return self._shares(state, self._divisors[:, : state.numbers.shape[1]])

    def _shares(self, state: VectorState, divisors: NDArray[np.float64]) -> NDArray[np.float64]:
        block = np.empty((10, state.numbers.shape[1]))
        np.divide(state.shares, divisors, out=block[:THRESHOLD])
        block[THRESHOLD:] = state.floats
        left = block[STEPS_LEFT:THRESHOLD]
        np.subtract(1, left, out=left)
        return block

    def observe(
        self, masks: NDArray[np.bool_], fractions: NDArray[np.float64], rows: Rows | None = None
    ) -> Observation:
        """Returns the observations (R, ...) of some sub-environments.

        Args:
            masks: bool (2, R, slots), their kept and failed heads.
            fractions: Theirs, (10, R).
            rows: Which they are, (R,); None for all of them.
        """
        numbers = fractions.astype(np.float32)
        columns = self._columns.copy() if rows is None else self._columns[:, rows]
        observation: Observation = dict(zip(self._names, columns, strict=True))
        kept, failed = masks.astype(_INT8)
        observation["mask"] = kept
        observation["valid"] = self._valid.copy() if rows is None else self._valid[rows]
        observation["failed"] = failed
        observation["accuracy"] = numbers[ACCURACY, :, None]
        observation["last_change"] = numbers[CHANGE, :, None]
        observation["threshold"] = numbers[THRESHOLD, :, None]
        observation["budget"] = numbers[STEPS_LEFT:THRESHOLD].T.copy()
        return observation

    def table(
        self,
        state: VectorState,
        fractions: NDArray[np.float64],
        heads: HeadSets | None = None,
        terms: NDArray[np.float64] | None = None,
    ) -> InfoTable:
        """Returns the infos of a state; of a step, if it says which sets were tried and the reward's terms (T, K)."""
        lists = np.empty(self._count, dtype=object) if heads is None else self._lists(heads)
        terms = np.empty((0, self._count)) if terms is None else terms
        return InfoTable(fractions, state.counts, state.flags, self._layout.masks(state.kept), lists, terms)

    def _lists(self, heads: HeadSets) -> NDArray[Any]:
        """Returns the head indices of each set, lists in an object array (K,)."""
        places = self._layout.masks(heads.slots).reshape(-1).nonzero()[0]
        indices = self._head_of.take(places)
        if len(set(heads.sizes.tolist())) == 1:  # one head each, as a rule: one call makes all lists
            lists = indices.reshape(self._count, -1).tolist()
        else:
            lists = [[] for _ in range(self._count)]
            for row, head in zip(self._row_of.take(places).tolist(), indices.tolist(), strict=True):
                lists[row].append(head)
        return np.fromiter(lists, dtype=object, count=self._count)

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
        values = [table.head_mask, table.attempted_heads, *[table.fractions[row] for row in self._shown]]
        values += [*table.counts, *table.flags, *[there.copy()] * len(self._keys)]
        if names:
            values += [*table.terms, *[stepped.copy()] * len(names)]
        return dict(zip(self._all_keys(names), values, strict=True))

    def _all_keys(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the keys of `infos` with these terms of the reward, which are the same in each step."""
        if names not in self._keys_with:
            terms = [f"reward_{name}" for name in names]
            self._keys_with[names] = tuple(
                f"{mark}{key}" for keys in (self._keys, terms) for mark in ("", "_") for key in keys
            )
        return self._keys_with[names]
