"""What K sets of heads do to K episodes at once: the rules and the transition of a single one, in arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prune_env.actions import ActionRules, surviving
from prune_env.config import EnvConfig
from prune_env.layout import Layout
from prune_env.measurement import Measurement
from prune_env.vector_state import Rows, VectorState

GeneratorOf = Callable[[int], np.random.Generator]
"""The random generator of a sub-environment, asked for only where there is something to draw."""


class HeadSets(NamedTuple):
    """The sets that K sub-environments try, as `prune_env.actions.HeadSet`."""

    slots: NDArray[np.bool_]
    """bool (K, slots), True = prune."""
    trial: NDArray[np.bool_]
    """bool (K, slots), what is kept without them; evaluators may share it, so that it is never written to again."""
    sizes: NDArray[np.int64]
    """int64 (K,)."""


class VectorDynamics:
    """The transition on `VectorState`, with one evaluator call for all rows that ask for a mask."""

    def __init__(self, measurement: Measurement, rules: ActionRules, layout: Layout, config: EnvConfig) -> None:
        """Takes the parts of a single environment.

        Args:
            measurement: What masks are worth.
            rules: How many heads a step may prune, and which head of a layer stays.
            layout: Where the heads lie.
            config: The settings.
        """
        self._measurement = measurement
        self._layout = layout
        self._limit: int | NDArray[np.int64] = rules.limit
        self._limited = rules.limit < layout.size
        self._rank = rules.rank
        self._backtracks = config.on_violation == "backtrack"
        self._remembers = config.on_violation != "terminate"
        self._max_evaluations = config.max_evaluations
        # The product of masks with this counts the heads in each layer, and in all: of all ways to count, the fastest.
        layers = np.arange(layout.slots)[:, None] // layout.grid_heads == np.arange(layout.layers)
        self._counter = np.hstack([layers, np.ones((layout.slots, 1))]).astype(np.float32)

    def start(self, kept: NDArray[np.bool_], threshold: float | None = None) -> VectorState:
        """Returns how episodes start with a mask (slots,) and a threshold, None for the configured one.

        Raises:
            ThresholdError: A threshold outside (0, 1], or one that no mask can meet.
        """
        constraint = self._measurement.threshold_for(threshold)
        correct, pruned = self._measurement.count(kept), self._layout.size - int(np.count_nonzero(kept))
        lfr = float(self._measurement.label_flip_rates(kept)[0]) if self._measurement.diagnosed else 0.0
        state = VectorState(1, self._layout.slots)
        state.kept[:], state.pruned[:], state.correct[:], state.attempted[:] = kept, pruned, correct, correct
        state.evaluations[:], state.required[:] = 1, constraint.required
        state.feasible[:], state.threshold[:], state.lfr[:] = correct >= constraint.required, constraint.accuracy, lfr
        return state

    def legal(self, wanted: NDArray[np.bool_], state: VectorState, generator: GeneratorOf) -> HeadSets:
        """Returns the sets that are tried when `wanted` (K, slots) is asked for, and notes what becomes of the rest."""
        kept = state.kept
        sets = np.empty((3, *kept.shape), dtype=np.bool_)
        _, chosen, trial = sets
        sets[0] = wanted
        np.logical_and(wanted, kept, out=chosen)
        np.greater(kept, chosen, out=trial)
        counted = sets.reshape(-1, kept.shape[1]).dot(self._counter).reshape(3, len(kept), -1)
        asked, sizes = counted[:2, :, -1].astype(np.int64)
        left = counted[2]
        np.subtract(asked, sizes, out=state.ignored)
        state.refused[:] = 0
        if (emptied := self._emptied(left)) is not None:
            self._protect(chosen, kept, emptied, state.protected)
            sizes -= state.protected
            trial = kept > chosen
        if self._limited and np.count_nonzero(sizes > self._limit):
            np.maximum(sizes - self._limit, 0, out=state.dropped)
            sizes -= state.dropped
            for row in state.dropped.nonzero()[0].tolist():
                stay = surviving(chosen[row].nonzero()[0].tolist(), int(state.dropped[row]), generator(row))
                chosen[row] = False
                chosen[row, stay] = True
            trial = kept > chosen
        return HeadSets(chosen, trial, sizes)

    def _emptied(self, left: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Returns which layers have no head left, bool (K, layers), of the heads left in each and in all; or None."""
        return left[:, :-1] == 0 if np.count_nonzero(left) < left.size else None

    def _protect(
        self,
        chosen: NDArray[np.bool_],
        kept: NDArray[np.bool_],
        emptied: NDArray[np.bool_],
        protected: NDArray[np.int64],
    ) -> None:
        """Takes the most important head of each emptied layer (K, layers) out of its set, and notes how many, (K,)."""
        grid = (len(kept), self._layout.grid_layers, self._layout.grid_heads)
        rows, layers = emptied.nonzero()
        ranks = np.where(kept.reshape(grid)[rows, layers], self._layer_ranks(rows, layers), self._layout.slots)
        chosen.reshape(grid)[rows, layers, ranks.argmin(axis=1)] = False
        protected[:] = np.bincount(rows, minlength=len(kept))

    def _layer_ranks(self, rows: Rows, layers: NDArray[np.intp]) -> NDArray[np.int64]:
        """Returns the ranks of the heads of some layers, one a row, (len(rows), grid heads)."""
        return self._rank.reshape(self._layout.grid_layers, self._layout.grid_heads)[layers]

    def attempt(self, state: VectorState, heads: HeadSets) -> NDArray[np.bool_]:
        """Tries to prune the sets: a mask changes where the threshold holds, or in part by backtracking.

        Returns:
            bool (K,), whose set missed it.
        """
        attempted = state.attempted
        before = state.standing.copy()
        attempted[:] = state.correct
        tried = heads.sizes > 0
        self._ask(state, heads.trial, tried.nonzero()[0], attempted)
        np.subtract(attempted, state.correct, out=state.change)
        violation: NDArray[np.bool_] = tried & (attempted < state.required)
        state.violation[:] = violation
        holds = tried > violation
        np.copyto(state.kept, heads.trial, where=holds[:, None])
        np.copyto(state.failed, False, where=holds[:, None])
        np.copyto(state.correct, attempted, where=holds)
        np.add(state.pruned, heads.sizes, out=state.pruned, where=holds)
        missed = violation.nonzero()[0]
        if missed.size:
            undone = self._backtrack(state, heads, missed) if self._backtracks else missed
            state.failed[undone] |= heads.slots[undone]
        np.subtract(state.standing, before, out=state.gains)
        if self._measurement.diagnosed and (changed := state.gained.nonzero()[0]).size:
            state.lfr[changed] = self._label_flip_rates(state.kept, changed)
        return violation

    def _ask(self, state: VectorState, masks: NDArray[np.bool_], rows: Rows, correct: NDArray[np.int64]) -> None:
        """Writes the correct sentences of some rows' masks (K, slots) into `correct` (K,)."""
        if self._remembers:
            rows = self._recall(state, masks, rows, correct)
        if not rows.size:
            return
        if len(rows) == len(masks):
            correct[:] = self._counts(masks, None)
            state.evaluations += 1
        else:
            correct[rows] = self._counts(masks, rows)
            state.evaluations[rows] += 1
        if self._remembers:
            for row in rows[correct[rows] < state.required[rows]].tolist():
                state.missed[row][masks[row].tobytes()] = int(correct[row])

    def _counts(self, masks: NDArray[np.bool_], rows: Rows | None) -> NDArray[np.int64]:
        """Returns the correct sentences of some rows' masks (K, slots), (len(rows),); of all rows for None."""
        return self._measurement.counts(masks if rows is None else masks[rows])

    def _label_flip_rates(self, masks: NDArray[np.bool_], rows: Rows) -> NDArray[np.float64]:
        """Returns the LFR of some rows' masks (K, slots), (len(rows),)."""
        return self._measurement.label_flip_rates(masks[rows])

    def _recall(self, state: VectorState, masks: NDArray[np.bool_], rows: Rows, correct: NDArray[np.int64]) -> Rows:
        """Writes what the episodes know already into `correct` (K,), and returns the rows where they do not."""
        new = []
        for row in rows.tolist():
            count = state.missed[row].get(masks[row].tobytes()) if state.missed[row] else None
            if count is None:
                new.append(row)
            else:
                correct[row] = count
        return np.array(new, dtype=np.intp) if len(new) < len(rows) else rows

    def _backtrack(self, state: VectorState, heads: HeadSets, rows: Rows) -> Rows:
        """Restores heads of the sets of some rows, most important first, until the threshold holds.

        Returns:
            The rows where it never does, whose whole set is undone.
        """
        order = np.where(heads.slots, self._rank, self._layout.slots).argsort(axis=1)
        trial, waiting, undone = heads.trial, rows, []
        correct = np.zeros_like(state.correct)
        for number in range(1, int(heads.sizes[rows].max()) + 1):
            trial = trial.copy()  # evaluators may keep what they were asked
            trial[waiting, order[waiting, number - 1]] = True
            able = (heads.sizes[waiting] > number) & self._may_ask(state, trial, waiting)
            undone.append(waiting[~able])
            waiting = waiting[able]
            self._ask(state, trial, waiting, correct)
            held = correct[waiting] >= state.required[waiting]
            won, waiting = waiting[held], waiting[~held]
            state.kept[won] = trial[won]
            state.failed[won] = trial[won] & heads.slots[won]
            state.correct[won] = correct[won]
            state.pruned[won] += heads.sizes[won] - number
        return np.concatenate(undone)

    def _may_ask(self, state: VectorState, masks: NDArray[np.bool_], rows: Rows) -> NDArray[np.bool_]:
        """Returns bool (len(rows),): whether an evaluation is left, or the mask is known already."""
        if self._max_evaluations is None:
            return np.ones(len(rows), dtype=np.bool_)
        left: NDArray[np.bool_] = state.evaluations[rows] < self._max_evaluations
        return left | np.array([masks[row].tobytes() in state.missed[row] for row in rows.tolist()], dtype=np.bool_)
