"""`prune-env figures` from the command line: what it writes and prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune_env.cli.main import main
from prune_env.records import append_record
from tests.record_factory import make_record

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A file with fine-tuning and gradient on a victim and its twin."""
    path = tmp_path / "records.jsonl"
    for role in ("victim", "twin"):
        for method in ("ft", "gradient"):
            append_record(path, make_record(method, (1, 1, 0, int(role == "victim")), role=role))
    return path


def test_draws_what_it_can_and_says_why_not_the_rest(records: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "figures"
    assert main(["figures", str(records), "--out", str(out), "--study", str(_study(tmp_path))]) == 2
    # A study that was named and is not there is an error, after which what was drawn before stays.
    assert (out / "removal.png").is_file()
    assert main(["figures", str(records), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert f"{out / 'removal.png'}" in shown and f"Page: {out / 'figures.md'}" in shown
    assert "threshold: not drawn; no method was run under several thresholds" in shown
    assert "embeddings, metrics, path, ground-truth: not drawn; it looks into models" in shown
    assert shown.count("not at hand") == shown.count("several thresholds") == 1
    page = (out / "figures.md").read_text(encoding="utf-8")
    assert "## removal" in page and "## heads" in page and "## threshold" not in page


def _study(folder: Path) -> Path:
    return folder / "no-study"


def test_only_draws_what_is_named(records: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures"
    assert main(["figures", str(records), "--out", str(out), "--only", "heads,removal"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "figures.md", "heads-2x2.csv", "heads-2x2.png", "heads-2x2.svg", "removal.csv", "removal.png", "removal.svg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "scarcity"], "not drawn: scarcity: no family was defended with several amounts"),
        (["--only", "removals"], "unknown figure 'removals': did you mean 'removal'"),
        (["--seed", "x"], "expected a seed such as 11, got 'x'"),
        (["--learning-rate", "fast"], "expected a learning rate such as 2e-5, got 'fast'"),
        (["--only", "removal", "--learning-rate", "0.5"], ""),
        (["--only", "threshold", "--learning-rate", "0.5"], "no records at the rate 0.5, only at 2e-05"),
        (["--only", "path", "--victim", "nowhere/victim"], "expected the folder of a victim at nowhere/victim"),
    ],
)
def test_errors_are_one_sentence(
    arguments: list[str], words: str, records: Path, tmp_path: Path, capsys: Capture
) -> None:
    code = main(["figures", str(records), "--out", str(tmp_path / "figures"), *arguments])
    assert code == (2 if words else 0)
    assert words in capsys.readouterr().err


def test_what_is_missing_is_said_once(records: Path, tmp_path: Path, capsys: Capture) -> None:
    asked = ["--only", "removal", "metrics", "path"]
    assert main(["figures", str(records), "--out", str(tmp_path / "figures"), *asked]) == 2
    shown = capsys.readouterr()
    assert "not drawn: metrics, path: it looks into models" in shown.err
    assert "not drawn" not in shown.out and shown.err.count("not at hand") == 1


def test_records_have_to_be_there(tmp_path: Path, capsys: Capture) -> None:
    assert main(["figures", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "figures")]) == 2
    assert "expected records in" in capsys.readouterr().err
