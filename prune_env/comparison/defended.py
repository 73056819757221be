"""What becomes of a found mask when the defence goes on to its end: a diagnosis, by which nothing is chosen.

A comparison ends with a mask on the scoring model. A defence does not: the mask goes on the suspect's own encoder, with
a fresh head, and is held while that is fine-tuned on the clean data (`prune_env.defense.purify`). What is left of the
backdoor then is another number than what the masked scoring model shows, and the one that a user of the defence meets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prune_env.defense import purify
from prune_env.types import HeadMask, mask_to_text
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.judge import oracle_dev_lfr, voted_accuracy
from prune_env.victims.store import Victim
from prune_env.victims.task import Task


@dataclass(frozen=True, eq=False)
class Defences:
    """Defences of one victim, mask by mask; each mask is fine-tuned once.

    Attributes:
        task: The defender's task on the victim.
        victim: The same, for its triggered validation sentences; the test set is not read.
        device: Where to compute.
    """

    task: Task
    victim: Victim
    device: str = "cpu"
    _known: dict[str, dict[str, float]] = field(default_factory=dict)

    def of(self, mask: HeadMask) -> dict[str, float]:
        """Fine-tunes the suspect's encoder under a mask, by the protocol's own settings, and judges it in float32.

        With every head kept this is plain fine-tuning, whose model is the task's scoring model: nothing is trained.

        Args:
            mask: Heads to keep, bool (layers, heads).

        Returns:
            `accuracy`, on `certify`, and `oracle_lfr`, the share of triggered validation sentences of other classes
            that are classified as the target; both in [0, 1].
        """
        key = mask_to_text(mask)
        if key not in self._known:
            self._known[key] = self._judged(mask)
        return self._known[key]

    def _judged(self, mask: HeadMask) -> dict[str, float]:
        training = self.task.protocol.training
        purified = purify(self.task, mask, training, device=self.device)
        models, tokenizer, length = purified.models, purified.tokenizer, training.max_length
        return {
            "accuracy": voted_accuracy(models, tokenizer, self.task.certify, length, self.device),
            "oracle_lfr": oracle_dev_lfr(models, tokenizer, open_diagnosis(self.victim), length, self.device),
        }
