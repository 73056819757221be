"""A budget of evaluations: an evaluator that counts the distinct masks it is asked for, and stops when they are spent.

Whoever is compared on a victim looks at it through one of these, training and tuning included: what was asked for is
paid for, and the best mask that was seen is what it found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prune_env.agents.objective import Objective
from prune_env.config import EnvConfig
from prune_env.engine.evaluator import Evaluator
from prune_env.errors import BudgetSpentError, ConfigError
from prune_env.rewards import Reward
from prune_env.types import HeadMask, HeadMasks, check_masks, full_mask


class Improvement(NamedTuple):
    """A mask that was better than all before it."""

    evaluation: int
    """Which evaluation it was, from 1."""
    mask: HeadMask
    """(layers, heads); not to be written to."""
    value: float
    """Its value on the split that is searched on."""


class Budget:
    """An evaluator with a limit; implements `Evaluator`.

    The full mask is the first evaluation, as it is an episode's. A mask that is known costs nothing. Of a batch that
    asks for more new masks than are left, those that fit are evaluated, in order, before it is refused.

    Attributes:
        config: The settings of the environment whose constraint a mask has to meet.
        objective: What masks are worth.
        limit: Evaluations in all.
        patience: Known masks that may be asked for in a row; None for any number.
        used: Evaluations so far.
        improvements: Each mask that was better than all before it; the first is the full one.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        config: EnvConfig,
        limit: int,
        *,
        reward: Reward | None = None,
        patience: int | None = None,
    ) -> None:
        """Evaluates the full mask.

        Args:
            evaluator: Accuracy on the split that is searched on.
            config: Its constraint decides what a mask is worth.
            limit: Evaluations in all, at least 1.
            reward: `SparsityReward()` if None.
            patience: Known masks that may be asked for in a row; None for any number. It ends a search that has seen
                all it will ever ask for.

        Raises:
            ConfigError: A limit or patience below 1.
        """
        if limit < 1 or (patience is not None and patience < 1):
            raise ConfigError(f"expected a budget and patience of at least 1, got {limit} and {patience}")
        self._evaluator, self._idle = evaluator, 0
        self.config, self.limit, self.patience = config, limit, patience
        self.objective = Objective.of(evaluator, config, reward)
        self._known: dict[bytes, tuple[int, float]] = {}
        self.improvements: list[Improvement] = []
        self._learn(full_mask(evaluator.layers, evaluator.heads)[None])

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return self._evaluator.layers

    @property
    def heads(self) -> int:
        """Heads in each layer."""
        return self._evaluator.heads

    @property
    def sentences(self) -> int:
        """Sentences in the split."""
        return self._evaluator.sentences

    @property
    def used(self) -> int:
        """Distinct masks asked for."""
        return len(self._known)

    @property
    def spent(self) -> bool:
        """Whether no new mask is left to be asked for."""
        return self.used >= self.limit

    @property
    def best(self) -> Improvement:
        """The best mask that was seen, the first of equals."""
        return self.improvements[-1]

    @property
    def curve(self) -> NDArray[np.float64]:
        """The best value after each evaluation so far, float64 (used,); it never falls."""
        values = np.empty(self.used)
        for found in self.improvements:
            values[found.evaluation - 1 :] = found.value
        return values

    def knows(self, mask: HeadMask) -> bool:
        """Tells whether a mask was asked for before."""
        return mask.tobytes() in self._known

    def counts(self, masks: HeadMasks) -> NDArray[np.int64]:
        """Returns the sentences that are right under each mask of (K, layers, heads), int64 (K,).

        Raises:
            MaskError: An invalid mask.
            BudgetSpentError: A new mask after the last evaluation, or too many known ones in a row.
        """
        return np.array([count for count, _ in self._ask(masks)], dtype=np.int64)

    def accuracy(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns the share of sentences that are right under each mask, float64 (K,); raises as `counts` does."""
        return self.counts(masks) / self.sentences

    def values(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns what each mask is worth, float64 (K,); raises as `counts` does."""
        return np.array([value for _, value in self._ask(masks)], dtype=np.float64)

    def guide(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns values with accuracy to tell equal ones apart, by less than a head, float64 (K,)."""
        share = 2 * self.layers * self.heads * self.sentences
        return np.array([value + count / share for count, value in self._ask(masks)], dtype=np.float64)

    def _ask(self, masks: HeadMasks) -> list[tuple[int, float]]:
        if masks.dtype != np.bool_ or masks.shape[1:] != (self.layers, self.heads):
            check_masks(masks, self.layers, self.heads)  # known masks were checked when they were new
        keys = [mask.tobytes() for mask in masks]
        new = {key: row for row, key in reversed(list(enumerate(keys))) if key not in self._known}
        rows = sorted(new.values())
        fitting = rows[: self.limit - self.used]
        if fitting:
            self._learn(masks[fitting])
        if len(fitting) < len(rows):
            raise BudgetSpentError(f"expected at most {self.limit} evaluations, got one more; allow a larger budget")
        self._wait(len(keys), bool(rows))
        return [self._known[key] for key in keys]

    def _wait(self, asked: int, news: bool) -> None:
        self._idle = 0 if news else self._idle + asked
        if self.patience is not None and self._idle > self.patience:
            raise BudgetSpentError(f"expected a new mask, got {self._idle} known ones in a row; there may be no others")

    def _learn(self, masks: HeadMasks) -> None:
        counts = np.rint(self._evaluator.accuracy(masks) * self.sentences).astype(np.int64)
        values = self.objective.values(masks, counts)
        for mask, count, value in zip(masks, counts.tolist(), values.tolist(), strict=True):
            self._known[mask.tobytes()] = (count, value)
            if not self.improvements or value > self.best.value:
                self.improvements.append(Improvement(self.used, mask.copy(), value))
