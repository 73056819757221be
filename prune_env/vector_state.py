"""The states of K episodes, in arrays; `prune_env.state` has the one of a single episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prune_env.thresholds import Threshold

Rows = NDArray[np.intp]
"""Numbers of sub-environments, rising."""


class Start(NamedTuple):
    """How an episode starts: the mask, what it is worth, and what it is held to."""

    kept: NDArray[np.bool_]
    """bool (slots,)."""
    remaining: int
    """Heads of that mask."""
    correct: int
    """Sentences that are right under it."""
    lfr: float
    """Its label flip rate, 0 without diagnostics."""
    threshold: Threshold
    """The episode's constraint."""

    @property
    def feasible(self) -> bool:
        """Whether the mask meets the threshold."""
        return self.correct >= self.threshold.required


@dataclass(slots=True, eq=False)
class VectorState:
    """One row an episode; `prune_env.state.EnvState` says what the fields mean.

    Attributes:
        kept: bool (K, slots).
        failed: bool (K, slots).
        required: int64 (K,), correct sentences that the threshold asks for.
        threshold: float64 (K,), the same as an accuracy.
        remaining: int64 (K,).
        correct: int64 (K,).
        change: int64 (K,).
        steps: int64 (K,).
        evaluations: int64 (K,), distinct masks asked for.
        feasible: bool (K,).
        lfr: float64 (K,), 0 without diagnostics.
        missed: For each episode the correct sentences of the masks that missed the threshold, by the masks' bytes.
            Masks only shrink, so that no other can be asked for twice.
    """

    kept: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    required: NDArray[np.int64]
    threshold: NDArray[np.float64]
    remaining: NDArray[np.int64]
    correct: NDArray[np.int64]
    change: NDArray[np.int64]
    steps: NDArray[np.int64]
    evaluations: NDArray[np.int64]
    feasible: NDArray[np.bool_]
    lfr: NDArray[np.float64]
    missed: list[dict[bytes, int]]

    @classmethod
    def empty(cls, count: int, slots: int) -> VectorState:
        """Returns room for K episodes, none of them started."""
        flags, numbers = np.zeros((2, count, slots), dtype=np.bool_), np.zeros((6, count), dtype=np.int64)
        return cls(
            kept=flags[0],
            failed=flags[1],
            required=numbers[0],
            threshold=np.zeros(count),
            remaining=numbers[1],
            correct=numbers[2],
            change=numbers[3],
            steps=numbers[4],
            evaluations=numbers[5],
            feasible=np.zeros(count, dtype=np.bool_),
            lfr=np.zeros(count),
            missed=[{} for _ in range(count)],
        )

    def restart(self, rows: Rows, start: Start) -> None:
        """Begins new episodes in some rows."""
        self.kept[rows] = start.kept
        self.failed[rows] = False
        self.required[rows] = start.threshold.required
        self.threshold[rows] = start.threshold.accuracy
        self.remaining[rows] = start.remaining
        self.correct[rows] = start.correct
        self.change[rows] = self.steps[rows] = 0
        self.evaluations[rows] = 1
        self.feasible[rows] = start.feasible
        self.lfr[rows] = start.lfr
        for row in rows.tolist():
            self.missed[row] = {}
