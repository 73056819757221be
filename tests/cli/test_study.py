"""`prune-env study` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune_env.baselines.study.agreement import Agreement
from prune_env.cli.main import main

Capture = pytest.CaptureFixture[str]


def test_a_small_study_from_start_to_report(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from prune_env.victims.parallel_training import train_stack as real

    monkeypatch.setattr(
        "prune_env.baselines.study.outcomes.train_stack",
        lambda stack, tokens, *rest, **named: real(stack, tokens.subset(range(64)), *rest, **named),
    )
    out, tables, page = tmp_path / "out", tmp_path / "tables", tmp_path / "page.md"
    command = ["study", "--victim", "tiny-style", "--masks", "5", "--seeds", "11", "--out", str(out)]
    assert main([*command, "--jobs", "1"]) == 0
    shown = capsys.readouterr().err
    assert "0 of 2" in shown and "2 of 2: tiny-style, seed 11, chunk 1" in shown
    assert main([*command, "--jobs", "1"]) == 0
    assert "2 of 2: 2 parts found" in capsys.readouterr().err
    assert main([*command, "--ship", str(tables)]) == 0
    assert capsys.readouterr().out.split() == [str(tables / "tiny-style.csv"), str(tables / "tiny-style.json")]
    assert main(["study", "--report", "--table", str(tables), "--save", str(page)]) == 0
    shown = capsys.readouterr().out
    assert shown == page.read_text(encoding="utf-8")
    assert "## tiny-style: 5 masks, 1 victim, defender's seeds 11" in shown
    assert "the 5 heads that carry the backdoor" in shown


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "expected --out DIR"),
        (["--out", "x", "--jobs", "0"], "at least one process"),
        (["--out", "x", "--masks", "many"], "a number of masks such as 512"),
        (["--report", "--table", "nowhere"], "ship them first"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mean", "code"), [(0.02, 0), (0.04, 1)])
def test_a_check_that_finds_a_difference_exits_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, mean: float, code: int
) -> None:
    found = [Agreement("lfr", 24, mean, 0.01, 0.05)]
    monkeypatch.setattr("prune_env.baselines.study.agreement.compare", lambda *_: found)
    assert main(["study", "--out", str(tmp_path), "--check", "24"]) == code
    assert ("They agree" in capsys.readouterr().out) == (code == 0)


def test_a_report_without_a_table_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("prune_env.baselines.study.report.SHIPPED", tmp_path)
    assert main(["study", "--report"]) == 2
    assert "not shipped yet; run `prune-env study --out RUN`" in capsys.readouterr().err
