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
from prune_env.vector_state import Rows, Start, VectorState


class HeadSets(NamedTuple):
    """The sets that K sub-environments try, as `prune_env.actions.HeadSet`; the numbers are int64 (K,)."""

    slots: NDArray[np.bool_]
    """bool (K, slots), True = prune."""
    trial: NDArray[np.bool_]
    """bool (K, slots), what is kept without them."""
    sizes: NDArray[np.int64]
    ignored: NDArray[np.int64]
    protected: NDArray[np.int64]
    dropped: NDArray[np.int64]


class Attempts(NamedTuple):
    """What came of K sets, as `prune_env.dynamics.Attempt`; (K,) each."""

    correct: NDArray[np.int64]
    violation: NDArray[np.bool_]
    pruned: NDArray[np.int64]
    correct_change: NDArray[np.int64]


class VectorDynamics:
    """The transition on `VectorState`, with one evaluator call for all rows that ask for a mask.

    A mask that an episode has asked for is never written to again: evaluators may keep it.
    """

    def __init__(self, measurement: Measurement, rules: ActionRules, layout: Layout, config: EnvConfig) -> None:
        """Takes the parts of a single environment.

        Args:
            measurement: What masks are worth.
            rules: How many heads a step may prune, and which head of a layer stays.
            layout: Where the heads lie.
            config: The settings.
        """
        self._measurement = measurement
        self._limit = rules.limit
        self._rank = rules.rank
        self._layout = layout
        self._backtracks = config.on_violation == "backtrack"
        self._max_evaluations = config.max_evaluations
        # A product of masks with it counts the heads in each layer, and in all: of all ways to count, the fastest.
        real = layout.flat(np.ones((layout.layers, layout.heads), dtype=np.bool_))
        layer = np.arange(layout.slots) // layout.grid_heads
        self._counters = np.ones((layout.slots, layout.layers + 1), dtype=np.float32)
        self._counters[:, :-1] = real[:, None] & (layer[:, None] == np.arange(layout.layers))

    def start(self, kept: NDArray[np.bool_], threshold: float | None = None) -> Start:
        """Returns the start of episodes with a mask (slots,) and a threshold, None for the configured one.

        Raises:
            ThresholdError: A threshold outside (0, 1], or one that no mask can meet.
        """
        constraint = self._measurement.threshold_for(threshold)
        lfr = float(self._measurement.label_flip_rates(kept)[0]) if self._measurement.diagnosed else 0.0
        return Start(kept, int(np.count_nonzero(kept)), self._measurement.count(kept), lfr, constraint)

    def legal(
        self, wanted: NDArray[np.bool_], state: VectorState, generator: Callable[[int], np.random.Generator]
    ) -> HeadSets:
        """Returns the sets that are tried when `wanted` (K, slots) is asked for.

        Args:
            wanted: bool (K, slots).
            state: The episodes.
            generator: The random generator of a sub-environment, asked for only where there is something to draw.
        """
        chosen = wanted & state.kept
        trial = state.kept & ~chosen
        left = trial @ self._counters
        asked = (wanted @ self._counters[:, -1]).astype(np.int64)
        sizes = state.remaining - left[:, -1].astype(np.int64)
        ignored = asked - sizes
        protected = dropped = np.zeros_like(asked)
        if np.count_nonzero(left[:, :-1]) < left.size - len(left):
            protected = self._protect(chosen, state.kept, left[:, :-1] == 0)
            sizes = sizes - protected
            trial = state.kept & ~chosen
        if sizes.max() > self._limit:
            dropped = np.maximum(sizes - self._limit, 0)
            sizes = sizes - dropped
            self._drop(chosen, dropped, generator)
            trial = state.kept & ~chosen
        return HeadSets(chosen, trial, sizes, ignored, protected, dropped)

    def _protect(
        self, chosen: NDArray[np.bool_], kept: NDArray[np.bool_], emptied: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Takes the most important head of each emptied layer (K, layers) out of its set; returns how many, (K,)."""
        rows, layers = emptied.nonzero()
        width = self._layout.grid_heads
        slots = layers[:, None] * width + np.arange(width)
        ranks = np.where(kept[rows[:, None], slots], self._rank[slots], self._layout.slots)
        chosen[rows, slots[np.arange(len(rows)), ranks.argmin(axis=1)]] = False
        return np.asarray(emptied.sum(axis=1), dtype=np.int64)

    def _drop(
        self,
        chosen: NDArray[np.bool_],
        dropped: NDArray[np.int64],
        generator: Callable[[int], np.random.Generator],
    ) -> None:
        for row in dropped.nonzero()[0].tolist():
            stay = surviving(chosen[row].nonzero()[0].tolist(), int(dropped[row]), generator(row))
            chosen[row] = False
            chosen[row, stay] = True

    def attempt(self, state: VectorState, heads: HeadSets) -> Attempts:
        """Tries to prune the sets: a mask changes where the threshold holds, or in part by backtracking."""
        remaining, correct_before = state.remaining, state.correct
        tried = heads.sizes > 0
        correct = self._ask(state, heads.trial, tried.nonzero()[0])
        violation = tried & (correct < state.required)
        holds = tried & ~violation
        state.kept = np.where(holds[:, None], heads.trial, state.kept)
        state.failed = state.failed & ~holds[:, None]
        state.remaining = remaining - heads.sizes * holds
        state.correct = np.where(holds, correct, correct_before)
        state.change = correct - correct_before
        missed = violation.nonzero()[0]
        if missed.size:
            undone = self._backtrack(state, heads, missed) if self._backtracks else missed
            state.failed[undone] |= heads.slots[undone]
        if self._measurement.diagnosed:
            changed = (state.remaining != remaining).nonzero()[0]
            if changed.size:
                state.lfr[changed] = self._measurement.label_flip_rates(state.kept[changed])
        return Attempts(correct, violation, remaining - state.remaining, state.correct - correct_before)

    def _ask(self, state: VectorState, masks: NDArray[np.bool_], rows: Rows) -> NDArray[np.int64]:
        """Returns the correct sentences (K,) of some rows' masks (K, slots), and of the kept masks elsewhere."""
        correct = state.correct.copy()
        known = [row for row in rows.tolist() if state.missed[row] and masks[row].tobytes() in state.missed[row]]
        for row in known:
            correct[row] = state.missed[row][masks[row].tobytes()]
        new = np.setdiff1d(rows, known, assume_unique=True) if known else rows
        if new.size:
            correct[new] = self._measurement.counts(masks if len(new) == len(masks) else masks[new])
            state.evaluations[new] += 1
            for row in new[correct[new] < state.required[new]].tolist():
                state.missed[row][masks[row].tobytes()] = int(correct[row])
        return correct

    def _backtrack(self, state: VectorState, heads: HeadSets, rows: Rows) -> Rows:
        """Restores heads of the sets of some rows, most important first, until the threshold holds.

        Returns:
            The rows where it never does, whose whole set is undone.
        """
        order = np.where(heads.slots, self._rank, self._layout.slots).argsort(axis=1)
        trial, waiting, undone = heads.trial, rows, []
        for number in range(1, int(heads.sizes[rows].max()) + 1):
            trial = trial.copy()
            trial[waiting, order[waiting, number - 1]] = True
            able = (heads.sizes[waiting] > number) & self._may_ask(state, trial, waiting)
            undone.append(waiting[~able])
            waiting = waiting[able]
            correct = self._ask(state, trial, waiting)
            held = correct[waiting] >= state.required[waiting]
            won, waiting = waiting[held], waiting[~held]
            state.kept[won] = trial[won]
            state.failed[won] = trial[won] & heads.slots[won]
            state.correct[won] = correct[won]
            state.remaining[won] -= heads.sizes[won] - number
        return np.concatenate(undone)

    def _may_ask(self, state: VectorState, masks: NDArray[np.bool_], rows: Rows) -> NDArray[np.bool_]:
        """Returns bool (len(rows),): whether an evaluation is left, or the mask is known already."""
        if self._max_evaluations is None:
            return np.ones(len(rows), dtype=np.bool_)
        left = state.evaluations[rows] < self._max_evaluations
        return left | np.array([masks[row].tobytes() in state.missed[row] for row in rows.tolist()], dtype=np.bool_)

    def evaluations_left(self, state: VectorState) -> NDArray[np.float64]:
        """Returns the fraction (K,) of the episodes' evaluations that are left, 1 without a limit."""
        if self._max_evaluations is None:
            return np.ones(len(state.evaluations))
        return 1 - state.evaluations / self._max_evaluations
