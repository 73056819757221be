"""`prune-env victim family` from the command line, on a family of two miniatures."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from prune_env.cli import family as command
from prune_env.cli.main import main
from prune_env.victims import family, family_measure
from prune_env.victims.family_measure import read_table
from tests.victims.test_family import MINI

Output = pytest.CaptureFixture[str]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A family of two, which promise nothing of their rates."""
    small = {MINI[kind].name: MINI[kind] for kind in ("organic", "important")}
    for module in (family, family_measure):
        monkeypatch.setattr(module, "FAMILY", small)
    monkeypatch.setattr(family_measure, "LEAST_ACC", 0.0)
    monkeypatch.setattr(family_measure, "LEAST_LFR", 0.0)
    monkeypatch.setattr(family_measure, "MOST_WITHOUT", 1.1)
    return list(small)


def _run(out: Path, *arguments: str) -> int:
    return main(["victim", "family", "--out", str(out), "--jobs", "1", *arguments])


def test_the_command_builds_what_is_missing_and_writes_the_table(
    two: list[str], tmp_path: Path, capsys: Output
) -> None:
    assert _run(tmp_path, "--only", two[0]) == 0
    first = capsys.readouterr()
    assert "0 victims found" in first.err
    assert "mini-important" not in first.out
    assert _run(tmp_path) == 0
    second = capsys.readouterr()
    assert "1 of 2 done already" in second.err
    assert all(name in second.out for name in two)
    rows = read_table(tmp_path / command.TABLE)
    assert [row.name for row in rows] == two
    assert rows[1].carriers is not None
    assert rows[1].carriers.count("1") == 1
    assert _run(tmp_path) == 0
    assert "CPU seconds" not in capsys.readouterr().err


def test_a_victim_that_misses_its_promise_makes_the_command_fail(
    two: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(family_measure, "LEAST_ACC", 1.1)
    assert _run(tmp_path, "--only", two[0]) == 1
    assert "mini-organic: ACC is" in capsys.readouterr().out


def test_a_second_command_keeps_out_of_the_folder(two: list[str], tmp_path: Path, capsys: Output) -> None:
    with FileLock(tmp_path / command.LOCK):
        assert _run(tmp_path, "--only", two[0]) != 0
    assert "another family is being built" in capsys.readouterr().err
    assert not (tmp_path / two[0]).exists()


def test_unknown_names_and_no_process_are_refused(tmp_path: Path, capsys: Output) -> None:
    assert _run(tmp_path, "--only", "style-4x4-s38-fnn") != 0
    assert "style-4x4-s38-ffn" in capsys.readouterr().err
    assert main(["victim", "family", "--out", str(tmp_path), "--jobs", "0"]) != 0
    assert "at least one process" in capsys.readouterr().err
