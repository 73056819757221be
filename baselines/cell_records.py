"""What a cell becomes: a plan that identifies its record beforehand, the record, and the search that one holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from prune_env.machine import versions
from prune_env.methods import Method
from prune_env.records import Record, bits_to_text
from prune_env.search import Found
from prune_env.types import HeadScores, mask_from_text, mask_to_text
from prune_env.victims.judge import Judgement
from prune_env.victims.store import Victim
from prune_env.victims.task import Task
from prune_env.victims.training import TrainingConfig


@dataclass(frozen=True)
class Plan:
    """What identifies and configures a record before it exists."""

    victim: Victim
    role: str
    method: Method
    training: TrainingConfig
    config: dict[str, Any]
    key: str


def found_in(record: Record) -> Found:
    """Returns the search that a record tells of: the mask it found, and how."""
    return Found(
        mask=mask_from_text(record.mask),
        importance={name: np.array(scores, dtype=np.float32) for name, scores in record.importance.items()},
        trace=record.trace,
        evaluations=record.evaluations,
        sentence_passes=record.sentence_passes,
        search_accuracy=record.search_accuracy,
        certify_accuracy=record.certify_accuracy,
        threshold=record.threshold,
        deviation=record.deviation,
        seconds=record.search_seconds,
    )


def make_record(
    one: Plan,
    *,
    task: Task,
    found: Found,
    judged: Judgement,
    dtype: str,
    device: str,
    seconds: float,
    floor: Record | None,
) -> Record:
    """Returns the record of a purified model that was judged.

    Args:
        one: What the record was known by beforehand.
        task: What the defender had.
        found: The mask and its search.
        judged: The purified model on the victim's diagnosis.
        dtype: Arithmetic of the search.
        device: Where everything was computed.
        seconds: Wall time of search and fine-tuning.
        floor: The twin's record of the same cell; None if there is no twin.
    """
    manifest = one.victim.manifest
    return Record(
        victim=manifest.name,
        victim_sha256=manifest.sha256,
        attack=manifest.attack,
        backbone=manifest.backbone,
        protocol=task.protocol.name,
        method=one.method.name,
        config=one.config,
        attacker_seed=manifest.attacker_seed,
        seed=task.seed,
        regime=one.method.regime,
        dtype=dtype,
        deviation=found.deviation,
        mask=mask_to_text(found.mask),
        importance={name: _rounded(scores) for name, scores in found.importance.items()},
        trace=found.trace,
        evaluations=found.evaluations,
        sentence_passes=found.sentence_passes,
        search_accuracy=found.search_accuracy,
        certify_accuracy=found.certify_accuracy,
        threshold=found.threshold,
        acc=judged.acc,
        lfr=judged.lfr,
        auc=judged.auc,
        auc_sd=judged.auc_sd,
        floor_lfr=None if floor is None else floor.lfr,
        floor_acc=None if floor is None else floor.acc,
        seconds=round(seconds, 2),
        search_seconds=round(found.seconds, 2),
        versions=versions(device),
        role=one.role,
        model_sha256=task.suspect.sha256,
        task_sha256=task.sha256,
        acc_by_class={str(label): rate for label, rate in judged.acc_by_class.items()},
        correct=bits_to_text(judged.correct),
        flipped=bits_to_text(judged.flipped),
    )


def _rounded(scores: HeadScores) -> list[list[float]]:
    """Six significant digits: enough to draw and to rank, and the same text on every run."""
    return [[float(f"{score:.6g}") for score in row] for row in scores]
