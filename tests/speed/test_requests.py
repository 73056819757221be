"""The questions of each workload: valid, reproducible, and what the real environment asks."""

from __future__ import annotations

import numpy as np
import pytest

from prune_env.errors import ConfigError
from prune_env.speed.environments import CONFIG, importance, pruning_actions
from prune_env.speed.requests import (
    Priced,
    Requests,
    ablation_sweep,
    epsilon_greedy_steps,
    gradient_episode,
    random_masks,
)
from prune_env.speed.subject import Subject
from prune_env.types import check_masks
from tests.env.fakes import random_model
from tests.models import random_tokens, tiny_model


@pytest.fixture
def subject() -> Subject:
    """A random model, whose accuracy is the stand-in."""
    return Subject("tiny", "random", tiny_model("bert", heads=4), random_tokens(20), random_tokens(20, seed=1))


def test_random_masks_keep_half_and_never_empty_a_layer() -> None:
    masks = random_masks(400, 6, 12, seed=0)
    assert len(check_masks(masks, 6, 12)) == 400
    assert 0.48 < masks.mean() < 0.56
    assert (masks == random_masks(400, 6, 12, seed=0)).all()


def test_the_sweep_removes_every_head_once() -> None:
    sweep = ablation_sweep(2, 3)
    assert sweep.together and len(sweep) == sweep.distinct == 6
    assert [np.flatnonzero(~mask.ravel()).tolist() for mask in sweep.masks] == [[head] for head in range(6)]
    assert len(ablation_sweep(2, 1)) == 0, "the last head of a layer stays"


def test_a_sample_keeps_the_order_and_repeats_no_request() -> None:
    requests = Requests(random_masks(30, 2, 3, seed=1))
    sample = requests.sampled(7, seed=2)
    places = [
        next(i for i, mask in enumerate(requests.masks) if mask is row or (mask == row).all()) for row in sample.masks
    ]
    assert len(sample) == 7 and places == sorted(places)
    assert (sample.masks == requests.sampled(7, seed=2).masks).all()
    assert requests.sampled(None, seed=2) is requests and requests.sampled(30, seed=2) is requests


def test_the_gradient_episode_is_one_of_the_environment(subject: Subject) -> None:
    requests = gradient_episode(subject, seed=0)
    assert requests.masks[0].all(), "the threshold is relative to the full mask"
    assert requests.distinct == len(requests) > 2
    kept = requests.masks.sum(axis=(1, 2))
    assert (np.diff(kept) > 0).any(), "the violating set is among them, and what backtracking tried"
    assert (requests.masks == gradient_episode(subject, seed=0).masks).all()


def test_epsilon_greedy_steps_span_episodes_and_repeat_masks(subject: Subject) -> None:
    requests = epsilon_greedy_steps(subject, seed=0, steps=40)
    starts = int(requests.masks.all(axis=(1, 2)).sum())
    assert starts > 2, "the measured threshold, and each episode's start"
    assert len(requests) == 40 + starts
    assert requests.distinct < len(requests)
    kept = requests.masks.sum(axis=(1, 2))
    assert set(np.diff(kept)[np.diff(kept) < 0]) == {-1}, "one head a step"


def test_the_stand_in_loses_its_drop_with_half_of_the_price() -> None:
    priced = Priced(4, 4, seed=0)
    masks = random_masks(50, 4, 4, seed=0)
    masks[0] = True
    found = priced.accuracy(masks)
    assert found[0] == 0.9 and (found >= 0.8).all()
    assert np.allclose(found * priced.sentences, np.rint(found * priced.sentences))


def test_actions_prune_something_in_every_step() -> None:
    from prune_env.env import BertHeadPruneEnv

    model = random_model(2, 3, 0)
    actions = pruning_actions(2, 3, 30, 2, seed=0, staggered=True)
    assert (actions[..., :-1].sum(axis=2) == 1).all()
    assert (actions[..., -1].sum(axis=0) == 1).all(), "each environment stops one episode early"
    for column in range(2):
        env = BertHeadPruneEnv(model, importance(2, 3), CONFIG)
        env.reset(seed=0)
        for action in actions[:, column]:
            _, _, terminated, truncated, info = env.step(action)
            assert len(info["attempted_heads"]) == 1 and not info["violation"]
            if terminated or truncated:
                env.reset()


def test_one_head_a_layer_has_no_parallel_workload() -> None:
    with pytest.raises(ConfigError, match="leave W5 out"):
        pruning_actions(2, 1, 3, 2, seed=0)
