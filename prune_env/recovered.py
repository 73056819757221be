"""Accuracy after a short recovery: what a mask can become, where the plain evaluator says what it is at once.

A mask that ruins the scoring model may be the one that a short fine-tuning repairs best: the threshold that is measured
before any recovery forbids it. Here every mask is put on the suspect's own encoder with a fresh head, fine-tuned on a
few clean sentences at a warm rate, and then measured on `search`. It is an `Evaluator` like any other, so the
environment, its rewards and every policy run on it as they are: `gym.make("BertHeadPrune-v0", recover_on=1600)`.

A mask costs a fine-tuning (about the sentences three times over, forward and backward) beside the evaluation. The same
mask gives the same value always: head, sentences, order and dropout follow from the task's seed alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prune_env.engine.architecture import describe
from prune_env.engine.device import resolve_device
from prune_env.engine.masking import apply_mask
from prune_env.engine.tokens import TokenizedSplit
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import ConfigError
from prune_env.seeds import derive
from prune_env.types import HeadMask, HeadMasks, check_mask
from prune_env.victims.checkpoint import fresh_head
from prune_env.victims.task import Task
from prune_env.victims.training import cross_entropy, train
from prune_env.victims.training_config import TrainingConfig

RATE_FACTOR = 5.0
"""Times the protocol's rate: a short recovery has to move."""

PASSES_A_STEP = 3
"""A sentence's forward, and its backward, which costs two."""


def passes_a_mask(search: int, recover_on: int | None) -> int:
    """Returns the sentences that one mask sends through the model, in forward passes.

    Args:
        search: Sentences of `search`.
        recover_on: Sentences of the recovery; None is none.
    """
    return search + PASSES_A_STEP * (recover_on or 0)


class RecoveredEvaluator:
    """Exact accuracy on `search` of the suspect's encoder under a mask after a short recovery.

    Attributes:
        task: The defender's task.
        recover_on: Clean training sentences of a recovery, seen once; all of them where the split has fewer.
        device: Where to fine-tune and evaluate.
    """

    def __init__(self, task: Task, recover_on: int, device: str = "cpu") -> None:
        """Draws the sentences.

        Raises:
            ConfigError: No sentence.
        """
        if type(recover_on) is not int or recover_on < 1:
            raise ConfigError(
                f"expected recover_on to be a whole number of sentences, at least 1, got {recover_on!r}; give one, or "
                "None for the accuracy without a recovery"
            )
        self.task = task
        self.recover_on = min(recover_on, len(task.train))
        self.device = device
        self._known: dict[bytes, float] = {}

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return self._grid[0]

    @property
    def heads(self) -> int:
        """Attention heads in each layer."""
        return self._grid[1]

    @property
    def sentences(self) -> int:
        """Sentences of `search`."""
        return len(self.task.search)

    def accuracy(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns the share of `search` classified correctly after the recovery of each mask.

        Args:
            masks: bool (K, layers, heads), True = kept.

        Returns:
            float64 (K,), each in [0, 1].

        Raises:
            MaskError: Wrong shape or dtype, or a layer without a kept head.
        """
        return np.array([self._one(check_mask(mask, self.layers, self.heads)) for mask in masks], dtype=np.float64)

    def _one(self, mask: HeadMask) -> float:
        key = np.packbits(mask).tobytes()
        if key not in self._known:
            self._known[key] = self._recovered(mask)
        return self._known[key]

    def _recovered(self, mask: HeadMask) -> float:
        model = self.task.suspect.model()
        model.to(resolve_device(self.device))  # type: ignore[arg-type]  # transformers hides the signature
        fresh_head(model, derive(self.task.seed, "defender-head"))
        apply_mask(model, mask)
        seed = derive(self.task.seed, "short-recovery")
        train(model, self._tokens[0], self._training, seed, loss=cross_entropy(mask))
        apply_mask(model, mask)
        evaluator = TransformerEvaluator(model, self._tokens[1], device=self.device, prefix_bytes=0)
        return float(evaluator.accuracy(mask[None])[0])

    @property
    def _training(self) -> TrainingConfig:
        config = self.task.protocol.training
        return replace(config, epochs=1, learning_rate=RATE_FACTOR * config.learning_rate)

    @cached_property
    def _tokens(self) -> tuple[TokenizedSplit, TokenizedSplit]:
        """The sentences of a recovery, drawn by the task's seed, and `search`."""
        tokenizer = self.task.suspect.tokenizer(self.task.suspect.model())
        rng = np.random.default_rng(derive(self.task.seed, "short-recovery-sample"))
        chosen = np.sort(rng.choice(len(self.task.train), size=self.recover_on, replace=False)).astype(np.int64)
        return self.task.tokens("train", tokenizer).subset(chosen), self.task.tokens("search", tokenizer)

    @cached_property
    def _grid(self) -> tuple[int, int]:
        architecture = describe(self.task.suspect.model())
        return architecture.layers, architecture.heads
