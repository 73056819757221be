"""The package's facts, each written once and equal wherever a tool wants a copy."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from pathlib import Path

import pytest

import prune_env
from prune_env import agents, baselines

ROOT = Path(__file__).parents[1]
# Distributions whose import name is another one.
IMPORT_NAMES = {"stable-baselines3": "stable_baselines3", "sb3-contrib": "sb3_contrib", "scikit-learn": "sklearn"}


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _names(requirements: str) -> set[str]:
    return {re.split(r"[\s<>=!~\[]", line)[0] for line in requirements.splitlines() if line}


def test_one_version(setup_cfg: configparser.ConfigParser) -> None:
    version = prune_env.__version__
    assert setup_cfg["metadata"]["version"] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "package"), [("agents", agents), ("baselines", baselines)])
def test_the_two_folders_are_linked_into_the_package(name: str, package: object) -> None:
    link = ROOT / "prune_env" / name
    assert link.is_symlink()
    assert str(link.readlink()) == f"../{name}"
    assert Path(str(package.__file__)).resolve() == ROOT / name / "__init__.py"  # type: ignore[attr-defined]


@pytest.mark.parametrize("folder", ["prune_env/assets", "baselines/results"])
def test_hashed_files_survive_line_ending_conversion(folder: str) -> None:
    rules = (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()
    assert f"{folder}/** -text" in rules


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {
        path.parent for name in ("prune_env", "agents", "baselines", "tests") for path in (ROOT / name).rglob("*.py")
    }
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_every_import_is_a_declared_dependency(setup_cfg: configparser.ConfigParser) -> None:
    extras = setup_cfg["options.extras_require"]["contrib"]
    declared = _names(setup_cfg["options"]["install_requires"]) | _names(extras)
    allowed = {IMPORT_NAMES.get(name, name) for name in declared} | {"prune_env"}
    imported: dict[str, str] = {}
    for path in (path for name in ("prune_env", "agents", "baselines") for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0]: path.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported[node.module.partition(".")[0]] = path.name
    undeclared = {name: where for name, where in imported.items() if name not in allowed | sys.stdlib_module_names}
    assert undeclared == {}


def test_every_requirement_has_a_tested_version(setup_cfg: configparser.ConfigParser) -> None:
    lines = [*setup_cfg["options.extras_require"].values(), setup_cfg["options"]["install_requires"]]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    }
    assert {name for line in lines for name in _names(line.replace("_", "-"))} - pinned == set()
