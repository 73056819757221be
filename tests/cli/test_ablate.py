"""`prune-env ablate` from the command line: what it runs, what it says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prune_env.agents.training import Training
from prune_env.cli import ablate as command
from prune_env.cli.main import main
from tests.agents.twins import twin_file

Capture = pytest.CaptureFixture[str]


def ablate(out: Path, *more: str) -> int:
    """Two variants with one seed."""
    words = ["--victim", twin_file("right"), "--variants", "reference,kappa-10", "--seeds", "1", "--steps", "800"]
    return main(["ablate", *words, "--jobs", "1", "--out", str(out), *more])


def test_from_a_dry_run_to_a_readme(tmp_path: Path, capsys: Capture) -> None:
    out, readme = tmp_path / "out", tmp_path / "README.md"
    assert ablate(out, "--dry-run") == 0
    assert "0 of 2 trainings are there; 2 to run, with 1,600 environment steps" in capsys.readouterr().out
    assert not out.exists()
    assert ablate(out) == 0
    shown, told = capsys.readouterr()
    assert "| kappa-10 | `shortfall_weight` 10 in training | 1 |" in shown
    assert "2 of 2: kappa-10 on right, seed 0" in told
    assert ablate(out, "--dry-run") == 0
    assert "2 of 2 trainings are there; 0 to run" in capsys.readouterr().out
    readme.write_text("<!-- ablations:start -->\n<!-- ablations:end -->\n", encoding="utf-8")
    show = ["ablate", "--show", str(out / "ablations.jsonl"), "--update", str(readme)]
    assert main(show) == 0
    assert f"{readme}: written" in capsys.readouterr().out
    assert "| kappa-10 |" in readme.read_text(encoding="utf-8")
    assert main([*show, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["victim"], row["variant"], row["outcome"]) for row in rows] == [
        ("right", "reference", "untested"), ("right", "kappa-10", "untested"),
    ]  # fmt: skip
    assert main(show) == 0
    assert f"{readme}: already up to date" in capsys.readouterr().out


def test_the_default_steps_are_those_of_a_training() -> None:
    assert int(command.STEPS) == Training.steps


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "one of --out and --show"),
        (["--out", "x", "--show", "y"], "one of --out and --show"),
        (["--show", "nowhere.jsonl"], "expected ablations in nowhere.jsonl"),
        (["--out", "x"], "expected --victim"),
        (["--out", "x", "--victim", "tiny-stile"], "did you mean 'tiny-style'"),
        (["--out", "x", "--victim", "tiny-style", "--variants", "no-mask"], "did you mean 'no-masking'"),
        (["--out", "x", "--victim", "tiny-style", "--seeds", "0"], "seeds"),
        (["--out", "x", "--victim", "tiny-style", "--seeds", "ten"], "ten"),
        (["--out", "x", "--victim", "tiny-style", "--steps", "10"], "one rollout"),
        (["--out", "x", "--victim", "tiny-style", "--jobs", "0"], "at least one process"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(
    words: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ablate", *words]) == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
