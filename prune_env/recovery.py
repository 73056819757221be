"""Recovery: from a mask and a suspicious encoder to a purified model.

Plain recovery puts the mask on the suspect's own encoder, draws a fresh head and fine-tunes on the clean data, the mask
held. A method that recovers otherwise brings a `Recovery`, made of the same steps: `begin`, `fit`, `finish`. They count
the sentences that went through training, every stage of it, so that what a method costs stands beside what it gains.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prune_env.engine.device import resolve_device
from prune_env.engine.masking import apply_mask
from prune_env.engine.tokens import TokenizedSplit
from prune_env.errors import ConfigError
from prune_env.methods import Recovery
from prune_env.seeds import derive
from prune_env.types import HeadMask
from prune_env.victims.checkpoint import fresh_head
from prune_env.victims.task import OnStep, Task
from prune_env.victims.training import LossFunction, TrainingLog, cross_entropy, train
from prune_env.victims.training_config import TrainingConfig

Reference = Callable[[], PreTrainedModel]
"""Loads the clean pre-trained encoder that the suspect is said to come from: more than clean data."""


@dataclass(frozen=True)
class Job:
    """What a recovery works on.

    Attributes:
        task: What the defender has.
        mask: Heads to keep, (layers, heads).
        training: Settings of the final fine-tuning.
        device: Where to fine-tune.
        on_step: Called with (steps done, steps in all).
        members: Masks of an ensemble's members, (layers, heads) each; empty for one model.
        reference: The clean encoder, for methods of the regime "reference".
    """

    task: Task
    mask: HeadMask
    training: TrainingConfig
    device: str = "cpu"
    on_step: OnStep | None = None
    members: tuple[HeadMask, ...] = ()
    reference: Reference | None = None


@dataclass(frozen=True)
class Purified:
    """A purified model with its tokenizer, and the wall time of its making in seconds.

    Attributes:
        model: The model; of an ensemble, its first member.
        tokenizer: Of all members.
        seconds: Wall time.
        others: The ensemble's other members, which vote beside `model`.
        sentences: Sentences that went through training, over all stages, epochs and members; None if nobody counted.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    seconds: float
    others: tuple[PreTrainedModel, ...] = ()
    sentences: int | None = None

    @property
    def models(self) -> tuple[PreTrainedModel, ...]:
        """All members; one for every method but an ensemble."""
        return (self.model, *self.others)


@dataclass(frozen=True)
class Begun:
    """A model on its device, before its fine-tuning: what `fit` trains and `finish` hands out.

    Attributes:
        model: The model, trained in place.
        tokenizer: Its tokenizer.
        tokens: The clean training split.
        started: When it began, by `time.perf_counter`.
        logs: What each `fit` did so far.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    tokens: TokenizedSplit
    started: float
    logs: list[TrainingLog] = field(default_factory=list)


@dataclass(frozen=True)
class FineTuning:
    """Plain recovery."""

    def purify(self, job: Job) -> Purified:
        """With every head kept and the protocol's own settings this is the scoring model, which is returned."""
        if bool(job.mask.all()) and job.training == job.task.protocol.training:
            model = job.task.scoring_model()
            tokenizer = job.task.tokenizer(model)
            return Purified(model, tokenizer, job.task.build_seconds, sentences=job.task.training_sentences)
        begun = begin(job)
        fit(job, begun, cross_entropy(job.mask))
        return finish(job, begun)


PLAIN = FineTuning()


def begin(job: Job, encoder: PreTrainedModel | None = None) -> Begun:
    """Puts the job's mask and a fresh head, drawn by the defender's seed, on an encoder.

    Args:
        job: What is recovered.
        encoder: Another model than the suspect's own.
    """
    started = time.perf_counter()
    model = job.task.suspect.model() if encoder is None else encoder
    model.to(resolve_device(job.device))  # type: ignore[arg-type]  # transformers hides the signature
    tokenizer = job.task.suspect.tokenizer(model)
    fresh_head(model, derive(job.task.seed, "defender-head"))
    apply_mask(model, job.mask)
    return Begun(model, tokenizer, job.task.tokens("train", tokenizer), started)


def fit(
    job: Job,
    begun: Begun,
    loss: LossFunction,
    *,
    training: TrainingConfig | None = None,
    stream: str = "defender-training",
    on_step: OnStep | None = None,
) -> TrainingLog:
    """Fine-tunes in place, and notes in `begun.logs` what was done.

    Args:
        job: What is recovered.
        begun: Its model.
        loss: What to minimise; holds the mask out of the forward.
        training: Settings of a stage of its own; None takes the job's.
        stream: Names the random stream of order and dropout.
        on_step: Called with (steps done, steps in all); None takes the job's.

    Returns:
        What this stage did.
    """
    seed = derive(job.task.seed, stream)
    log = train(begun.model, begun.tokens, training or job.training, seed, loss=loss, on_step=on_step or job.on_step)
    begun.logs.append(log)
    return log


def finish(job: Job, begun: Begun) -> Purified:
    """Hands the model out, on the processor, with the pruned heads' output columns at zero."""
    # Training never moves a skipped head's output columns; zeroed again all the same, since this is the export.
    apply_mask(begun.model, job.mask)
    seconds, sentences = time.perf_counter() - begun.started, sum(log.sentences for log in begun.logs)
    return Purified(begun.model.cpu(), begun.tokenizer, seconds, sentences=sentences)


def settings_of(recovery: Recovery) -> dict[str, Any]:
    """Returns a recovery's name and settings as JSON values, for a record's config.

    Raises:
        ConfigError: It is no dataclass, so that nothing says what decides it.
    """
    if not hasattr(recovery, "__dataclass_fields__"):
        raise ConfigError(f"expected the recovery {type(recovery).__name__} to be a frozen dataclass; make it one")
    return {"name": type(recovery).__name__, **asdict(recovery)}  # type: ignore[call-overload]
