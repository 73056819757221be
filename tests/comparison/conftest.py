"""What the tests of cells share: a small twin's file, another's to train on, and a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune_env.comparison.cells import Settings
from tests.comparison.twin import other_twin, small


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small twin's file: one for all tests, since a process measures random play once a file."""
    return str(small().save(tmp_path_factory.mktemp("twin")))


@pytest.fixture(scope="module")
def schooling(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of another twin, to train on."""
    return other_twin("other", tmp_path_factory.mktemp("twin"), "2" * 64)


@pytest.fixture
def settings(tmp_path: Path, schooling: str) -> Settings:
    """A folder of its own, and agents that are trained on another twin for a moment."""
    out = tmp_path / "out"
    out.mkdir()
    return Settings(out, train_on=schooling, train_steps=6400)
