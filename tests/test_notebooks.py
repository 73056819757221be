"""Every notebook runs from its first cell to its last, and lies in git as its author wrote it: no outputs, no paths."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from prune_env.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST_CELL = 16
"""Lines of code: more is machinery, and belongs into the package."""

# The kernel talks over sockets of this machine alone. Where ipywidgets is missing, progress bars say so, and are text.
KERNEL = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore:IProgress not found"}

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    """Returns the notebook, after checking it against the format's schema."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    return notebook


def run(notebook: Any, folder: Path) -> list[Any]:
    """Executes a notebook in an empty folder, with nothing of the user's own settings, and returns all outputs."""
    places = {name: str(folder / name) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "PRUNE_ENV_CACHE")}
    environment = {**os.environ, **KERNEL, **places}
    del environment["MPLBACKEND"]  # the kernel has its own, which keeps the pictures
    work = folder / "work"
    work.mkdir()
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(work)}})
    client.execute(env=environment)
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(outputs: list[Any]) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


def warned(outputs: list[Any]) -> list[str]:
    """Returns what was written to stderr and is no progress bar."""
    written = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    return [text for text in written if "warn" in text.lower() or "error" in text.lower()]


def test_there_are_four() -> None:
    names = ["1-first-steps", "2-train-an-agent", "3-purify-a-model", "4-write-your-own"]
    assert [path.stem for path in NOTEBOOKS] == names


@every_notebook
def test_it_runs_and_draws(path: Path, tmp_path: Path) -> None:
    outputs = run(read(path), tmp_path)
    assert [output for output in outputs if output.output_type == "error"] == []
    assert warned(outputs) == []
    assert pictures(outputs) >= 2


@every_notebook
def test_it_is_stored_without_outputs_and_traces_of_a_machine(path: Path) -> None:
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None and cell.metadata == {} for cell in code)
    assert set(read(path).metadata) == {"kernelspec", "language_info"}
    assert not re.search(r"/(home|Users|root|tmp|work|usr|mnt)/|[A-Z]:\\\\", path.read_text(encoding="utf-8"))


@every_notebook
def test_it_reads_like_a_text(path: Path) -> None:
    cells = read(path).cells
    assert cells[0].source.startswith("# ")
    assert cells[-1].cell_type == "markdown"
    long = [cell.source for cell in cells if cell.cell_type == "code" and cell.source.count("\n") >= LONGEST_CELL]
    assert long == []


@every_notebook
def test_every_file_it_links_exists(path: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", "\n".join(cell.source for cell in read(path).cells))
    assert all((path.parent / link).exists() for link in links if not link.startswith("http"))


@every_notebook
def test_every_command_it_names_exists(path: Path) -> None:
    named = set(re.findall(r"prune-env ([a-z]+)", path.read_text(encoding="utf-8")))
    assert named <= set(COMMANDS)


def test_a_cell_that_fails_or_warns_is_seen(tmp_path: Path) -> None:
    made: Any = nbformat.v4
    notebook = made.new_notebook(cells=[made.new_code_cell("import warnings\nwarnings.warn('planted')\n1 / 0")])
    with pytest.raises(Exception, match="ZeroDivisionError"):
        run(notebook, tmp_path)
    outputs = notebook.cells[0].outputs
    assert len(warned(outputs)) == 1
    assert outputs[-1].output_type == "error"
