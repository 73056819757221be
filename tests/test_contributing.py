"""What CONTRIBUTING says of a new method is true: its file and its line, as they stand there, are all it takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from prune_env import baselines
from prune_env.baselines.cells import Cell, run_cell
from prune_env.baselines.presets import every_method
from prune_env.methods import METHODS, Method, PolicyContext, get_method
from prune_env.types import mask_to_text
from tests.policies import play, priced
from tests.victims_factory import world

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTION = TEXT.partition("### A method, from beginning to end")[2].partition("\n## ")[0]


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Method]:
    """Writes the file, adds the line to the registry, and returns the method by its name."""
    (code,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    (file,) = re.findall(r"^`baselines/(\w+\.py)`, whole:", SECTION, re.MULTILINE)
    ((name, target),) = re.findall(r'^ +"([\w-]+)": "([\w.:]+)",$', SECTION, re.MULTILINE)
    (tmp_path / file).write_text(code, encoding="utf-8")
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    monkeypatch.setitem(METHODS, name, target)
    yield get_method(name)
    sys.modules.pop(target.partition(":")[0])


def test_the_example_is_registered_under_its_own_name(added: Method) -> None:
    assert get_method(added.name) is added
    assert added.name in every_method()


@pytest.mark.parametrize(
    ("heads", "mask"), [(2, "01/01"), (3, "010/101"), (4, "0101/0101"), (1, "1/1")]
)  # fmt: skip
def test_its_mask_by_hand(added: Method, heads: int, mask: str) -> None:
    assert added.policy is not None
    policy = added.policy(PolicyContext(seed=0, layers=2, heads=heads))
    model = priced(np.zeros((2, heads), int))
    for padding in (None, (3, 5)):
        episode = play(policy, "gradient", model, threshold=0.01, pad_to=padding, **added.environment)
        assert mask_to_text(episode.mask) == mask
        assert len(episode.trace) == 1


def test_a_benchmark_runs_it_by_name(added: Method, tmp_path: Path) -> None:
    records = run_cell(Cell((world().victim("alpha"),), added.name, 11, None), world().settings(tmp_path))
    assert [(record.role, record.method, record.mask) for record in records] == [
        ("twin", "every-other", "01/01"),
        ("victim", "every-other", "01/01"),
    ]
    assert all(record.recovery_sentences == 96 and record.threshold is None for record in records)


def test_its_file_is_short(added: Method) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    assert len(code.splitlines()) < 40
    assert added.summary in code


def test_every_test_it_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", TEXT)
    assert len(named) >= 4
    assert all((Path(__file__).parents[1] / name).is_file() for name in named)
