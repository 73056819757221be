"""Live victims: their task, device and arithmetic decide a trial, and their own trials tell how long the next takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.comparison.cells import TRIALS, Cell, Settings, key_of
from prune_env.comparison.forecast import expected
from prune_env.comparison.plan import Plan, missing
from prune_env.comparison.problem import NOT_BUILT, live_problem, subject_of
from prune_env.comparison.trials import append_trial
from prune_env.errors import ConfigError, DeviceError
from prune_env.tabular.registry import get_twin
from tests.comparison.factory import trial as made


def test_a_live_trial_knows_its_task() -> None:
    subject = subject_of("tiny-syntactic", live=True)
    twin = get_twin("tiny-syntactic")
    assert (subject.identity, subject.victim_sha256) == (twin.meta["task_sha256"], twin.meta["victim_sha256"])


def test_a_task_that_was_not_built_has_no_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prune_env.victims.task.is_built", lambda *_, **__: False)
    assert subject_of("tiny-syntactic", live=True).identity == NOT_BUILT


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"dtype": "bfloat16"}])
def test_device_and_arithmetic_are_part_of_what_decides_a_live_trial_alone(
    victim: str, settings: Settings, change: dict[str, Any]
) -> None:
    elsewhere = replace(settings, **change)
    table, live = Cell("tabular", victim, "random", 5, 0), Cell("real", "tiny-syntactic", "random", 5, 0)
    assert key_of(table, settings) == key_of(table, elsewhere)
    assert key_of(live, settings) != key_of(live, elsewhere)


def test_live_victims_are_forecast_by_own_trials_of_the_same_arithmetic(tmp_path: Path) -> None:
    for place, seconds, settings in (
        ("own", 9.0, {"dtype": "bfloat16"}), ("own", 40.0, {}), ("own", 0.01, {}), ("kept", 70.0, {})
    ):  # fmt: skip
        (tmp_path / place).mkdir(exist_ok=True)
        found = made("random", "random", experiment="real", budget=5, wall_seconds=seconds, settings=settings)
        append_trial(tmp_path / place / TRIALS, found)
    cells = [Cell("real", "tiny-syntactic", "random", 5, 0), Cell("real", "tiny-syntactic", "greedy", 5, 0)]
    greedy, random = sorted(expected(cells, tmp_path / "own", tmp_path / "kept"), key=lambda one: one.contestant)
    assert (random.seconds, greedy.seconds) == (40.0, None), "the slowest: a mask is computed once a process"
    (rounded,) = expected(cells[:1], tmp_path / "own", tmp_path / "kept", ("bfloat16", "cpu"))
    assert rounded.seconds == 9.0


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"dtype": "bfloat16"}])
def test_tables_have_neither_device_nor_arithmetic(victim: str, settings: Settings, change: dict[str, Any]) -> None:
    plan = Plan("tabular", (victim,), ("random",), (5,), (0,))
    with pytest.raises(ConfigError, match="expected cpu and float32 for tabular"):
        missing(plan, replace(settings, **change))


def test_a_live_victim_is_searched_in_the_arithmetic_asked_for_and_judged_in_float32() -> None:
    exact, rounded = (live_problem("tiny-syntactic", dtype=dtype) for dtype in ("float32", "bfloat16"))
    kinds = [getattr(rounded, name).dtype for name in ("search", "certify", "oracle_lfr")]
    assert kinds == ["bfloat16", "float32", "float32"] and getattr(exact.search, "dtype", "") == "float32"
    assert rounded.certify is exact.certify
    assert all(np.array_equal(scores, exact.seen.scores[name]) for name, scores in rounded.seen.scores.items())
    with pytest.raises(DeviceError, match="expected a dtype among float32, bfloat16, got 'float8'"):
        live_problem("tiny-syntactic", dtype="float8")
