"""`prune-env compare` from the command line: what it runs, what it says, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from prune_env.cli.compare import DEFAULTS
from prune_env.cli.main import main
from prune_env.comparison import CONTESTANTS
from prune_env.comparison.trials import append_trial
from tests.comparison.factory import trial
from tests.tabular.twins import random_twin

FAMILY = ["--experiment", "family", "--victims", "tiny-syntactic", "--dry-run"]
TRAINED = [*FAMILY[:-1], "--contestants", "trained-ppo", "--train-on", "tiny-style"]

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small twin's file."""
    return str(random_twin(2, 3, 4, name="small").save(tmp_path_factory.mktemp("twin")))


def compare(victim: str, out: Path, *more: str) -> int:
    """Two contestants with two seeds."""
    words = ["--experiment", "tabular", "--victims", victim, "--contestants", "random,linear", "--budgets", "5,9"]
    return main(["compare", *words, "--seeds", "2", "--jobs", "1", "--out", str(out), *more])


def test_it_compares_and_says_where_everything_is(victim: str, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    assert compare(victim, out) == 0
    shown = capsys.readouterr().out
    assert "Does a learned agent beat random search, scripts and searchers at the same number of evaluations?" in shown
    assert "| linear | learner |" in shown
    assert all((out / name).is_file() and str(out / name) in shown for name in ("compare.md", "compare-tabular.png"))
    assert len((out / "trials.jsonl").read_text(encoding="utf-8").splitlines()) == 8


def test_a_dry_run_counts_and_runs_nothing(victim: str, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    assert compare(victim, out, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "0 of 8 cells are there; 8 to search, with at most 56 evaluations, after 0 trainings" in shown
    for line in ("Contestants 2: random, linear", "Budgets     5 evaluations, 9 evaluations", "Seeds       2: 0, 1"):
        assert line in shown
    assert "2 x unknown" in shown and "How long that takes, no trial tells yet." in shown
    assert not out.exists()


def test_a_dry_run_estimates_by_the_trials_that_are_there(victim: str, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for seed, seconds in enumerate((100.0, 120.0, 500.0)):
        one = trial(seed=seed, budget=5, improvements=[[1, "111/111", 0.0, 0.0]], wall_seconds=seconds)
        append_trial(out / "trials.jsonl", one)
    assert compare(victim, out, "--dry-run", "--seeds", "4", "--jobs", "3") == 0
    shown = capsys.readouterr().out
    assert "4 x 2 min" in shown and "4 x unknown" in shown
    assert "About 8 min for 4 of 16 cells in one process, 3 min in 3" in shown
    assert "Unknown for the other 12." in shown


def test_a_dry_run_tells_the_size_of_the_trainings_before(capsys: Capture, tmp_path: Path) -> None:
    words = [*FAMILY, "--contestants", "random,trained-linear", "--train-on", "tiny-style", "--seeds", "3"]
    assert main(["compare", *words, "--train-steps", "700", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "3 before, of trained-linear: 700 steps each, 2,100 in all, on tiny-style (twins: 1)" in shown
    assert re.search(r"Unknown for (the other \d+ and )?the trainings before\.", shown)


def test_finished_trials_are_shown_and_put_into_a_readme(victim: str, tmp_path: Path, capsys: Capture) -> None:
    compare(victim, tmp_path / "out")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- compare:start -->\n<!-- compare:end -->\n", encoding="utf-8")
    shown = ["compare", "--show", str(tmp_path / "out" / "trials.jsonl"), "--out", str(tmp_path / "report")]
    capsys.readouterr()
    assert main([*shown, "--update", str(readme)]) == 0
    assert f"{readme}: written" in capsys.readouterr().out
    assert main([*shown, "--update", str(readme), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]["tabular"]
    assert [(row["contestant"], row["budget"], row["runs"]) for row in rows] == [
        ("random", 5, 2), ("linear", 5, 2), ("random", 9, 2), ("linear", 9, 2),
    ]  # fmt: skip


def test_defaults_name_contestants_that_there_are() -> None:
    assert {name for names, _, _ in DEFAULTS.values() for name in names} <= set(CONTESTANTS)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "one of --experiment and --show, got none"),
        (["--show", "trials.jsonl", "--experiment", "real"], "one of --experiment and --show, got both"),
        (["--show", "trials.jsonl", "--seeds", "1", "--fine-tune"], "got --seeds, --fine-tune too"),
        (["--experiment", "real"], "expected victims for the experiment real"),
        (["--experiment", "tabular", "--victims", "tiny-syntatic"], "tiny-syntactic"),
        (["--experiment", "tabular", "--contestants", "anealing"], "annealing"),
        (["--experiment", "tabular", "--budgets", "ten"], "ten"),
        (["--experiment", "tabular", "--budgets", "-5"], "at least one evaluation, or 'episode', got '-5'; such as"),
        (["--experiment", "tabular", "--budgets", "50,0"], "at least one evaluation, or 'episode', got '0'; such as"),
        (["--experiment", "tabular", "--seeds", "0"], "a whole number of at least one, got '0'; --seeds 3 runs"),
        (["--experiment", "tabular", "--seeds", "-1"], "a whole number of at least one, got '-1'; --seeds 3 runs"),
        (["--experiment", "tabular", "--on-violation", "ignore"], "on_violation"),
        ([*TRAINED, "--train-steps", "0"], "--train-steps to be a whole number of at least one, got '0'"),
        ([*TRAINED, "--train-steps", "99"], "steps of one rollout, got 99"),
        (["--experiment", "real", "--victims", "tiny-style", "--device", "cuda:99"], "cuda"),
        (["--experiment", "tabular", "--jobs", "0"], "at least one process"),
        ([*FAMILY, "--train-on", "family-tain"], "family-train"),
        ([*FAMILY, "--train-on", "embedded"], "tiny-syntactic in both"),
        ([*FAMILY, "--train-on", "tiny-style", "--on-violation", "ignore"], "on_violation"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(words: list[str], complaint: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["compare", *words, "--out", str(tmp_path / "out")]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "no folder before the arguments are checked"
