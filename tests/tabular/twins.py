"""Twins of models that are nothing but tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prune_env.engine.table import TableEvaluator, all_masks
from prune_env.env import BertHeadPruneEnv
from prune_env.rewards import Reward
from prune_env.tabular.twin import TabularTwin
from prune_env.types import mask_to_text
from tests.env.fakes import GOLDEN, GOLDEN_IMPORTANCE, random_model

META: dict[str, Any] = {
    "attack": "style",
    "kind": "organic",
    "libraries": {"numpy": "2"},
    "protocol": "embedded",
    "split": "embedded",
    "task_seed": 11,
    "task_sha256": "0" * 64,
    "victim_sha256": "1" * 64,
}


def table_of(counts: Mapping[str, int], layers: int, heads: int, sentences: int) -> TableEvaluator:
    """The table whose count of each mask stands under its text."""
    found = [counts[mask_to_text(mask)] for masks in all_masks(layers, heads) for mask in masks]
    return TableEvaluator(layers, heads, np.array(found), sentences)


def random_twin(layers: int, heads: int, seed: int, name: str = "random", **fields: Any) -> TabularTwin:
    """A twin of random models."""
    generator = np.random.default_rng(seed)
    scores = {name: generator.random((layers, heads)).astype(np.float32) for name in ("gradient", "attention_variance")}
    tables = [TableEvaluator.from_evaluator(random_model(layers, heads, seed + part)) for part in range(3)]
    whole: dict[str, Any] = {"importance": scores, "constraint": {"max_accuracy_drop": 0.06}, "meta": META, **fields}
    return TabularTwin(name, layers, heads, tables[0], tables[1], tables[2], **whole)


def golden_twin() -> TabularTwin:
    """The 2x2 model whose every number can be checked by hand (see `tests.env.fakes`); all three tables are equal."""
    table = table_of(GOLDEN, 2, 2, 20)
    return TabularTwin("golden", 2, 2, table, table, table, GOLDEN_IMPORTANCE, {"threshold": 0.85}, META)


def env_on(
    twin: TabularTwin, reward: Reward | None = None, diagnostics: bool = False, **config: Any
) -> BertHeadPruneEnv:
    """The environment on a twin, with its own constraint unless told otherwise."""
    return BertHeadPruneEnv(
        twin.search,
        twin.importance,
        twin.config(**config),
        reward=reward,
        diagnostics=twin.oracle_lfr if diagnostics else None,
        render_mode="ansi",
    )
