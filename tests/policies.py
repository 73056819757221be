"""Scripted policies on a model whose heads have prices: 2 layers of 3 heads, 20 sentences, all checked by hand.

head    0 1 2 / 3 4 5
ranking 1 5 3 / 2 6 4     (1 = least important, so the order is 0, 3, 2, 5, 1, 4)
price   0 9 1 / 1 9 3     (sentences lost without it)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from prune_env.config import EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.rollout import Episode, Policy, rollout
from prune_env.types import HeadMask
from tests.env.fakes import FakeEvaluator

RANKING = np.array([[1.0, 5.0, 3.0], [2.0, 6.0, 4.0]], dtype=np.float32)
PRICES = np.array([[0, 9, 1], [1, 9, 3]])


def priced(prices: Any = PRICES, sentences: int = 20) -> FakeEvaluator:
    """A model that loses these sentences with each head, and no more than there are."""
    costs = np.asarray(prices)

    def count(mask: HeadMask) -> int:
        return max(0, sentences - int(costs[~mask].sum()))

    layers, heads = costs.shape
    return FakeEvaluator(layers, heads, sentences, count)


def play(policy: Policy, metric: str, model: FakeEvaluator | None = None, *, seed: int = 0, **config: Any) -> Episode:
    """Plays an episode with `metric` ranking the heads, threshold .85 (17 of 20) unless told otherwise."""
    evaluator = priced() if model is None else model
    ranking = RANKING if model is None else np.random.default_rng(seed).random((model.layers, model.heads))
    env = BertHeadPruneEnv(evaluator, {metric: ranking.astype(np.float32)}, EnvConfig(**{"threshold": 0.85, **config}))
    return rollout(env, policy, seed=seed)
