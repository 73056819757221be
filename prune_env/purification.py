"""Purifying any checkpoint with one's own clean data: no attack known, nothing to diagnose, no certificate.

The same steps as a benchmark's cell: a scoring model, a mask that holds the accuracy on clean validation data, the
mask on the suspicious encoder, clean fine-tuning. What is missing is the judge: only clean accuracy can be measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from transformers import PreTrainedModel

from prune_env.defense import defend, training_for
from prune_env.engine.architecture import describe
from prune_env.engine.device import resolve_device
from prune_env.errors import CheckpointError, ConfigError, DataError
from prune_env.methods import Method, get_method
from prune_env.recovery import Purified
from prune_env.scoring import scoring_of
from prune_env.search import Found, Search
from prune_env.types import full_mask
from prune_env.victims.checkpoint import resolve_backbone
from prune_env.victims.data import Sentences, read_sentences
from prune_env.victims.judge import voted_accuracy
from prune_env.victims.protocols import CleanData, Protocol, own_data
from prune_env.victims.store import Suspect
from prune_env.victims.task import Task, build_task
from prune_env.victims.training_config import TrainingConfig

MAX_ACCURACY_DROP = 0.02
"""What a mask may cost on clean data where nothing else is asked for."""

OnStep = Callable[[str, int, int], None]
"""(stage, steps done, steps in all)"""


@dataclass(frozen=True)
class Order:
    """What a user asks for.

    Attributes:
        model: A checkpoint folder or a Hugging Face model id: BERT, RoBERTa or DistilBERT.
        train: Clean labelled sentences (.tsv, .csv, .jsonl, a saved dataset).
        valid: More of them, on which masks are searched.
        method: Registered name, or a method of one's own, such as a trained agent's.
        search: Constraint, device, dtype.
        training: Fine-tuning, of the scoring model and of the purified one.
        labels: Number of classes; None takes the checkpoint's.
        seed: Splits, heads, order, dropout.
    """

    model: str
    train: Path
    valid: Path
    method: str | Method = "gradient"
    search: Search = field(default_factory=lambda: Search({"max_accuracy_drop": MAX_ACCURACY_DROP}))
    training: TrainingConfig = field(default_factory=TrainingConfig)
    labels: int | None = None
    seed: int = 11


@dataclass(frozen=True)
class Purification:
    """A purified model and how it came about; accuracies are on `certify`, which no search has seen.

    Attributes:
        order: What was asked for.
        name: The checkpoint's name, without this machine's paths.
        task: The clean splits and the scoring model.
        method: Whose mask.
        found: The mask and its search.
        training: The final fine-tuning's settings.
        purified: The model, or an ensemble's members.
        published: Accuracy of the checkpoint with its own head; None if it came without one.
        fine_tuned: Accuracy after plain fine-tuning, every head kept: the scoring model's.
        accuracy: Accuracy of the purified model.
    """

    order: Order
    name: str
    task: Task
    method: Method
    found: Found
    training: TrainingConfig
    purified: Purified
    published: float | None
    fine_tuned: float
    accuracy: float


def purify_checkpoint(order: Order, on_step: OnStep | None = None) -> Purification:
    """Purifies a checkpoint.

    Args:
        order: What is asked for.
        on_step: Called with (stage, steps done, steps in all) while models are fine-tuned.

    Raises:
        PruneEnvError: The order does not fit itself, the model or the data; before any training.
    """
    method = order.method if isinstance(order.method, Method) else get_method(order.method)
    if method.regime != "clean_only":
        raise ConfigError(
            f"method {method.name!r} needs {method.regime} information, and here is only clean data; choose another"
        )
    resolve_device(order.search.device)
    suspect, clean, training = prepare(order)
    method.check_victim(suspect.sha256, suspect.name)
    protocol = Protocol("own-data", "own-data", None, len(clean.certify), training)
    device = order.search.device
    task = build_task(
        suspect, protocol, order.seed, clean=clean, device=device, on_step=_stage("scoring model", on_step)
    )
    final = training_for(training, None, method)
    found, purified = defend(task, method, order.search, final, on_step=_stage("purified model", on_step))
    certify = scoring_of(task, device, order.search.dtype).evaluator("certify")
    return Purification(
        order=order,
        name=suspect.name,
        task=task,
        method=method,
        found=found,
        training=final,
        purified=purified,
        published=_published(suspect, task, device),
        fine_tuned=float(certify.accuracy(full_mask(certify.layers, certify.heads)[None])[0]),
        accuracy=_accuracy(purified.models, task, device),
    )


def prepare(order: Order) -> tuple[Suspect, CleanData, TrainingConfig]:
    """Opens checkpoint and data, and fits the settings to both.

    Raises:
        CheckpointError: A checkpoint that is refused.
        DataError: Data that cannot be read, does not fit the classes, or is too little.
    """
    folder = Path(resolve_backbone(order.model))
    name = order.model if not Path(order.model).expanduser().exists() else folder.resolve().name
    suspect = Suspect.at(folder, _labels(folder) if order.labels is None else order.labels, name)
    model = suspect.model()
    suspect.tokenizer(model)
    # A model with fewer positions than the default length cannot read more tokens.
    training = replace(order.training, max_length=min(order.training.max_length, describe(model).positions))
    train, valid = (_read(path, suspect.labels) for path in (order.train, order.valid))
    return suspect, own_data(train, valid, order.seed), training


def _labels(folder: Path) -> int:
    """Returns the number of classes that a checkpoint's config names; 2, as transformers, where it names none."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = config.get("id2label")
    count = len(names) if isinstance(names, dict) else config.get("num_labels", 2)
    if not isinstance(count, int) or count < 2:
        raise CheckpointError(f"expected at least 2 classes in {folder / 'config.json'}, got {count!r}; give --labels")
    return count


def _read(path: Path, labels: int) -> Sentences:
    sentences = read_sentences(path, labels)
    missing = sorted(set(range(labels)) - set(sentences.labels))
    if missing:
        raise DataError(
            f"expected sentences of each of the model's {labels} classes in {path}, none is of class {missing[0]}; "
            "add some, or give --labels"
        )
    return sentences


def _published(suspect: Suspect, task: Task, device: str) -> float | None:
    try:
        model = suspect.model(with_head=True)
    except CheckpointError:
        # The encoder was loaded before: what is missing or of another shape is the head.
        return None
    return _accuracy([model], task, device)


def _accuracy(models: Sequence[PreTrainedModel], task: Task, device: str) -> float:
    tokenizer, length = task.tokenizer(models[0]), task.protocol.training.max_length
    return voted_accuracy(models, tokenizer, task.certify, length, device)


def _stage(name: str, on_step: OnStep | None) -> Callable[[int, int], None] | None:
    return None if on_step is None else lambda done, total: on_step(name, done, total)
