"""Importance is scored once and read afterwards, by the same task on the same machine and by no other."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

from prune_env import importance_cache, machine, scoring
from prune_env.errors import DeviceError, IntegrityError, OutputError
from prune_env.importance_cache import ImportanceCache
from prune_env.tabular import check
from prune_env.tabular.registry import get_twin
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import open_victim
from prune_env.victims.task import Task, build_task

SCORES = {"gradient": np.array([[0.1, 1 / 3], [2e-9, 5.0]], dtype=np.float32)}


@pytest.fixture
def kept(cache_folder: Path) -> ImportanceCache:
    return ImportanceCache("a" * 64, seed=11, sentences=1000, layers=2, heads=2)


@pytest.fixture
def own_task(tmp_path: Path) -> Task:
    """A shipped task in a folder of one's own, as one that was built on this machine."""
    shipped = build_task(open_victim("tiny-syntactic").suspect, get_protocol("embedded"), 11)
    folder = tmp_path / "tasks" / "own"
    shutil.copytree(shipped.folder, folder)
    assert shipped.is_shipped
    assert not replace(shipped, folder=folder).is_shipped
    return replace(shipped, folder=folder)


def _only_file(cache_folder: Path) -> Path:
    (path,) = (cache_folder / "importance").iterdir()
    return path


def test_what_was_kept_is_read_to_the_bit(kept: ImportanceCache) -> None:
    assert kept.read(["gradient"]) == {}
    kept.write(SCORES)
    found = kept.read(["taylor", "gradient"])
    assert list(found) == ["gradient"]
    assert found["gradient"].dtype == np.float32
    np.testing.assert_array_equal(found["gradient"], SCORES["gradient"])


@pytest.mark.parametrize("change", [{"task": "b" * 64}, {"seed": 12}, {"sentences": 999}])
def test_another_task_reads_nothing(kept: ImportanceCache, change: dict[str, Any]) -> None:
    kept.write(SCORES)
    assert replace(kept, **change).read(["gradient"]) == {}


def test_other_code_and_other_threads_read_nothing(kept: ImportanceCache, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write(SCORES)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert kept.read(["gradient"]) == {}
    finally:
        torch.set_num_threads(before)
    assert list(kept.read(["gradient"])) == ["gradient"]
    versions = machine.versions("cpu")
    monkeypatch.setattr(importance_cache, "versions", lambda _: {**versions, "source": "other"})
    assert kept.read(["gradient"]) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [[0.1, 0.2]]},
        {"scores": [[0.1, 0.2], [0.3, float("nan")]]},
        {"scores": [[0.1, 0.2], [0.3, 1e300]]},
        {"scores": [[0.1, 0.2], [0.3, "0.4"]]},
        {"scores": [[0.1, 0.2], [0.3, True]]},
        {"scores": [[0.1, 0.2], [10**400, 0.4]]},
        {"scores": "none"},
        {"metric": "taylor"},
        {"about": {}},
    ],
)
def test_a_changed_file_is_refused_and_named(kept: ImportanceCache, cache_folder: Path, change: dict[str, Any]) -> None:
    kept.write(SCORES)
    path = _only_file(cache_folder)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(IntegrityError, match=r"scores of gradient for 2 x 2 heads in .*gradient-.*delete that file"):
        kept.read(["gradient"])
    path.write_text("{")
    with pytest.raises(IntegrityError, match=r"no JSON text.*delete that file"):
        kept.read(["gradient"])


def test_what_is_not_finite_is_not_kept(kept: ImportanceCache, cache_folder: Path) -> None:
    kept.write({"gradient": np.array([[0.1, np.nan], [0.0, 1.0]], dtype=np.float32)})
    assert not (cache_folder / "importance").exists()


def test_a_second_process_scores_nothing_again(
    own_task: Task, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scoring.Scoring(own_task).importance(["gradient", "attention_variance"])
    asked: list[list[str]] = []

    def scores(names: list[str], *_: Any) -> Any:
        asked.append(names)
        return {name: np.ones((4, 4), dtype=np.float32) for name in names}

    monkeypatch.setattr(scoring, "scores", scores)
    again = scoring.Scoring(own_task).importance(["attention_variance", "taylor", "gradient"])
    assert asked == [["taylor"]], "only what was not kept"
    assert list(again) == ["attention_variance", "taylor", "gradient"]
    for name, found in first.items():
        np.testing.assert_array_equal(again[name], found)


def test_a_process_waits_for_another_that_scores_the_same(own_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    second = Thread(target=lambda: scoring.Scoring(own_task).importance(["gradient"]))

    def scores(names: list[str], *_: Any) -> Any:
        asked.append(names)
        if not second.ident:
            second.start()
            second.join(timeout=0.5)
            assert second.is_alive(), "it waits for what is scored here"
        return {name: np.ones((4, 4), dtype=np.float32) for name in names}

    monkeypatch.setattr(scoring, "scores", scores)
    scoring.Scoring(own_task).importance(["gradient"])
    second.join(timeout=60)
    assert asked == [["gradient"]] and not second.is_alive()


def test_tasks_of_the_package_are_not_kept(own_task: Task, cache_folder: Path) -> None:
    shipped = build_task(own_task.suspect, own_task.protocol, own_task.seed)
    scoring.Scoring(shipped).importance(["gradient"])
    assert not (cache_folder / "importance").exists()


def test_a_check_of_a_twin_reads_nothing_that_was_kept(own_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = open_victim("tiny-syntactic")
    monkeypatch.setattr(check, "build_task", lambda *_, **__: own_task)
    monkeypatch.setattr(check, "scoring_of", scoring.Scoring)
    monkeypatch.setattr(ImportanceCache, "read", lambda *_: pytest.fail("read what was kept"))
    assert check.differences(get_twin("tiny-syntactic"), victim.name, masks=1, seed=0) == []


@pytest.mark.parametrize(
    ("name", "error"),
    [("writable", OutputError("no space left")), ("write_json", OSError(errno.ENOSPC, "no space left"))],
)
def test_a_cache_that_cannot_be_written_is_a_warning(
    own_task: Task, cache_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception
) -> None:
    def refuse(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(importance_cache, name, refuse)
    with pytest.warns(
        RuntimeWarning, match=r"not kept for the next run: expected .*no space left.* or set PRUNE_ENV_CACHE"
    ):
        found = scoring.Scoring(own_task).importance(["gradient"])
    assert found["gradient"].shape == (4, 4)


def test_a_device_that_is_not_there_is_said_before_anything_is_read(own_task: Task, cache_folder: Path) -> None:
    with pytest.raises(DeviceError, match="expected a device such as"):
        scoring.Scoring(own_task, "gpu").importance(["gradient"])
