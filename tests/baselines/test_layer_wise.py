"""Layer-wise pruning: quotas by hand, layer after layer under a threshold, masks nested in every way promised."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prune_env.baselines.layer_wise import LAYER_WISE, LayerByLayer, quotas
from prune_env.config import EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.methods import PolicyContext
from prune_env.rollout import Episode, rollout
from prune_env.search import environment_config, find_mask
from prune_env.types import mask_to_text
from tests.env.fakes import FakeEvaluator, random_model
from tests.policies import play, priced
from tests.test_defense import SEARCH, task

METRIC = "attention_variance"
RANKING = np.array([[1, 5, 3, 2, 4], [9, 6, 8, 10, 7], [15, 14, 11, 13, 12]], dtype=np.float32)
"""3 layers of 5 heads, quotas 1, 2 and 4: heads 0; 6 and 9; 12, 14, 13 and 11."""


def hand(prices: object, threshold: float) -> Episode:
    config = EnvConfig(threshold=threshold, on_violation="backtrack", max_heads_per_step=None)
    return rollout(BertHeadPruneEnv(priced(prices, 100), {METRIC: RANKING}, config), LayerByLayer(METRIC), seed=0)


def search(model: FakeEvaluator, seed: int, threshold: float, **settings: object) -> Episode:
    chosen = {**LAYER_WISE.environment, **settings, "threshold": threshold}
    return play(LayerByLayer(METRIC), METRIC, model, seed=seed, **chosen)


@pytest.mark.parametrize(
    ("layers", "heads", "expected"),
    [
        (12, 12, [2, 3, 3, 4, 5, 5, 6, 6, 7, 8, 8, 9]),
        (6, 12, [2, 3, 5, 6, 8, 9]),
        (4, 4, [0, 1, 2, 3]),
        (4, 5, [1, 2, 3, 4]),
        (3, 5, [1, 2, 4]),
        (1, 10, [2]),
        (2, 1, [0, 0]),
    ],
)
def test_quotas_by_hand(layers: int, heads: int, expected: list[int]) -> None:
    assert quotas(layers, heads) == expected


@given(layers=st.integers(1, 40), heads=st.integers(1, 64))
def test_quotas_rise_and_never_empty_a_layer(layers: int, heads: int) -> None:
    found = quotas(layers, heads)
    assert found == sorted(found)
    assert found[0] >= 0 and found[-1] < heads


def test_each_layer_is_a_step_by_hand() -> None:
    episode = hand(np.ones((3, 5)), threshold=0.9)
    assert [entry["action"] for entry in episode.trace] == [[0], [6, 9], [11, 12, 13, 14], [15]]
    assert mask_to_text(episode.mask) == "01111/10110/10000"
    assert episode.accuracy == 0.93
    assert episode.evaluations == 4 and episode.terminated


def test_a_layer_that_fails_comes_back_in_part_and_ends_it_by_hand() -> None:
    prices = np.array([[1, 1, 1, 1, 1], [1, 2, 1, 1, 9], [0, 0, 0, 0, 0]])
    episode = hand(prices, threshold=0.9)
    # Layer 0 costs 1 of 100. Heads 6 and 9 cost 11 more: 88 fail, and 9, of higher variance, comes back.
    assert [entry["attempted"] for entry in episode.trace] == [
        "01111/11111/11111",
        "01111/10110/11111",
        "01111/10111/11111",
    ]
    assert [entry["violation"] for entry in episode.trace] == [False, True, False]
    assert mask_to_text(episode.mask) == "01111/10111/11111", "layer 2 would cost nothing, but pruning has ended"
    assert episode.accuracy == 0.97


def test_a_layer_that_fails_whole_comes_back_whole() -> None:
    prices = np.array([[1, 1, 1, 1, 1], [9, 9, 9, 9, 9], [0, 0, 0, 0, 0]])
    assert mask_to_text(hand(prices, threshold=0.95).mask) == "01111/11111/11111"


@given(seed=st.integers(0, 10_000), threshold=st.sampled_from([0.6, 0.8, 0.9, 0.97]))
def test_threshold_layers_and_order_hold(seed: int, threshold: float) -> None:
    episode = search(random_model(4, 5, seed % 11), seed, threshold)
    importance = np.random.default_rng(seed).random((4, 5)).astype(np.float32)
    assert episode.accuracy >= threshold
    for kept, row, quota in zip(episode.mask, importance, quotas(4, 5), strict=True):
        assert (~kept).sum() <= quota
        assert kept.any()
        assert kept.all() or row[~kept].max() < row[kept].min()


@pytest.mark.parametrize("seed", range(20))
def test_masks_of_falling_thresholds_are_nested(seed: int) -> None:
    model = random_model(4, 5, seed)
    masks = [search(model, seed, threshold).mask for threshold in (0.99, 0.95, 0.9, 0.8, 0.6, 1e-6)]
    for strict, lax in pairwise(masks):
        assert not (lax & ~strict).any()
    assert (~masks[-1]).sum(axis=1).tolist() == quotas(4, 5), "without a threshold every quota is met"


def test_a_search_is_the_same_every_time() -> None:
    episodes = [search(random_model(4, 5, 3), 3, 0.9) for _ in range(2)]
    assert episodes[0].trace == episodes[1].trace


def test_padding_is_left_alone() -> None:
    plain, padded = (search(random_model(4, 5, 1), 1, 0.8, **extra) for extra in ({}, {"pad_to": (6, 7)}))
    assert mask_to_text(padded.mask) == mask_to_text(plain.mask)


def test_the_method_is_the_papers() -> None:
    assert LAYER_WISE.policy is not None
    assert LAYER_WISE.policy(PolicyContext(0, 4, 4)) == LayerByLayer(METRIC)
    assert LAYER_WISE.metrics == (METRIC,) and not LAYER_WISE.unconstrained
    assert LAYER_WISE.recovery is None
    assert environment_config(LAYER_WISE, SEARCH).heads_per_step(144) == 144
    found = find_mask(task(), LAYER_WISE, SEARCH)
    assert found.threshold is not None and found.search_accuracy >= found.threshold
    assert ((~found.mask).sum(axis=1) <= quotas(2, 2)).all()
