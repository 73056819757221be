"""A small twin with every metric, and plans on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from prune_env.comparison.plan import Plan
from prune_env.tabular.environment import EVERY_METRIC
from prune_env.tabular.twin import TabularTwin
from tests.tabular.twins import META, random_twin


def with_every_metric(twin: TabularTwin) -> TabularTwin:
    """The twin with every metric that scripts and trained agents read."""
    lacking = [name for name in EVERY_METRIC if name not in twin.importance]
    shape = twin.importance["gradient"].shape
    more = {name: np.random.default_rng(number).random(shape, dtype=np.float32) for number, name in enumerate(lacking)}
    return replace(twin, importance={**twin.importance, **more})


def small() -> TabularTwin:
    """A 2x3 twin."""
    return with_every_metric(random_twin(2, 3, 4, name="small", constraint={"max_accuracy_drop": 0.06}))


def other_twin(name: str, folder: Path, task: str) -> str:
    """The file of a twin of a victim of its own, with this task."""
    twin = random_twin(2, 3, 9, name=name, meta={**META, "task_sha256": task, "victim_sha256": task})
    return str(with_every_metric(twin).save(folder))


def plan(victim: str, *contestants: str, budgets: tuple[int | None, ...] = (5, 12), seeds: int = 2) -> Plan:
    """A plan on the twin."""
    return Plan("tabular", (victim,), contestants, budgets, tuple(range(seeds)))
