"""What environments on one task share: the model on the device asked for, and not too many of them in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from prune_env import scoring
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import open_victim
from prune_env.victims.task import Task, build_task


def _task() -> Task:
    return build_task(open_victim("tiny-syntactic").suspect, get_protocol("embedded"), 11)


def test_importance_is_scored_on_the_device_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []

    def scores(names: list[str], model: PreTrainedModel, *_: Any) -> Any:
        devices.append(next(model.parameters()).device.type)
        return {name: np.ones((4, 4), dtype=np.float32) for name in names}

    monkeypatch.setattr(scoring, "scores", scores)
    scoring.Scoring(_task()).importance(["gradient"])
    # A device that every machine has and that computes nothing.
    monkeypatch.setattr(scoring, "resolve_device", lambda _: torch.device("meta"))
    scoring.Scoring(_task(), "cuda").importance(["gradient", "taylor"])
    assert devices == ["cpu", "meta"], "once for all metrics together"


def test_every_pass_of_a_metric_is_accounted_for() -> None:
    task = scoring.Scoring(_task())
    assert task.importance_passes([]) == 0
    assert task.importance_passes(["gradient", "taylor"]) == 2 * task.importance_sentences
    assert task.importance_passes(["gradient", "uncertainty"]) == 11 * task.importance_sentences


def test_three_tasks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_SHARED", type(scoring._SHARED)())
    task = _task()
    first = scoring.scoring_of(task, "cpu")
    assert scoring.scoring_of(task, "cpu") is first
    for name in ("cuda:0", "cuda:1"):
        scoring.scoring_of(task, name)
    assert scoring.scoring_of(task, "cpu") is first, "what was used last stays"
    scoring.scoring_of(task, "cuda:2")
    assert [device for _, device, _ in scoring._SHARED] == ["cuda:1", "cpu", "cuda:2"]
