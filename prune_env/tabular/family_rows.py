"""The transition and the view of a vector environment whose rows have models of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prune_env.tabular.family_tables import Models, StackedTables
from prune_env.vector_dynamics import VectorDynamics
from prune_env.vector_state import Rows, VectorState
from prune_env.vector_view import ACCURACY, ACCURACY_CHANGE, ATTEMPTED, CHANGE, GAIN, PRUNED, STEPS_LEFT, VectorObserver

Assigned = NDArray[np.intp]
"""The number of each row's model."""


class _Lookup:
    """Stacked tables, with the model of each of K rows."""

    def __init__(self, tables: StackedTables, count: int) -> None:
        self._tables = tables
        self._weights = np.zeros((count, tables.weights.shape[1]))
        self._offsets, self._sentences = np.zeros(count), np.ones(count, dtype=np.int64)

    def assign(self, rows: Rows, models: Assigned) -> None:
        """Gives rows other models."""
        self._weights[rows], self._offsets[rows] = self._tables.weights[models], self._tables.offsets[models]
        self._sentences[rows] = self._tables.sentences[models]

    def counts(self, masks: NDArray[np.bool_], rows: Rows | None) -> NDArray[np.int64]:
        """Returns the correct sentences of some rows' masks (K, slots), of all for None."""
        if rows is None:
            return self._tables.counts(masks, self._weights, self._offsets)
        return self._tables.counts(masks[rows], self._weights[rows], self._offsets[rows])

    def rates(self, masks: NDArray[np.bool_], rows: Rows) -> NDArray[np.float64]:
        """Returns the share of correct sentences of some rows' masks (K, slots)."""
        return self.counts(masks, rows) / self._sentences[rows]


class FamilyDynamics(VectorDynamics):
    """`VectorDynamics` with ranks, limits and tables of each row's model."""

    def __init__(self, models: Models, count: int) -> None:
        """Takes the models; `assign` says which row has which."""
        first = models.members[0]
        super().__init__(first.measurement, first.rules, models.grid, first.config)
        self._models = models
        self._limits = np.ones(count, dtype=np.int64)
        self._limit, self._limited = self._limits, bool((models.limits < models.sizes).any())
        self._rank = np.zeros((count, models.grid.slots), dtype=np.int64)
        self._real = np.zeros((count, models.grid.layers), dtype=np.bool_)
        self._search = _Lookup(models.search, count)
        self._lfr = None if models.lfr is None else _Lookup(models.lfr, count)

    def assign(self, rows: Rows, models: Assigned) -> None:
        """Gives rows other models."""
        self._limits[rows], self._rank[rows] = self._models.limits[models], self._models.ranks[models]
        self._real[rows] = self._models.real[models]
        self._search.assign(rows, models)
        if self._lfr is not None:
            self._lfr.assign(rows, models)

    def _emptied(self, left: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        emptied: NDArray[np.bool_] = (left[:, :-1] == 0) & self._real
        return emptied if np.count_nonzero(emptied) else None

    def _layer_ranks(self, rows: Rows, layers: NDArray[np.intp]) -> NDArray[np.int64]:
        grid = self._models.grid
        return self._rank.reshape(-1, grid.layers, grid.heads)[rows, layers]

    def _counts(self, masks: NDArray[np.bool_], rows: Rows | None) -> NDArray[np.int64]:
        return self._search.counts(masks, rows)

    def _label_flip_rates(self, masks: NDArray[np.bool_], rows: Rows) -> NDArray[np.float64]:
        return super()._label_flip_rates(masks, rows) if self._lfr is None else self._lfr.rates(masks, rows)


class FamilyObserver(VectorObserver):
    """`VectorObserver` with columns and divisors of each row's model; masks have the shape of the grid."""

    def __init__(self, models: Models, count: int) -> None:
        """Takes the models; `assign` says which row has which, and shows zeros before."""
        first = models.members[0]
        super().__init__(
            first.observer, models.grid, first.config, first.evaluator.sentences, count, models.lfr is not None
        )
        self._models = models
        self._columns, self._valid = np.zeros_like(self._columns), np.zeros_like(self._valid)
        self._heads = self._head_of.reshape(count, -1)

    def assign(self, rows: Rows, models: Assigned) -> None:
        """Gives rows other models."""
        found = self._models
        self._columns[:, rows], self._valid[rows] = found.columns[:, models], found.valid[models]
        for shares in (ACCURACY, CHANGE, ATTEMPTED, ACCURACY_CHANGE):
            self._divisors[shares, rows] = found.search.sentences[models]
        for shares in (PRUNED, GAIN):
            self._divisors[shares, rows] = found.sizes[models]
        self._divisors[STEPS_LEFT, rows] = found.steps[models]
        self._heads[rows] = found.head_indices[models]

    def fractions_of(self, state: VectorState, rows: Rows) -> NDArray[np.float64]:
        """Returns the fractions (10, R) of a state (R,) that some rows are to begin with."""
        return self._shares(state, self._divisors[:, rows])
