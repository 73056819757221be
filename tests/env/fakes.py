"""Models that are nothing but a table of accuracies, and environments on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prune_env.config import EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.rewards import Reward
from prune_env.types import HeadMask, HeadMasks, check_masks, mask_from_text, mask_to_text


class FakeEvaluator:
    """Counts of correct sentences from a function of the mask; remembers every mask it was asked for."""

    def __init__(self, layers: int, heads: int, sentences: int, count: Callable[[HeadMask], int]) -> None:
        self.layers, self.heads, self.sentences = layers, heads, sentences
        self._count = count
        self.asked: list[str] = []

    def accuracy(self, masks: HeadMasks) -> NDArray[np.float64]:
        check_masks(masks, self.layers, self.heads)
        self.asked.extend(mask_to_text(mask) for mask in masks)
        return np.array([self._count(mask) for mask in masks]) / self.sentences


def table(counts: Mapping[str, int], sentences: int) -> FakeEvaluator:
    """A model from a table such as {"11/11": 20, ...} that has every valid mask."""
    layers, heads = mask_from_text(next(iter(counts))).shape
    return FakeEvaluator(layers, heads, sentences, lambda mask: counts[mask_to_text(mask)])


GOLDEN = {
    "11/11": 20, "01/11": 19, "10/11": 16, "11/01": 18, "11/10": 17,
    "01/01": 18, "01/10": 15, "10/01": 14, "10/10": 19,
}  # fmt: skip
"""20 sentences. At threshold .85 (17 of 20) all pass but 10/11, 01/10 and 10/01."""

GOLDEN_IMPORTANCE = {"gradient": np.array([[1.0, 3.0], [2.0, 5.0]], dtype=np.float32)}


def golden_env(reward: Reward | None = None, **config: Any) -> BertHeadPruneEnv:
    """A 2x2 model whose every number can be checked by hand; two heads a step, threshold .85 unless told otherwise."""
    if "max_accuracy_drop" not in config:
        config.setdefault("threshold", 0.85)
    return BertHeadPruneEnv(table(GOLDEN, 20), GOLDEN_IMPORTANCE, EnvConfig(**config), reward=reward)


def random_model(layers: int, heads: int, seed: int, sentences: int = 200) -> FakeEvaluator:
    """Every head costs some sentences, and some pairs cost more together or less."""
    generator = np.random.default_rng(seed)
    size = layers * heads
    single = generator.integers(0, 8, size)
    pairs = np.triu(generator.integers(-4, 5, (size, size)), 1)

    def count(mask: HeadMask) -> int:
        pruned = (~mask).reshape(-1).astype(np.int64)
        return int(np.clip(sentences - pruned @ single - pruned @ pairs @ pruned, 0, sentences))

    return FakeEvaluator(layers, heads, sentences, count)


def small_env(
    layers: int = 3,
    heads: int = 4,
    seed: int = 0,
    render_mode: str | None = None,
    diagnostics: bool = False,
    **config: Any,
) -> BertHeadPruneEnv:
    """A random model with two metrics, as a factory that `gym.make` can call: every argument is a JSON value."""
    generator = np.random.default_rng(seed)
    importance = {name: generator.random((layers, heads)).astype(np.float32) for name in ("gradient", "variance")}
    if "max_accuracy_drop" not in config:
        config.setdefault("threshold", 0.9)
    return BertHeadPruneEnv(
        random_model(layers, heads, seed),
        importance,
        EnvConfig(**config),
        diagnostics=random_model(layers, heads, seed + 1) if diagnostics else None,
        render_mode=render_mode,
    )


FAKE_ID = "FakeHeadPrune-v0"
gym.register(FAKE_ID, entry_point="tests.env.fakes:small_env")


def action(env: BertHeadPruneEnv, *slots: int, stop: bool = False) -> NDArray[np.int8]:
    """The action that prunes these slots."""
    bits = np.zeros(env.layout.slots + 1, dtype=np.int8)
    bits[list(slots)] = 1
    bits[-1] = stop
    return bits


def play(
    env: BertHeadPruneEnv, *steps: tuple[int, ...]
) -> list[tuple[dict[str, Any], float, bool, bool, dict[str, Any]]]:
    """Resets with seed 0 and prunes one set after the other."""
    env.reset(seed=0)
    return [env.step(action(env, *slots)) for slots in steps]
