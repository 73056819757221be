"""The states of K episodes in a few arrays; `prune_env.state` has the one of a single episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
"""Numbers of sub-environments, rising."""


class Start(NamedTuple):
    """How an episode starts: a row of `VectorState`, in columns that can be written into many rows at once."""

    kept: NDArray[np.bool_]
    """bool (slots,), the starting mask."""
    numbers: NDArray[np.int64]
    """int64 (6, 1)."""
    floats: NDArray[np.float64]
    """float64 (2, 1)."""
    feasible: bool
    """Whether the mask meets the threshold."""


@dataclass(slots=True, eq=False)
class VectorState:
    """One row an episode; `prune_env.state.EnvState` says what the fields mean.

    `required` to `pruned` are the rows of `numbers`, `threshold` and `lfr` those of `floats`: all are written in place.

    Attributes:
        kept: bool (K, slots).
        failed: bool (K, slots).
        feasible: bool (K,).
        missed: For each episode the correct sentences of the masks that missed the threshold, by the masks' bytes.
            Masks only shrink, so that no other can be asked for twice.
        numbers: int64 (6, K).
        required: Correct sentences that the threshold asks for.
        correct: Correct sentences of the kept mask.
        change: What the last set that was tried did to them.
        steps: Steps taken.
        evaluations: Distinct masks asked for.
        pruned: Heads that the kept mask lacks.
        floats: float64 (2, K).
        threshold: The constraint as an accuracy.
        lfr: Label flip rate of the kept mask, 0 without diagnostics.
    """

    kept: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    feasible: NDArray[np.bool_]
    missed: list[dict[bytes, int]]
    numbers: NDArray[np.int64]
    required: NDArray[np.int64]
    correct: NDArray[np.int64]
    change: NDArray[np.int64]
    steps: NDArray[np.int64]
    evaluations: NDArray[np.int64]
    pruned: NDArray[np.int64]
    floats: NDArray[np.float64]
    threshold: NDArray[np.float64]
    lfr: NDArray[np.float64]

    @classmethod
    def empty(cls, count: int, slots: int) -> VectorState:
        """Returns room for K episodes, none of them started."""
        kept, failed = np.zeros((2, count, slots), dtype=np.bool_)
        numbers, floats = np.zeros((6, count), dtype=np.int64), np.zeros((2, count))
        required, correct, change, steps, evaluations, pruned = numbers
        threshold, lfr = floats
        return cls(
            kept=kept,
            failed=failed,
            feasible=np.zeros(count, dtype=np.bool_),
            missed=[{} for _ in range(count)],
            numbers=numbers,
            required=required,
            correct=correct,
            change=change,
            steps=steps,
            evaluations=evaluations,
            pruned=pruned,
            floats=floats,
            threshold=threshold,
            lfr=lfr,
        )

    def restart(self, rows: Rows, start: Start) -> None:
        """Begins new episodes in some rows."""
        self.kept[rows] = start.kept
        self.failed[rows] = False
        self.feasible[rows] = start.feasible
        self.numbers[:, rows] = start.numbers
        self.floats[:, rows] = start.floats
        for row in rows.tolist():
            if self.missed[row]:
                self.missed[row] = {}
