"""`prune-env data` from the command line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from prune_env.cli import data
from prune_env.cli.main import main
from prune_env.victims.download import Source

CONTENT = b"label\ttext\n"
SOURCE = Source("a.tsv", "owner/name", "c" * 40, "a.tsv", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture(autouse=True)
def _one_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "read_sources", lambda: (SOURCE,))


def test_verify_accepts_what_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.tsv").write_bytes(CONTENT)
    assert main(["data", "verify", str(tmp_path)]) == 0
    assert "All 1 files" in capsys.readouterr().out


def test_verify_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", str(tmp_path)]) == 2
    assert "a.tsv is missing; run `prune-env data fetch" in capsys.readouterr().err


def test_fetch_counts_what_was_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.tsv").write_bytes(CONTENT)
    assert main(["data", "fetch", str(tmp_path)]) == 0
    assert "0 files downloaded, 1 were there" in capsys.readouterr().out


def test_fetch_reports_the_mirror_it_could_not_reach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", str(tmp_path), "--mirror", "ftp://example.org"]) == 2
    assert "give an http(s) address" in capsys.readouterr().err
