"""Everything that changes while an episode runs, in one object that tree search can copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.thresholds import Threshold


@dataclass(slots=True, eq=False)
class EnvState:
    """The state of one episode, the random generator included: the same actions from it give the same future.

    Attributes:
        kept: bool (slots,), heads that are there.
        failed: bool (slots,), heads of sets that missed the threshold on top of this mask.
        threshold: The episode's constraint.
        counts: Correct sentences of every mask asked for in this episode, by the bytes of `kept`.
        remaining: Heads of the kept mask.
        correct: Correct sentences of the kept mask.
        change: Correct sentences the last set that was tried won (lost, if negative), 0 after a no-op.
        steps: Steps taken.
        feasible: Whether the starting mask meets it.
        over: Whether the episode has ended.
        lfr: LFR of the kept mask where diagnostics are on, None otherwise.
        generator: State of the environment's random generator; None inside a running environment.
    """

    kept: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    threshold: Threshold
    counts: dict[bytes, int] = field(default_factory=dict)
    remaining: int = 0
    correct: int = 0
    change: int = 0
    steps: int = 0
    feasible: bool = False
    over: bool = False
    lfr: float | None = None
    generator: Mapping[str, Any] | None = None

    def copy(self, generator: Mapping[str, Any] | None) -> EnvState:
        """Returns a state that shares nothing mutable with this one."""
        return replace(
            self, kept=self.kept.copy(), failed=self.failed.copy(), counts=self.counts.copy(), generator=generator
        )
