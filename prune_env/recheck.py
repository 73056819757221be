"""What a record says beyond its masks' accuracies, checked: judged bits, floor, the search's accounts, the refit.

Sentences' bits are checked for agreement with the rates beside them and with the victim's own test sentences; that a
fine-tuning really gave those bits shows only when it is done again: `refit`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prune_env.defense import purify, training_for
from prune_env.errors import RecordError
from prune_env.methods import get_method
from prune_env.records import Record, bits_from_text, cell_key
from prune_env.recovery import Purified, Reference, settings_of
from prune_env.scoring import Scoring
from prune_env.search import NO_CONSTRAINT, best_of, members_of
from prune_env.types import full_mask, mask_from_text, mask_to_text
from prune_env.victims.diagnosis import Diagnosis
from prune_env.victims.judge import judge, oracle_dev_lfr, voted_accuracy
from prune_env.victims.task import Task
from prune_env.victims.training_config import TrainingConfig

REFITTED = ("ACC", "LFR", "AUC")

ROUNDING = 1e-9
"""By which a rate and its text may differ."""


@dataclass(frozen=True)
class Check:
    """One value of a record, and what it should be.

    Attributes:
        what: The value in words.
        recorded: What the record says; rates in [0, 1].
        found: What it should be.
        sentences: Of the split it was measured on, of which two may differ across machines; None: nothing may differ.
    """

    what: str
    recorded: float | str | None
    found: float | str | None
    sentences: int | None = None

    def holds(self, tolerated: int = 0) -> bool:
        """Whether both are equal, but for so many sentences of the split."""
        if isinstance(self.recorded, str | None) or isinstance(self.found, str | None):
            return self.recorded == self.found
        allowed = ROUNDING + (0.0 if self.sentences is None else tolerated / self.sentences)
        return abs(self.recorded - self.found) <= allowed

    def __str__(self) -> str:
        """Returns the difference in words."""
        return f"{self.what} is {_shown(self.found)}, recorded is {_shown(self.recorded)}"


def judged(record: Record, diagnosis: Diagnosis | None) -> Iterator[Check]:
    """Yields ACC and LFR from the recorded bits; with a diagnosis, each class's recall and the numbers of sentences."""
    correct, flipped = bits_from_text(record.correct), bits_from_text(record.flipped)
    yield Check("ACC", record.acc, float(correct.mean()) if len(correct) else None)
    yield Check("LFR", record.lfr, float(flipped.mean()) if len(flipped) else None)
    if diagnosis is None:
        return
    labels = np.array(diagnosis.clean_test.labels)
    triggered = sum(label != diagnosis.target for label in diagnosis.triggered_test.labels)
    yield Check("the number of clean test sentences", len(correct), len(labels))
    yield Check("the number of triggered non-target sentences", len(flipped), triggered)
    if len(correct) == len(labels):
        recalls = {str(label): float(correct[labels == label].mean()) for label in np.unique(labels)}
        for name in sorted(recalls | record.acc_by_class):
            yield Check(f"ACC of class {name}", record.acc_by_class.get(name), recalls.get(name))


def floor(record: Record, others: Mapping[str, Record]) -> list[Check]:
    """Returns the floor against the twin's record of the same cell; [] for a twin and where there is no such record."""
    twin = others.get(cell_key(record.victim_sha256, "twin", record.method, record.config, record.seed))
    if record.role != "victim" or twin is None:
        return []
    return [Check("floor LFR", record.floor_lfr, twin.lfr), Check("floor ACC", record.floor_acc, twin.acc)]


def searched(record: Record, scoring: Scoring) -> Iterator[Check]:
    """Yields the search's accounts: evaluations, sentences and final mask by the trace, and the threshold it held."""
    search = record.config["search"]
    evaluator = scoring.recovered(search.get("recover_on"))
    full = mask_to_text(full_mask(evaluator.layers, evaluator.heads))
    last: dict[str, Any] = record.trace[-1] if record.trace else {"mask": full, "evaluations": 0}
    chosen = best_of(record.trace) if search.get("best") else last
    yield Check("the mask at the end of the trace", record.mask, chosen["mask"])
    yield Check("evaluations", record.evaluations, last["evaluations"])
    counts = [step["evaluations"] for step in record.trace]
    tried = {full, *(step[name] for step in record.trace for name in ("attempted", "mask"))}
    # Backtracking and dropped heads try more masks than a trace shows, never fewer.
    if record.trace and (counts != sorted(counts) or _valid(tried) > record.evaluations):
        yield Check("the least number of evaluations in the trace", record.evaluations, max(_valid(tried), *counts))
    # Of the metrics whose scores the search saw: older records of methods that read none have them, too.
    importance = scoring.importance_passes(record.importance)
    passes = record.evaluations * scoring.mask_passes(search.get("recover_on")) + importance
    yield Check("sentence passes", record.sentence_passes, passes)
    environment = search.get("environment", {})
    threshold, drop = environment.get("threshold"), environment.get("max_accuracy_drop")
    if drop is not None:
        accuracy = float(evaluator.accuracy(mask_from_text(full)[None])[0])
        yield Check("threshold", record.threshold, accuracy - drop, evaluator.sentences)
    else:
        yield Check("threshold", record.threshold, None if threshold == NO_CONSTRAINT else threshold)


def purified_again(record: Record, task: Task, device: str = "cpu", reference: Reference | None = None) -> Purified:
    """Makes a record's purified model again, with its mask and settings; the same bits on the machine that made it.

    Args:
        record: A victim's or a twin's.
        task: The defender's.
        device: Where to fine-tune.
        reference: Loads the clean encoder, for methods that are allowed one.

    Raises:
        RecordError: The method recovers otherwise than it did when the record was made.
    """
    method = get_method(record.method)
    recovery = None if method.recovery is None else settings_of(method.recovery)
    if record.config.get("recovery") != recovery:
        raise RecordError(
            f"expected {record.method} to recover with {record.config.get('recovery')}, this version has {recovery}; "
            "replay without --refit, or with the version that made the record"
        )
    return purify(
        task,
        mask_from_text(record.mask),
        _training(record, task, device),
        recovery=method.recovery,
        device=device,
        members=members_of(method, record.trace),
        reference=reference if method.regime == "reference" else None,
    )


def _training(record: Record, task: Task, device: str) -> TrainingConfig:
    settings = record.config["training"]
    training = training_for(task.protocol.training, settings["learning_rate"])
    if asdict(training.resolved(device)) == settings:
        return training
    # Made where "auto" meant another arithmetic: what was done there is what is done again.
    return TrainingConfig(**settings)


def refit(
    record: Record, task: Task, diagnosis: Diagnosis, device: str = "cpu", reference: Reference | None = None
) -> list[Check]:
    """Makes the purified model again with the recorded mask and settings, judges it, and returns ACC, LFR and AUC.

    Raises:
        RecordError: The method recovers otherwise than it did when the record was made.
    """
    purified, length = purified_again(record, task, device, reference), _training(record, task, device).max_length
    found = judge(purified.models, purified.tokenizer, diagnosis, length, device)
    values = zip(REFITTED, (record.acc, record.lfr, record.auc), (found.acc, found.lfr, found.auc), strict=True)
    checks = [Check(f"{name} after fine-tuning again", recorded, value) for name, recorded, value in values]
    if record.final_certify_accuracy is not None:
        certified = voted_accuracy(purified.models, purified.tokenizer, task.certify, length, device)
        checks.append(Check("certify after fine-tuning again", record.final_certify_accuracy, certified))
    if record.oracle_dev_lfr is not None:
        developed = oracle_dev_lfr(purified.models, purified.tokenizer, diagnosis, length, device)
        checks.append(Check("LFR on validation after fine-tuning again", record.oracle_dev_lfr, developed))
    if record.recovery_sentences is not None:
        checks.append(
            Check("the number of sentences fine-tuned on again", record.recovery_sentences, purified.sentences)
        )
    bits = (("clean", record.correct, found.correct), ("triggered", record.flipped, found.flipped))
    for name, text, again in bits:
        recorded = bits_from_text(text)
        differing = int((recorded != again).sum()) if len(recorded) == len(again) else max(len(recorded), len(again))
        checks.append(Check(f"the number of {name} sentences that differ after fine-tuning again", 0, differing))
    return checks


def _valid(masks: set[str]) -> int:
    """Counts masks that leave every layer a head: others are never evaluated."""
    return sum(all("1" in layer for layer in mask.split("/")) for mask in masks)


def _shown(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    return "none" if value is None else str(value)
