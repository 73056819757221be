"""Small tables with a known answer, as environments that `gym.make` and `gym.make_vec` make by name."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prune_env.agents.environments import EnvChoice
from prune_env.agents.judge import Bounds
from prune_env.config import EnvConfig
from prune_env.engine.table import TableEvaluator
from prune_env.env import BertHeadPruneEnv
from prune_env.types import HeadMask, HeadScores
from prune_env.vector import BertHeadPruneVectorEnv
from tests.env.fakes import FakeEvaluator, random_model

TWIN_ID = "FakeHeadPruneTable-v0"
THRESHOLD = 0.9

RIGHT = Bounds(optimum=0.5, random=0.0)
"""Of "right": two of four heads can go. What random actions get is no part of what is tested with it."""


def _right_count(mask: HeadMask) -> int:
    """Twenty sentences: heads 0 and 3 can go, alone and together; without head 1 or head 2 half of all is wrong."""
    return 20 if mask[0, 1] and mask[1, 0] else 10


@cache
def _table(victim: str) -> tuple[TableEvaluator, dict[str, HeadScores]]:
    """Returns the table of "right", or of a random model such as "random-2x3-7", and two metrics."""
    if victim == "right":
        evaluator = FakeEvaluator(2, 2, 20, _right_count)
        ranking: NDArray[Any] = np.array([[1.0, 4.0], [3.0, 2.0]])
        return TableEvaluator.from_evaluator(evaluator), {"gradient": ranking, "attention_variance": ranking.T.copy()}
    grid, seed = victim.split("-")[1:]
    layers, heads = map(int, grid.split("x"))
    generator = np.random.default_rng(int(seed))
    importance = {name: generator.random((layers, heads)) for name in ("gradient", "attention_variance")}
    return TableEvaluator.from_evaluator(random_model(layers, heads, int(seed))), importance


def make_twin(victim: str, diagnostics: bool = False, render_mode: str | None = None, **config: Any) -> BertHeadPruneEnv:
    evaluator, importance = _table(victim)
    settings = EnvConfig(**{"threshold": THRESHOLD, **config})
    oracle = evaluator if diagnostics else None
    return BertHeadPruneEnv(evaluator, importance, settings, diagnostics=oracle, render_mode=render_mode)


def make_twins(victim: str, num_envs: int = 1, **arguments: Any) -> BertHeadPruneVectorEnv:
    one = make_twin(victim, **arguments)
    return BertHeadPruneVectorEnv(one.evaluator, one.importance, one.config, num_envs, diagnostics=one.diagnostics)


gym.register(
    TWIN_ID, entry_point="tests.agents.twins:make_twin", vector_entry_point="tests.agents.twins:make_twins"
)


def choice(victim: str = "right", **arguments: Any) -> EnvChoice:
    return EnvChoice(victim, TWIN_ID, arguments)
