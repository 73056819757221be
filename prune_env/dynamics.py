"""What a set of heads does to an episode: evaluate it, keep it, undo it, or restore it head by head."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prune_env.actions import NO_HEADS, ActionRules, HeadSet
from prune_env.config import EnvConfig, check_threshold, exact
from prune_env.engine.evaluator import Evaluator
from prune_env.errors import ConfigError
from prune_env.layout import Layout
from prune_env.state import EnvState
from prune_env.thresholds import Threshold
from prune_env.types import full_mask


class Attempt(NamedTuple):
    """What one step tried and what came of it."""

    heads: HeadSet
    """The set that was tried."""
    correct: int
    """Sentences that are right without it; those of the present mask if the set is empty."""
    violation: bool
    """Whether that is fewer than the threshold asks for."""
    pruned: int
    """Heads that the present mask has lost by it."""
    correct_change: int
    """Correct sentences that the present mask has won by it."""


class Dynamics:
    """The transition of the MDP on `EnvState`; it holds nothing of an episode itself."""

    def __init__(
        self,
        evaluator: Evaluator,
        layout: Layout,
        rules: ActionRules,
        config: EnvConfig,
        diagnostics: Evaluator | None = None,
    ) -> None:
        """Fixes the model and its threshold; measures the full mask if the threshold is relative to it.

        Args:
            evaluator: Accuracy on the split that is searched on.
            layout: Where the heads lie.
            rules: What a step may prune, and in which order heads are restored.
            config: The settings.
            diagnostics: Triggered sentences labelled with the target; their accuracy is the LFR.

        Raises:
            ConfigError: Diagnostics of a model of another size.
            ThresholdError: A threshold that no mask can meet, or a drop to 0 or below.
        """
        if diagnostics is not None and (diagnostics.layers, diagnostics.heads) != (layout.layers, layout.heads):
            raise ConfigError(
                f"expected diagnostics of a model with {layout.layers} layers of {layout.heads} heads, "
                f"got {diagnostics.layers} of {diagnostics.heads}; use the evaluator's own model"
            )
        self._evaluator = evaluator
        self._sentences = evaluator.sentences
        self._layout = layout
        self._rules = rules
        self._config = config
        self._diagnostics = diagnostics
        self._threshold = Threshold.of(self._configured_threshold(), self._sentences, config.threshold_margin)

    def _configured_threshold(self) -> Fraction:
        if self._config.threshold is not None:
            return check_threshold(self._config.threshold)
        full = self._layout.flat(full_mask(self._layout.layers, self._layout.heads))
        drop = exact(self._config.max_accuracy_drop or 0.0, "max_accuracy_drop")
        return Fraction(self._measure(full), self._sentences) - drop

    def start(self, kept: NDArray[np.bool_], threshold: float | None = None) -> tuple[EnvState, Attempt]:
        """Returns the first state of an episode, its starting mask evaluated, and an empty attempt.

        Args:
            kept: bool (slots,), the starting mask.
            threshold: For this episode instead of the configured one.

        Raises:
            ThresholdError: A threshold outside (0, 1], or one that no mask can meet.
        """
        constraint = self._threshold
        if threshold is not None:
            constraint = Threshold.of(check_threshold(threshold), self._sentences, self._config.threshold_margin)
        state = EnvState(kept=kept, failed=np.zeros_like(kept), threshold=constraint)
        self._keep(state, kept, self._count(state, kept), int(np.count_nonzero(kept)))
        state.feasible = state.correct >= constraint.required
        return state, Attempt(NO_HEADS, state.correct, False, 0, 0)

    def attempt(self, state: EnvState, heads: HeadSet) -> Attempt:
        """Tries to prune a set: the mask changes if the threshold holds, or in part by backtracking."""
        if not heads.size:
            state.change = 0
            return Attempt(heads, state.correct, False, 0, 0)
        remaining, correct_before = state.remaining, state.correct
        trial = state.kept & ~heads.slots
        correct = self._count(state, trial)
        violation = correct < state.threshold.required
        if not violation:
            self._keep(state, trial, correct, remaining - heads.size)
        elif self._config.on_violation != "backtrack" or not self._backtrack(state, heads.slots, trial):
            state.failed |= heads.slots
        state.change = correct - correct_before
        return Attempt(heads, correct, violation, remaining - state.remaining, state.correct - correct_before)

    def _backtrack(self, state: EnvState, slots: NDArray[np.bool_], trial: NDArray[np.bool_]) -> bool:
        """Restores the heads of a set, most important first, until the threshold holds; False if it never does."""
        restored = np.zeros_like(slots)
        order = self._rules.most_important_first(slots)
        for number, slot in enumerate(order[:-1], start=1):
            trial[slot] = restored[slot] = True
            if trial.tobytes() not in state.counts and self.evaluations_left(state) <= 0:
                return False
            correct = self._count(state, trial)
            if correct >= state.threshold.required:
                self._keep(state, trial, correct, state.remaining - (len(order) - number))
                state.failed |= restored
                return True
        return False

    def _keep(self, state: EnvState, kept: NDArray[np.bool_], correct: int, remaining: int) -> None:
        state.kept, state.correct, state.remaining = kept, correct, remaining
        state.failed = np.zeros(kept.shape, dtype=np.bool_)
        if self._diagnostics is not None:
            state.lfr = float(self._diagnostics.accuracy(self._layout.mask(kept)[None])[0])

    def _count(self, state: EnvState, kept: NDArray[np.bool_]) -> int:
        """Returns the correct sentences of a mask, which makes it one of the episode's evaluations."""
        key = kept.tobytes()
        if key not in state.counts:
            state.counts[key] = self._measure(kept)
        return state.counts[key]

    def _measure(self, kept: NDArray[np.bool_]) -> int:
        return round(float(self._evaluator.accuracy(self._layout.mask(kept)[None])[0]) * self._sentences)

    def evaluations_left(self, state: EnvState) -> float:
        """Returns the fraction of the episode's evaluations that are left, 1 without a limit."""
        limit = self._config.max_evaluations
        return 1.0 if limit is None else 1 - len(state.counts) / limit
