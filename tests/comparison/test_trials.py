"""Trials are what they were after they were written, and what a kill has cut off is left out."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from prune_env.comparison.trials import append_trial, load, read_trials
from prune_env.errors import RecordError
from tests.comparison.factory import trial


def test_a_trial_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    written = [trial(), trial("ppo", "learner", episode=(3, 0.25))]
    for one in written:
        append_trial(path, one)
    assert read_trials(path) == written
    assert [one.key for one in read_trials(path)] == [one.key for one in written]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    append_trial(path, trial())
    path.write_bytes(path.read_bytes()[:-40])
    append_trial(path, trial(seed=1))
    assert [one.seed for one in read_trials(path)] == [1]


def test_the_curve_by_hand() -> None:
    one = trial(improvements=[[1, "11/11", 0.0, 0.0], [3, "10/11", 0.25, 0.25], [7, "10/01", 0.5, -0.1]])
    assert one.certified_after(np.array([1, 2, 3, 6, 7, 10])).tolist() == [0.0, 0.0, 0.25, 0.25, -0.1, -0.1]
    assert (one.value, one.certified) == (0.5, -0.1)


def test_a_key_knows_all_that_decides() -> None:
    keys = {trial().key, trial(seed=1).key, trial(budget=11).key, trial("greedy").key, trial(identity="1").key}
    keys |= {trial(settings={"contestant": {"hottest": 2.0}}).key, trial(experiment="family").key}
    assert len(keys) == 7
    assert trial(seconds=9.0).key == trial().key


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 1},
        {"budget": "ten"},
        {"surplus": 1},
        {"improvements": []},
        {"improvements": [[2, "11/11", 0.0, 0.0]]},
        {"improvements": [[1, "xx", 0.0, 0.0]]},
        {"improvements": [[1, "11/11", 0.0]]},
    ],
)
def test_malformed_trials_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text(json.dumps({**asdict(trial()), **change}) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"trials\.jsonl:1"):
        read_trials(path)


def test_folders_are_read_and_the_same_trial_counts_once(tmp_path: Path) -> None:
    for name, seeds in (("a", (0, 1)), ("b", (1, 2))):
        for seed in seeds:
            append_trial(tmp_path / f"{name}.jsonl", trial(seed=seed))
    assert sorted(one.seed for one in load([tmp_path])) == [0, 1, 2]
    with pytest.raises(RecordError, match="found none"):
        load([tmp_path / "nothing.jsonl"])
