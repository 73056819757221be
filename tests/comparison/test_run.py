"""Cells on a small twin: budgets hold, a second run does only what is missing, seeds decide."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prune_env.agents.budget import Budget
from prune_env.agents.linear_epsilon_greedy import LinearEpsilonGreedy, LinearSettings
from prune_env.comparison import CONTESTANTS, cells, trained
from prune_env.comparison.cells import TRIALS, Cell, Settings, key_of, problem_of, run_cell
from prune_env.comparison.contestant import KINDS, Left, Pretraining, get_contestant
from prune_env.comparison.forecast import expected
from prune_env.comparison.problem import METRICS, NOT_BUILT, Seen, live_problem, subject_of
from prune_env.comparison.run import Plan, evaluations_of, missing, run
from prune_env.comparison.trials import Trial, append_trial, read_trials
from prune_env.errors import CheckpointError, ConfigError, DeviceError, IntegrityError, OutputError, UnknownNameError
from prune_env.tabular.environment import EVERY_METRIC
from prune_env.tabular.registry import get_twin
from prune_env.tabular.twin import TabularTwin
from prune_env.types import HeadMasks, mask_from_text
from tests.comparison.factory import trial as made
from tests.tabular.twins import META, random_twin

LEARNERS = ("linear", "linear-slots", "ppo", "ppo-mlp", "maskable-ppo", "a2c", "dqn")


def with_every_metric(twin: TabularTwin) -> TabularTwin:
    """The twin with every metric that scripts and trained agents read."""
    lacking = [name for name in EVERY_METRIC if name not in twin.importance]
    shape = twin.importance["gradient"].shape
    more = {name: np.random.default_rng(number).random(shape, dtype=np.float32) for number, name in enumerate(lacking)}
    return replace(twin, importance={**twin.importance, **more})


def small() -> TabularTwin:
    """A 2x3 twin."""
    return with_every_metric(random_twin(2, 3, 4, name="small", constraint={"max_accuracy_drop": 0.06}))


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small twin's file: one for all tests, since a process measures random play once a file."""
    return str(small().save(tmp_path_factory.mktemp("twin")))


@pytest.fixture(scope="module")
def schooling(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of another twin, to train on."""
    return other_twin("other", tmp_path_factory.mktemp("twin"), "2" * 64)


def other_twin(name: str, folder: Path, task: str) -> str:
    """The file of a twin of a victim of its own, with this task."""
    twin = random_twin(2, 3, 9, name=name, meta={**META, "task_sha256": task, "victim_sha256": task})
    return str(with_every_metric(twin).save(folder))


@pytest.fixture
def settings(tmp_path: Path, schooling: str) -> Settings:
    """A folder of its own, and agents that are trained on another twin for a moment."""
    out = tmp_path / "out"
    out.mkdir()
    return Settings(out, train_on=schooling, train_steps=6400)


def plan(victim: str, *contestants: str, budgets: tuple[int | None, ...] = (5, 12), seeds: int = 2) -> Plan:
    """A plan on the twin."""
    return Plan("tabular", (victim,), contestants, budgets, tuple(range(seeds)))


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
    assert len(missing(plan(victim, "random", "greedy"), settings).cells) == 5
    assert evaluations_of(plan(victim, "random", "greedy"), settings) <= 5 * 12
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


def test_a_live_trial_knows_its_task() -> None:
    subject = subject_of("tiny-syntactic", live=True)
    twin = get_twin("tiny-syntactic")
    assert (subject.identity, subject.victim_sha256) == (twin.meta["task_sha256"], twin.meta["victim_sha256"])


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


def test_a_task_that_was_not_built_has_no_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prune_env.victims.task.is_built", lambda *_, **__: False)
    assert subject_of("tiny-syntactic", live=True).identity == NOT_BUILT


def test_an_agent_that_was_not_trained_is_missed(victim: str, settings: Settings) -> None:
    with pytest.raises(CheckpointError):
        run_cell(Cell("family", victim, "trained-linear", None, seed=7), settings)


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


def test_trained_agents_read_every_metric_in_its_place(victim: str, settings: Settings) -> None:
    seen = problem_of(Cell("family", victim, "trained-linear", None, 0), settings).seen
    shown = seen.by(EVERY_METRIC)
    assert tuple(shown) == EVERY_METRIC and next(iter(shown)) == "gradient", "the first protects heads"
    assert all(np.array_equal(shown[name], small().importance[name]) for name in EVERY_METRIC)


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
    from prune_env.baselines.locks import sole
    from prune_env.comparison.run import LOCK

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
