"""Cells on a small twin: budgets hold, a second run does only what is missing, seeds decide."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from prune_env.agents.budget import Budget
from prune_env.baselines.locks import sole
from prune_env.comparison import CONTESTANTS, cells
from prune_env.comparison.cells import TRIALS, Cell, Settings, problem_of, run_cell
from prune_env.comparison.contestant import KINDS, Left, Pretraining, get_contestant
from prune_env.comparison.plan import Plan, evaluations_of, missing
from prune_env.comparison.problem import METRICS, Seen
from prune_env.comparison.run import LOCK, run
from prune_env.comparison.trials import Trial, read_trials
from prune_env.errors import ConfigError, OutputError, UnknownNameError
from prune_env.types import HeadMasks, mask_from_text
from tests.comparison.twin import plan
from tests.tabular.twins import random_twin

LEARNERS = ("linear", "linear-slots", "ppo", "ppo-mlp", "maskable-ppo", "a2c", "dqn")


@pytest.mark.parametrize("name", [name for name in CONTESTANTS if not name.startswith("trained-")])
def test_every_contestant_keeps_its_budget(name: str, victim: str, settings: Settings) -> None:
    trial = run_cell(Cell("tabular", victim, name, 12, seed=0), settings)
    assert 1 < trial.evaluations <= 12
    assert trial.evaluations == 12 or trial.kind in {"script", "learner"}
    assert [row[0] for row in trial.improvements] == sorted({row[0] for row in trial.improvements})
    assert [row[2] for row in trial.improvements] == sorted({row[2] for row in trial.improvements})
    assert trial.improvements[-1][0] <= trial.evaluations
    assert trial.regret is not None and trial.regret >= -1e-9
    assert trial.certified_regret is not None and trial.certified_regret >= -1e-9
    assert trial.oracle_lfr is not None and 0 <= trial.oracle_lfr <= 1
    assert (trial.policy is not None) == (name in LEARNERS or name.startswith("script-"))
    assert (trial.steps > 0) == (name in LEARNERS)
    assert trial.kind in KINDS
    assert read_trials(settings.out / TRIALS) == [trial]


@pytest.mark.parametrize("name", ["random", "greedy", "evolution", "scripts"])
def test_a_cut_run_is_a_run_of_that_budget_where_nothing_depends_on_it(
    name: str, victim: str, settings: Settings
) -> None:
    short, long = (run_cell(Cell("tabular", victim, name, budget, 0), settings) for budget in (6, 14))
    assert short.improvements == [row for row in long.improvements if row[0] <= 6]


def test_an_episode_may_use_one_evaluation_a_head_and_one_more(victim: str, settings: Settings) -> None:
    trial = run_cell(Cell("family", victim, "random", None, seed=0), settings)
    assert (trial.budget, trial.evaluations, trial.per_episode) == (7, 7, True)


def test_all_of_a_small_model_is_its_optimum(victim: str, settings: Settings) -> None:
    trial = run_cell(Cell("tabular", victim, "random", 100, seed=0), settings)
    assert trial.evaluations == 49
    assert trial.regret == pytest.approx(0.0)


def test_a_second_run_does_only_what_is_missing(victim: str, settings: Settings) -> None:
    told: list[tuple[str, int, int]] = []
    first = run(plan(victim, "random", "greedy"), settings, report=lambda *step: told.append(step))
    assert len(first) == 8
    assert told[0][1:] == (0, 8) and told[-1][1:] == (8, 8)
    lines = (settings.out / TRIALS).read_bytes().split(b"\n")
    (settings.out / TRIALS).write_bytes(b"\n".join(lines[:3]) + b"\n" + lines[3][:50])
    left = missing(plan(victim, "random", "greedy"), settings)
    assert len(left.cells) == 5
    assert 5 <= evaluations_of(left, settings) <= 5 * 12
    told.clear()
    again = run(plan(victim, "random", "greedy"), settings, report=lambda *step: told.append(step))
    assert told[0][1:] == (3, 8)
    assert [_plain(one) for one in again] == [_plain(one) for one in first]
    told.clear()
    assert run(plan(victim, "random", "greedy"), settings, report=lambda *step: told.append(step)) == again
    assert told == []


def _plain(trial: Trial) -> Trial:
    return replace(trial, seconds=0.0, wall_seconds=0.0)


@pytest.mark.parametrize("name", ["annealing", "scripts", "linear", "ppo", "dqn"])
def test_a_seed_decides_a_cell(name: str, victim: str, settings: Settings, tmp_path: Path) -> None:
    other = replace(settings, out=tmp_path / "other")
    other.out.mkdir()
    cell = Cell("tabular", victim, name, 20, seed=3)
    assert _plain(run_cell(cell, settings)) == _plain(run_cell(cell, other))


def test_the_judge_looks_at_the_full_mask_once(victim: str) -> None:
    problem = problem_of(Cell("tabular", victim, "random", 5, 0), Settings(Path()))
    asked: list[int] = []

    class Watched:
        layers, heads, sentences = 2, 3, problem.certify.sentences

        def accuracy(self, masks: HeadMasks) -> NDArray[np.float64]:
            asked.append(int(masks.sum()))
            return problem.certify.accuracy(masks)

    judge = replace(problem, certify=Watched())
    mask = mask_from_text("101/110")
    assert [judge.certified(mask) for _ in range(3)] == [problem.certified(mask)] * 3
    assert asked == [6, 4, 4, 4]


def test_contestants_see_no_certify_and_no_lfr(victim: str, settings: Settings) -> None:
    problem = problem_of(Cell("tabular", victim, "random", 5, 0), settings)
    assert {one.name for one in fields(Seen)} == {"importance", "scores", "config"}
    assert tuple(problem.seen.importance) == METRICS
    asked: list[int] = []

    class Watched:
        layers, heads, sentences = 2, 3, problem.search.sentences

        def accuracy(self, masks: HeadMasks) -> NDArray[np.float64]:
            asked.append(len(masks))
            return problem.search.accuracy(masks)

    for name in ("annealing", "scripts", "script-gradient", "linear", "ppo", "trained-linear", "trained-ppo"):
        contestant = get_contestant(name)
        contestant.prepare(0, settings.before)
        budget = Budget(Watched(), problem.config, 10)
        asked.clear()  # the budget's own, of the full mask
        contestant.play(problem.seen, budget, 0, settings.before)
        assert 1 < budget.used == 1 + sum(asked), name


@pytest.mark.parametrize("name", ["annealing", "scripts", "linear", "trained-linear"])
def test_a_cell_hands_its_contestant_what_may_be_seen(
    name: str, victim: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[object] = []
    real = get_contestant(name)
    real.prepare(0, settings.before)

    class Spy:
        kind, settings = real.kind, real.settings

        def play(self, seen: Seen, budget: Budget, seed: int, before: Pretraining) -> Left:
            handed.append(seen)
            return real.play(seen, budget, seed, before)

    monkeypatch.setattr(cells, "get_contestant", lambda _: Spy())
    run_cell(Cell("tabular", victim, name, 9, 0), settings)
    assert [type(one) for one in handed] == [Seen]


def test_the_strongest_scripts_are_among_the_best_of_the_scripts(settings: Settings) -> None:
    names = ("script-bayesian", "script-anp", "script-pure", "scripts")
    found = {name: run_cell(Cell("tabular", "tiny-syntactic-organic", name, 50, 0), settings) for name in names}
    assert found["script-anp"].regret == found["script-bayesian"].regret == pytest.approx(0.0)
    assert found["scripts"].value == max(trial.value for trial in found.values())
    assert {"bayesian", "anp", "pure"} <= set(found["scripts"].settings["contestant"]["scripts"])


def test_a_script_without_its_metric_says_which(settings: Settings, tmp_path: Path) -> None:
    bare = str(random_twin(2, 3, 4, name="bare").save(tmp_path))
    with pytest.raises(ConfigError, match="adversarial_gate"):
        run_cell(Cell("tabular", bare, "script-anp", 9, 0), settings)


def test_one_comparison_writes_to_a_folder_at_a_time(victim: str, settings: Settings) -> None:
    with sole(settings.out / LOCK, "comparison", "--out"), pytest.raises(OutputError, match="another"):
        run(plan(victim, "random"), settings)


def test_wrong_plans_are_refused_before_anything_runs(victim: str) -> None:
    with pytest.raises(UnknownNameError, match="annealing"):
        plan(victim, "anealing")
    with pytest.raises(UnknownNameError, match="tabular"):
        Plan("tabula", (victim,), ("random",), (5,), (0,))
    with pytest.raises(ConfigError, match="at least one of victims"):
        Plan("tabular", (), ("random",), (5,), (0,))
    with pytest.raises(ConfigError, match="at least one evaluation"):
        plan(victim, "random", budgets=(0,))
