"""Gradient pruning and random masks, on prices that can be added up by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from prune_env.baselines.gradient import GRADIENT, LowestFirst
from prune_env.baselines.random_heads import RANDOM, RANDOM_BALANCED, RandomHeads
from prune_env.errors import ConfigError
from prune_env.methods import Method, PolicyContext
from prune_env.rollout import Episode
from prune_env.types import mask_to_text
from tests.env.fakes import random_model
from tests.policies import play, priced

BACKTRACK = {"on_violation": "backtrack"}


def gradient(**settings: object) -> Episode:
    return play(LowestFirst("gradient"), "gradient", **{**BACKTRACK, **settings})  # type: ignore[arg-type]


def test_gradient_prunes_in_groups_and_backtracks_by_hand() -> None:
    episode = gradient()
    # Heads 0 and 3 cost 1 of 20: 19 hold. Heads 2 and 5 cost 4 more: 15 fail, and 5, the more important, comes back.
    assert [entry["attempted"] for entry in episode.trace] == ["011/011", "010/010", "010/011"]
    assert [entry["attempted_accuracy"] for entry in episode.trace] == [0.95, 0.75, 0.9]
    assert [entry["violation"] for entry in episode.trace] == [False, True, False]
    assert mask_to_text(episode.mask) == "010/011"
    assert episode.accuracy == 0.9
    assert episode.evaluations == 4, "the full mask, two groups, one trial of backtracking"
    assert episode.terminated, "after a group that failed the policy stops"


def test_gradient_restores_a_whole_group_if_it_must() -> None:
    episode = gradient(model=priced([[9, 9, 9], [9, 9, 9]]), threshold=0.85)
    assert mask_to_text(episode.mask) == "111/111"
    assert len(episode.trace) == 2


def test_gradient_keeps_the_most_important_head_of_each_layer() -> None:
    episode = gradient(threshold=0.05)
    assert mask_to_text(episode.mask) == "010/010"
    assert episode.terminated


@pytest.mark.parametrize("seed", range(8))
def test_gradient_respects_the_threshold_and_the_layers(seed: int) -> None:
    episode = gradient(model=random_model(4, 5, seed), seed=seed, threshold=0.9)
    assert episode.accuracy >= 0.9
    assert episode.mask.any(axis=1).all()


def test_gradient_ignores_padding() -> None:
    padded = gradient(pad_to=(3, 5))
    assert mask_to_text(padded.mask) == "010/011"


def test_gradient_is_the_papers_algorithm() -> None:
    assert GRADIENT.metrics == ("gradient",)
    assert GRADIENT.environment == BACKTRACK
    assert GRADIENT.policy is not None
    assert GRADIENT.policy(PolicyContext(0, 2, 3)) == LowestFirst("gradient")


def draw(method: Method, seed: int, count: int, layers: int = 4, heads: int = 5) -> Episode:
    assert method.policy is not None
    policy = method.policy(PolicyContext(seed, layers, heads, heads_to_prune=count))
    return play(policy, "gradient", random_model(layers, heads, 0), threshold=1e-6, **method.environment)


@pytest.mark.parametrize("method", [RANDOM, RANDOM_BALANCED])
@pytest.mark.parametrize("count", [0, 1, 7, 16])
def test_random_masks_have_the_size_asked_for(method: Method, count: int) -> None:
    episode = draw(method, seed=3, count=count)
    assert int((~episode.mask).sum()) == count
    assert episode.mask.any(axis=1).all()
    assert len(episode.trace) == 1


@pytest.mark.parametrize("method", [RANDOM, RANDOM_BALANCED])
def test_random_masks_leave_one_head_a_layer_where_more_is_asked_for(method: Method) -> None:
    assert draw(method, seed=3, count=20).mask.sum(axis=1).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("method", [RANDOM, RANDOM_BALANCED])
def test_random_masks_depend_on_the_seed_alone(method: Method) -> None:
    masks = [mask_to_text(draw(method, seed, 7).mask) for seed in (1, 1, 2)]
    assert masks[0] == masks[1] != masks[2]


@pytest.mark.parametrize("seed", range(10))
def test_balanced_masks_take_as_many_from_each_layer(seed: int) -> None:
    pruned = (~draw(RANDOM_BALANCED, seed, 6).mask).sum(axis=1)
    assert sorted(pruned.tolist()) == [1, 1, 2, 2]


def test_which_layers_give_one_more_is_random() -> None:
    richer = {tuple((~draw(RANDOM_BALANCED, seed, 6).mask).sum(axis=1) == 2) for seed in range(20)}
    assert len(richer) > 2


def test_free_masks_take_every_head_alike() -> None:
    context = [PolicyContext(seed, 2, 3, heads_to_prune=2) for seed in range(600)]
    pruned: Counter[int] = Counter()
    for one in context:
        policy = RandomHeads(2, balanced=False, seed=one.seed)
        pruned.update(np.flatnonzero(~play(policy, "gradient", threshold=1e-6).mask).tolist())
    # Each head in a third of 600 draws: 200, with a standard deviation of 11.5.
    assert all(150 < pruned[head] < 250 for head in range(6))


@pytest.mark.parametrize("method", [RANDOM, RANDOM_BALANCED])
def test_a_random_mask_needs_a_size(method: Method) -> None:
    assert method.policy is not None
    with pytest.raises(ConfigError, match="number of heads to prune"):
        method.policy(PolicyContext(0, 2, 3))


@pytest.mark.parametrize("method", [RANDOM, RANDOM_BALANCED])
def test_controls_match_gradient_and_are_held_to_nothing(method: Method) -> None:
    assert method.matches == "gradient"
    assert method.unconstrained
