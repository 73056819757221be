"""What masks are worth after fine-tuning: a stack of masks is trained and judged at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.engine.tokens import TokenizedSplit, tokenize
from prune_env.metrics import accuracy, auc, label_flip_rate
from prune_env.scoring import Scoring, scoring_of
from prune_env.seeds import derive
from prune_env.types import HeadMasks
from prune_env.victims.checkpoint import fresh_head
from prune_env.victims.diagnosis import Diagnosis, open_diagnosis
from prune_env.victims.model_stack import ModelStack
from prune_env.victims.parallel_training import stack_logits, train_stack
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import Victim, open_victim
from prune_env.victims.task import Task, build_task


@dataclass(frozen=True)
class Judged:
    """Rates of one fine-tuned mask, as `prune_env.victims.judge` has them."""

    acc: float
    lfr: float
    auc: float


@dataclass(frozen=True)
class Case:
    """A victim and a defender's task on it, opened once a process.

    Attributes:
        victim: The victim.
        diagnosis: The judge's sentences.
        task: The defender's task.
    """

    victim: Victim
    diagnosis: Diagnosis
    task: Task

    @property
    def scoring(self) -> Scoring:
        """The task's scoring model."""
        return scoring_of(self.task)


@lru_cache(maxsize=2)
def open_case(victim: str, seed: int) -> Case:
    """Opens a victim, and the task of a defender's seed by the victim's own protocol, which may have to be built."""
    opened = open_victim(victim)
    task = build_task(opened.suspect, get_protocol(opened.manifest.protocol), seed)
    return Case(opened, open_diagnosis(opened), task)


def fine_tune(case: Case, masks: HeadMasks, stream: str) -> tuple[ModelStack, float]:
    """Fine-tunes every mask as plain recovery does: the suspect's encoder, a fresh head, the clean data, the mask held.

    Args:
        case: What is defended.
        masks: bool (K, layers, heads).
        stream: Names the stack's dropout.

    Returns:
        The stack and its CPU time in seconds. Head and order of the sentences are those of `prune_env.recovery` with
        the task's seed; dropout is another draw.
    """
    model = case.task.suspect.model()
    tokens = case.task.tokens("train", case.task.suspect.tokenizer(model))
    fresh_head(model, derive(case.task.seed, "defender-head"))
    stack = ModelStack(model, masks)
    seed = derive(case.task.seed, "defender-training")
    log = train_stack(stack, tokens, case.task.protocol.training, seed, stream=stream)
    return stack, log.cpu_seconds


def judge_stack(stack: ModelStack, case: Case) -> list[Judged]:
    """Judges every copy on all test sentences; the same rates as `prune_env.victims.judge.judge` of each."""
    diagnosis = case.diagnosis
    clean, triggered = (_tokens(case, name) for name in ("clean_test", "triggered_test"))
    predicted = stack_logits(stack, clean).argmax(2)
    logits = stack_logits(stack, triggered).astype(np.float64)
    scores, fooled = target_log_odds(logits, diagnosis.target), logits.argmax(2)
    is_target = triggered.labels == diagnosis.target
    return [
        Judged(
            acc=accuracy(predicted[number], clean.labels),
            lfr=label_flip_rate(fooled[number], triggered.labels, diagnosis.target),
            auc=auc(scores[number, is_target], scores[number, ~is_target]),
        )
        for number in range(len(stack))
    ]


def target_log_odds(logits: NDArray[np.float64], target: int) -> NDArray[np.float32]:
    """Returns the target's log-odds (K, N) from logits (K, N, labels)."""
    others = np.delete(logits, target, axis=2)
    peak = others.max(axis=2)
    rest = peak + np.log(np.exp(others - peak[:, :, None]).sum(axis=2))
    odds: NDArray[np.float32] = (logits[:, :, target] - rest).astype(np.float32)
    return odds


def settings_of(case: Case) -> dict[str, Any]:
    """Returns what the outcomes depend on beside masks and seed, as JSON values."""
    return {"victim_sha256": case.victim.manifest.sha256, "protocol": case.task.protocol.to_json()}


def _tokens(case: Case, split: str) -> TokenizedSplit:
    sentences = getattr(case.diagnosis, split)
    length = case.task.protocol.training.max_length
    return tokenize(case.scoring.tokenizer, sentences.texts, sentences.labels, length)
