"""What the README says runs: its Python loop, the commands it names, the files it points to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from prune_env.cli.main import COMMANDS

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_the_python_loop_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(compile(code, str(README), "exec"), names)
    fraction, accuracy, evaluations = capsys.readouterr().out.split()
    assert 0.0 < float(fraction) < 1.0
    assert names["info"]["accuracy"] == float(accuracy) > 0.9
    assert int(evaluations) == names["info"]["evaluations"] >= 2
    assert names["terminated"] or names["truncated"]


@pytest.mark.parametrize(("place", "count"), [(1, 8), (2, 256)], ids=["live", "tabular"])
def test_the_vector_environments_of_the_readme_are_made(place: int, count: int) -> None:
    every = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(every[place], str(README), "exec"), names)
    observations, _ = names["environments"].reset(seed=11)
    assert observations["mask"].shape == (count, 16)
    assert len(every) == 3


def test_every_command_and_target_it_names_exists() -> None:
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    commands = set(re.findall(r"prune-env ([a-z]+)", TEXT))
    assert commands
    assert commands <= set(COMMANDS)
    targets = set(re.findall(r"`?make ([a-z]+)", TEXT)) - {"are"}
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_every_file_it_links_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    assert links
    assert all((README.parent / link).exists() for link in links)
