"""Agents that are trained before the comparison: on other victims, once, under the rule they are judged under."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.agents.linear_epsilon_greedy import LinearEpsilonGreedy, LinearSettings
from prune_env.comparison import trained
from prune_env.comparison.cells import Cell, Settings, problem_of, run_cell
from prune_env.comparison.plan import Plan, missing
from prune_env.comparison.problem import METRICS
from prune_env.comparison.run import run
from prune_env.errors import CheckpointError, ConfigError, IntegrityError, UnknownNameError
from prune_env.tabular.environment import EVERY_METRIC
from tests.comparison.twin import other_twin, plan, small


def test_agents_are_trained_once_before_they_are_judged(victim: str, settings: Settings) -> None:
    asked = Plan("family", (victim,), ("trained-linear", "trained-ppo"), (None,), (0,))
    told: list[str] = []
    trials = run(asked, settings, report=lambda label, *_: told.append(label))
    assert told[1:3] == ["training of trained-linear, seed 0", "training of trained-ppo, seed 0"]
    assert [trial.kind for trial in trials] == ["trained", "trained"]
    assert all(trial.policy is not None and trial.evaluations <= 7 for trial in trials)
    before = settings.before.identity
    assert (before["victims"], before["count"], before["steps"], before["on_violation"]) == (
        "other",
        1,
        6400,
        "terminate",
    )
    assert all(trial.settings["before"] == before for trial in trials)
    stamps = {path: path.stat().st_mtime_ns for path in settings.out.glob("models/*/agent.json")}
    told.clear()
    run(replace(asked, budgets=(None, 20)), settings, report=lambda label, *_: told.append(label))
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_nothing_is_trained_on_that_is_judged_on(victim: str, settings: Settings, tmp_path: Path) -> None:
    asked = Plan("family", (victim,), ("random", "trained-linear"), (None,), (0,))
    with pytest.raises(ConfigError, match="small in both"):
        missing(asked, replace(settings, train_on=victim))
    alias = str(replace(small(), name="alias").save(tmp_path))
    with pytest.raises(ConfigError, match="alias in both"):
        missing(asked, replace(settings, train_on=alias))
    assert missing(replace(asked, contestants=("random",)), replace(settings, train_on=victim)).cells


@pytest.mark.parametrize(("train_on", "error"), [("family-tain", UnknownNameError), ("nowhere.twin", IntegrityError)])
def test_what_is_trained_on_is_looked_up_before_anything_runs(
    train_on: str, error: type[Exception], victim: str, settings: Settings
) -> None:
    with pytest.raises(error):
        missing(plan(victim, "random", "trained-linear"), replace(settings, train_on=train_on))


def test_a_set_without_twins_is_an_error_at_once(
    victim: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune_env.comparison.contestant.list_twins", lambda _: [])
    with pytest.raises(ConfigError, match="--train-on"):
        missing(plan(victim, "trained-linear"), replace(settings, train_on="family-train"))


def test_agents_are_trained_under_the_rule_they_are_judged_under(settings: Settings) -> None:
    folders, weights = set(), set()
    for mode in ("terminate", "reject"):
        before = replace(settings, mode=mode).before
        trained.LINEAR.prepare(0, before)
        folders.add(trained.LINEAR.folder(0, before))
        weights.add((trained.LINEAR.folder(0, before) / "agent.json").read_bytes())
        assert before.identity["on_violation"] == mode
    assert len(folders) == len(weights) == 2


def test_another_task_under_the_same_name_is_another_training(settings: Settings, tmp_path: Path) -> None:
    before = []
    for number, task in enumerate(("3" * 64, "4" * 64)):
        (tmp_path / str(number)).mkdir()
        before.append(replace(settings.before, victims=other_twin("same", tmp_path / str(number), task)))
    assert before[0].identity["victims"] == before[1].identity["victims"]
    assert before[0].digest != before[1].digest
    assert trained.LINEAR.folder(0, before[0]) != trained.LINEAR.folder(0, before[1])


def test_a_linear_agent_of_other_settings_is_not_taken_for_this_one(settings: Settings) -> None:
    folder = trained.LINEAR.folder(0, settings.before)
    folder.mkdir(parents=True)
    LinearEpsilonGreedy(0, LinearSettings(metrics=METRICS, discount=1.0)).save(folder / "agent.json")
    with pytest.raises(CheckpointError, match="present settings"):
        trained.LINEAR.prepare(0, settings.before)


def test_an_agent_that_was_not_trained_is_missed(victim: str, settings: Settings) -> None:
    with pytest.raises(CheckpointError):
        run_cell(Cell("family", victim, "trained-linear", None, seed=7), settings)


def test_trained_agents_read_every_metric_in_its_place(victim: str, settings: Settings) -> None:
    seen = problem_of(Cell("family", victim, "trained-linear", None, 0), settings).seen
    shown = seen.by(EVERY_METRIC)
    assert tuple(shown) == EVERY_METRIC and next(iter(shown)) == "gradient", "the first protects heads"
    assert all(np.array_equal(shown[name], small().importance[name]) for name in EVERY_METRIC)
