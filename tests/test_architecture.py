"""Imports point one way, from the ground up; a module without a place in the order fails, too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room is a module or folder of `prune_env`; it imports itself, rooms above it in this list and those on its line.
ORDER = (
    {"errors"},
    {"types"},
    {"cache", "config", "markers", "metrics", "seeds", "thresholds"},
    {"threads"},
    {"engine"},
    {"importance"},
    {"victims"},
    {"render", "rewards"},
    {"actions", "dynamics", "env", "layout", "measurement", "observation", "reset_arguments", "state", "wrappers"}
    | {"known_arguments", "vector", "vector_dynamics", "vector_rewards", "vector_state", "vector_view"},
    {"methods", "record_form", "records", "rollout", "scripted"},
    {"recovered"},
    {"importance_cache", "machine", "recovery", "scoring", "tensorboard"},
    {"oracle"},
    {"registration"},
    {"search"},
    {"tabular"},
    {"defense"},
    {"aids"},
    {"purification", "recheck", "replay"},
    {"model_card"},
    {"agents", "baselines"},
    {"comparison"},
    {"speed"},
    {"cli", "__main__"},
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

# Of these rooms an environment over a stored table is made: they know models only through the evaluator's Protocol.
LIGHT = {"__init__"} | ORDER[0] | ORDER[1] | ORDER[2] | ORDER[7] | ORDER[8] | ORDER[9]
HEAVY_LIBRARIES = {"torch", "transformers", "datasets", "safetensors", "stable_baselines3", "sb3_contrib", "tokenizers"}
LIGHT_MODULES = {"prune_env.engine.evaluator"}


def _imports(source: str, package: str) -> Iterator[str]:
    """Yields every module that `source` imports, wherever the import stands; relative ones made absolute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from prune_env import env` imports a module, `from prune_env.env import X` a name of one.
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "prune_env" else [module]


def _room(module: str) -> str:
    name = [*module.split("."), "__init__"][1]
    return "__init__" if name == "__version__" else name


def violations(source: str, package: str, room: str) -> list[str]:
    """Returns a sentence for each forbidden import of a module of `room` that stands in `package`."""
    found = []
    for module in _imports(source, package):
        top, target = module.partition(".")[0], _room(module)
        if top in {"agents", "baselines"}:
            found.append(f"{room} imports {module}: write prune_env.{module}")
        elif room in LIGHT and top in HEAVY_LIBRARIES:
            found.append(f"{room} imports {module}: it must work without")
        elif top != "prune_env" or target in {room, "__init__"} or (room in LIGHT and module in LIGHT_MODULES):
            continue
        elif target not in RANK or room not in RANK:
            found.append(f"{room} imports {module}: give both a place in ORDER")
        elif RANK[target] > RANK[room] or {room, target} == {"agents", "baselines"}:
            found.append(f"{room} imports {module}: the arrow points the wrong way")
        elif room in LIGHT and target not in LIGHT:
            found.append(f"{room} imports {module}: only Protocols of the engine are open to it")
    return found


def _modules() -> Iterator[tuple[Path, str]]:
    """Yields every module of the package with its import name; the two links are followed by name."""
    for folder, name in (
        ("prune_env", "prune_env"),
        ("agents", "prune_env.agents"),
        ("baselines", "prune_env.baselines"),
    ):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder)
            if inner.parts[0] not in {"agents", "baselines"}:
                yield path, ".".join([name, *inner.with_suffix("").parts])


@pytest.mark.parametrize(("path", "name"), [pytest.param(*module, id=module[1]) for module in _modules()])
def test_imports_point_from_the_ground_up(path: Path, name: str) -> None:
    room = _room(name)
    assert room == "__init__" or room in RANK, f"give {room} a place in ORDER"
    assert violations(path.read_text(encoding="utf-8"), name.rpartition(".")[0], room) == []


@pytest.mark.parametrize("path", [*sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "notebooks").rglob("*.*"))])
def test_nobody_imports_the_folders_by_their_bare_names(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="ignore")
    assert not re.search(r"^\s*\"?(from|import) (agents|baselines)\b", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("package", "room", "source", "complaint"),
    [
        ("prune_env.engine", "engine", "from prune_env.victims.data import Sentences", "wrong way"),
        ("prune_env.engine", "engine", "def f():\n    from ..victims import data", "wrong way"),
        ("prune_env.victims", "victims", "import prune_env.env", "wrong way"),
        ("prune_env", "defense", "from prune_env import cli", "wrong way"),
        ("prune_env.agents", "agents", "from prune_env.baselines.gradient import Gradient", "wrong way"),
        ("prune_env.baselines", "baselines", "from prune_env.agents import policies", "wrong way"),
        ("prune_env", "env", "import torch", "without"),
        ("prune_env", "rewards", "def f():\n    import transformers.models", "without"),
        ("prune_env", "env", "from .engine.transformer import TransformerEvaluator", "Protocols"),
        ("prune_env", "config", "from prune_env.victims.task import Task", "wrong way"),
        ("prune_env", "env", "from prune_env.victims.task import Task", "Protocols"),
        ("prune_env.cli", "cli", "import agents.sb3", "write prune_env.agents.sb3"),
        ("prune_env", "__init__", "import torch", "without"),
        ("prune_env.cli", "cli", "from prune_env.novelty import Thing", "ORDER"),
    ],
)
def test_a_planted_arrow_is_seen(package: str, room: str, source: str, complaint: str) -> None:
    (found,) = violations(source, package, room)
    assert complaint in found


@pytest.mark.parametrize(
    ("package", "room", "source"),
    [
        ("prune_env", "env", "from prune_env.engine.evaluator import Evaluator\nimport gymnasium"),
        ("prune_env.engine", "engine", "import torch\nfrom .evaluator import Evaluator\nfrom ..types import HeadMask"),
        ("prune_env.baselines", "baselines", "from prune_env.defense import purify\nfrom prune_env.baselines import x"),
        ("prune_env.cli", "cli", "from prune_env import __version__"),
    ],
)
def test_an_arrow_that_is_allowed_is_let_through(package: str, room: str, source: str) -> None:
    assert violations(source, package, room) == []
