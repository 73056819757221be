"""W5 and W6: environments side by side on a model, and an environment's own overhead over a stored table."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prune_env.config import EnvConfig
from prune_env.engine.device import resolve_device
from prune_env.engine.evaluator import Evaluator
from prune_env.engine.table import TableEvaluator, table_size
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.seeds import derive
from prune_env.speed.ceiling import synchronise
from prune_env.speed.contestants import ours
from prune_env.speed.measure import Measured, Turn, Waiter, alternate
from prune_env.speed.plan import Settings
from prune_env.speed.rows import STEPS, Row, make_row
from prune_env.speed.subject import Subject
from prune_env.vector import BertHeadPruneVectorEnv

VECTOR, SINGLE = "vector environment", "single environments"

TABLE_LAYERS, TABLE_HEADS, TABLE_ENVIRONMENTS = 4, 4, 64

CONFIG = EnvConfig(threshold=0.01, max_heads_per_step=None)
"""A threshold that every mask meets: which masks come up then follows from the actions alone."""


def parallel(subject: Subject, settings: Settings, waiter: Waiter) -> list[Row]:
    """W5: K environments that prune other heads, in one vector and one after the other, each with a fresh evaluator."""
    dtype, rows, limit = settings.fastest, [], settings.sizes.parallel_sentences
    tokens = subject.tokens if limit is None else subject.tokens.subset(range(min(limit, len(subject.tokens))))
    for count in settings.sizes.environments:
        steps = settings.sizes.parallel_steps
        actions = pruning_actions(subject.layers, subject.heads, steps, count, settings.seed)

        def fresh() -> Evaluator:
            return ours(subject.model, tokens, settings.device, dtype, reuse=True)

        turns: dict[str, Turn] = {
            SINGLE: _turn(_step_singles, fresh, actions, settings.device),
            VECTOR: _turn(_step_vector, fresh, actions, settings.device),
        }
        measured = alternate(turns, settings.rounds, settings.patience, waiter)
        asked = (steps * count,) * 2
        rows += [
            make_row("W5", f"K = {count}, {len(tokens)} sentences", (name, dtype), STEPS, measured[name], asked)
            for name in turns
        ]
    return rows


def overhead(settings: Settings, waiter: Waiter) -> list[Row]:
    """W6: steps over a table, each of which prunes a head; resets at an episode's end are part of it."""
    rng = np.random.default_rng(derive(settings.seed, "speed-table"))
    counts = rng.integers(50, 101, table_size(TABLE_LAYERS, TABLE_HEADS))
    table = TableEvaluator(TABLE_LAYERS, TABLE_HEADS, counts, 100)
    steps, envs = settings.sizes.table_steps, TABLE_ENVIRONMENTS
    singles = pruning_actions(TABLE_LAYERS, TABLE_HEADS, steps, 1, settings.seed, staggered=True)
    # A vector's call costs about as much as a few single steps.
    vectors = pruning_actions(TABLE_LAYERS, TABLE_HEADS, max(1, steps // 16), envs, settings.seed, staggered=True)
    turns: dict[str, Turn] = {
        SINGLE: _turn(_step_singles, lambda: table, singles, "cpu"),
        VECTOR: _turn(_step_vector, lambda: table, vectors, "cpu"),
    }
    measured = alternate(turns, settings.rounds, settings.patience, waiter)
    cases = ((SINGLE, "one environment", singles), (VECTOR, f"K = {envs}", vectors))
    return [
        make_row("W6", case, (name, "float32"), STEPS, measured[name], (actions.shape[0] * actions.shape[1],) * 2)
        for name, case, actions in cases
    ]


def pruning_actions(
    layers: int, heads: int, steps: int, count: int, seed: int, *, staggered: bool = False
) -> NDArray[np.int8]:
    """Draws actions that prune one more head in each step, never the last of its layer.

    An episode ends when nothing is left to prune, and the environment's next action begins the next one.

    Args:
        layers: Layers of the model.
        heads: Heads in each, at least 2.
        steps: Actions of each environment.
        count: Environments, each with draws of its own.
        seed: Decides them.
        staggered: Whether each environment stops its first episode early, so that they do not all end at once.

    Returns:
        int8 (steps, count, layers * heads + 1).

    Raises:
        ConfigError: One head a layer: there is nothing to prune.
    """
    if heads < 2:
        raise ConfigError(f"expected a model with at least 2 heads in each layer, got {heads}; leave W5 out")
    rng = np.random.default_rng(derive(seed, "speed-actions"))
    actions = np.zeros((steps, count, layers * heads + 1), dtype=np.int8)
    for env in range(count):
        done = 0
        while done < steps:
            order = np.concatenate([rng.permutation(heads)[1:] + layer * heads for layer in range(layers)])
            first_stop = staggered and done == 0
            length = min(steps - done, int(rng.integers(1, len(order) + 1)) if first_stop else len(order))
            actions[np.arange(done, done + length), env, rng.permutation(order)[:length]] = 1
            done += length
            actions[done - 1, env, -1] = first_stop
    return actions


def importance(layers: int, heads: int) -> dict[str, NDArray[np.float32]]:
    """Returns one made-up metric: it orders what is protected, and no head is protected here."""
    return {"given": np.arange(layers * heads, dtype=np.float32).reshape(layers, heads)}


Steps = Callable[[Evaluator, NDArray[np.int8]], float]
"""(evaluator, actions (steps, environments, bits)) -> seconds of all resets and steps."""


def _turn(run: Steps, make: Callable[[], Evaluator], actions: NDArray[np.int8], device: str) -> Turn:
    where = resolve_device(device)

    def turn(_: int) -> Measured:
        evaluator = make()
        synchronise(where)
        return Measured(actions.shape[0] * actions.shape[1] / run(evaluator, actions))

    return turn


def _step_singles(evaluator: Evaluator, actions: NDArray[np.int8]) -> float:
    metrics = importance(evaluator.layers, evaluator.heads)
    envs = [BertHeadPruneEnv(evaluator, metrics, CONFIG) for _ in range(actions.shape[1])]
    started = time.perf_counter()
    for env in envs:
        env.reset(seed=0)
    for row in actions:
        for env, action in zip(envs, row, strict=True):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
    return time.perf_counter() - started


def _step_vector(evaluator: Evaluator, actions: NDArray[np.int8]) -> float:
    metrics = importance(evaluator.layers, evaluator.heads)
    envs = BertHeadPruneVectorEnv(evaluator, metrics, CONFIG, num_envs=actions.shape[1])
    started = time.perf_counter()
    envs.reset(seed=0)
    for row in actions:
        envs.step(row)
    return time.perf_counter() - started
