"""Bayesian pruning: Algorithm 1 by another metric, whose scores really are an uncertainty."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from prune_env.baselines.bayesian import BAYESIAN
from prune_env.config import EnvConfig
from prune_env.defense import defend, purify
from prune_env.env import BertHeadPruneEnv
from prune_env.importance import passes_asked
from prune_env.methods import PolicyContext, get_method
from prune_env.rollout import Episode
from prune_env.scoring import IMPORTANCE_SENTENCES
from prune_env.search import find_mask
from prune_env.types import mask_from_text, mask_to_text
from tests.env.fakes import FakeEvaluator, random_model
from tests.policies import RANKING, play, priced
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY


def bayesian(model: FakeEvaluator | None = None, seed: int = 0, threshold: float = 0.85) -> Episode:
    assert BAYESIAN.policy is not None
    policy = BAYESIAN.policy(PolicyContext(seed, 2, 3))
    return play(policy, "uncertainty", model, seed=seed, threshold=threshold, **BAYESIAN.environment)


def test_an_episode_by_hand() -> None:
    episode = bayesian()
    # Heads 0 and 3 cost 1 of 20 and go; 2 and 5 cost 4 more, 15 of 20 fail, and the more certain of both stays away.
    assert [entry["attempted"] for entry in episode.trace] == ["011/011", "010/010", "010/011"]
    assert [entry["attempted_accuracy"] for entry in episode.trace] == [0.95, 0.75, 0.9]
    assert mask_to_text(episode.mask) == "010/011"


def test_it_ranks_by_uncertainty_and_nothing_else() -> None:
    assert BAYESIAN.policy is not None
    other = RANKING.max() - RANKING
    env = BertHeadPruneEnv(priced(), {"uncertainty": RANKING, "gradient": other}, EnvConfig(threshold=0.85))
    action, _ = BAYESIAN.policy(PolicyContext(0, 2, 3)).predict(env.reset(seed=0)[0])
    assert np.flatnonzero(action).tolist() == [0, 3]


@pytest.mark.parametrize("seed", range(6))
def test_the_threshold_holds_masks_are_nested_and_every_layer_keeps_a_head(seed: int) -> None:
    episode = bayesian(random_model(4, 5, seed), seed, threshold=0.9)
    masks = [mask_from_text(entry["mask"]) for entry in episode.trace]
    assert episode.accuracy >= 0.9
    assert all(entry["accuracy"] >= 0.9 for entry in episode.trace)
    assert all(mask.any(axis=1).all() for mask in masks)
    assert all(not (later & ~earlier).any() for earlier, later in pairwise(masks))


def test_a_search_is_decided_by_the_seed_and_pays_for_ten_passes() -> None:
    found = [find_mask(task(), BAYESIAN, SEARCH) for _ in range(2)]
    assert found[0].trace == found[1].trace
    assert np.array_equal(found[0].importance["uncertainty"], found[1].importance["uncertainty"])
    assert bool((found[0].importance["uncertainty"] > 0).all())
    assert passes_asked("uncertainty") == 10
    scored = 10 * min(IMPORTANCE_SENTENCES, len(task().train))
    assert found[0].sentence_passes == found[0].evaluations * len(task().search) + scored


def test_recovery_is_plain() -> None:
    found, purified = defend(task(), BAYESIAN, SEARCH, TINY.training)
    assert equal(purified.model, purify(task(), found.mask, TINY.training).model)


def test_the_method_is_the_papers() -> None:
    assert get_method("bayesian") is BAYESIAN
    assert BAYESIAN.metrics == ("uncertainty",)
    assert BAYESIAN.environment == {"on_violation": "backtrack"}
    assert not BAYESIAN.unconstrained
