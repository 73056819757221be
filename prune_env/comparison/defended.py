"""What becomes of a found mask when the defence goes on to its end: a diagnosis, by which nothing is chosen.

A comparison ends with a mask on the scoring model. A defence does not: the mask goes on the suspect's own encoder, with
a fresh head, and is held while that is fine-tuned on the clean data (`prune_env.defense.purify`). What is left of the
backdoor then is another number than what the masked scoring model shows, and the one that a user of the defence meets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from prune_env.defense import purify
from prune_env.types import HeadMask, mask_to_text
from prune_env.victims.diagnosis import Diagnosis, open_diagnosis
from prune_env.victims.judge import oracle_dev_lfr, voted_accuracy
from prune_env.victims.store import Victim
from prune_env.victims.task import Task


@dataclass(frozen=True, eq=False)
class Defences:
    """Defences of one victim, mask by mask; what was fine-tuned once is remembered.

    Attributes:
        task: The defender's task on the victim.
        victim: The same, for the judge: masks are judged on its triggered validation sentences, none on the test set.
        device: Where to compute.
    """

    task: Task
    victim: Victim
    device: str = "cpu"
    _known: dict[str, dict[str, Any]] = field(default_factory=dict, init=False, repr=False)

    def of(self, mask: HeadMask) -> dict[str, Any]:
        """Fine-tunes the suspect's encoder under a mask, by the protocol's own settings, and judges it in float32.

        With every head kept this is plain fine-tuning, whose model is the task's scoring model: nothing is trained.

        Args:
            mask: Heads to keep, bool (layers, heads).

        Returns:
            `accuracy`, on `certify`; `oracle_lfr`, the share of triggered validation sentences of other classes that
            are classified as the target; `unpruned_accuracy` and `unpruned_lfr`, the same with every head kept; all in
            [0, 1]. `precision` is the arithmetic of the fine-tuning.
        """
        unpruned = self._judged(np.ones_like(mask))
        training = self.task.protocol.training.resolved(self.device)
        return {
            **self._judged(mask),
            "unpruned_accuracy": unpruned["accuracy"],
            "unpruned_lfr": unpruned["oracle_lfr"],
            "precision": training.precision,
        }

    def _judged(self, mask: HeadMask) -> dict[str, Any]:
        key = mask_to_text(mask)
        if key not in self._known:
            training = self.task.protocol.training
            purified = purify(self.task, mask, training, device=self.device)
            models, tokenizer, length = purified.models, purified.tokenizer, training.max_length
            self._known[key] = {
                "accuracy": voted_accuracy(models, tokenizer, self.task.certify, length, self.device),
                "oracle_lfr": oracle_dev_lfr(models, tokenizer, self._diagnosis, length, self.device),
            }
        return self._known[key]

    @cached_property
    def _diagnosis(self) -> Diagnosis:
        return open_diagnosis(self.victim)
