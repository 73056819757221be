"""Small twins with a known answer, written to files that environments take by their path."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.agents.environments import EnvChoice
from prune_env.engine.table import TableEvaluator
from prune_env.tabular.environment import TABULAR_ID
from prune_env.tabular.twin import TabularTwin
from prune_env.types import HeadMask
from tests.env.fakes import FakeEvaluator, random_model

_META: dict[str, Any] = {
    "attack": "none",
    "kind": "fake",
    "libraries": {},
    "protocol": "none",
    "split": "embedded",
    "task_seed": 11,
    "task_sha256": "0" * 64,
    "victim_sha256": "0" * 64,
}
_FOLDER = tempfile.TemporaryDirectory(prefix="prune-env-twins-", ignore_cleanup_errors=True)


def _right_count(mask: HeadMask) -> int:
    """Twenty sentences: heads 0 and 3 can go, alone and together; without head 1 or head 2 half of all is wrong."""
    return 20 if mask[0, 1] and mask[1, 0] else 10


@cache
def twin_file(name: str) -> str:
    """Returns the file of "right", whose one right answer prunes heads 0 and 3, or of one such as "random-2x3-7"."""
    if name == "right":
        ranking: NDArray[np.float32] = np.array([[1.0, 4.0], [3.0, 2.0]], dtype=np.float32)
        return _write(
            name, FakeEvaluator(2, 2, 20, _right_count), {"gradient": ranking, "attention_variance": ranking.T}
        )
    grid, seed = name.split("-")[1:]
    layers, heads = map(int, grid.split("x"))
    generator = np.random.default_rng(int(seed))
    scores = {metric: generator.random((layers, heads), np.float32) for metric in ("gradient", "attention_variance")}
    return _write(name, random_model(layers, heads, int(seed)), scores)


def _write(name: str, model: FakeEvaluator, importance: dict[str, NDArray[np.float32]]) -> str:
    table = TableEvaluator.from_evaluator(model)
    shape = (model.layers, model.heads)
    twin = TabularTwin(name, *shape, table, table, table, importance, {"threshold": 0.9}, _META)
    return str(twin.save(Path(_FOLDER.name)))


def choice(name: str = "right", **arguments: Any) -> EnvChoice:
    return EnvChoice(twin_file(name), TABULAR_ID, arguments)
