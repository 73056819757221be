"""ANP on heads: Algorithm 1 by adversarial gates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from prune_env.baselines.anp import ANP
from prune_env.config import EnvConfig
from prune_env.defense import defend, purify
from prune_env.env import BertHeadPruneEnv
from prune_env.methods import PolicyContext, get_method
from prune_env.rollout import Episode
from prune_env.search import find_mask
from prune_env.types import mask_from_text, mask_to_text
from tests.env.fakes import FakeEvaluator, random_model
from tests.policies import RANKING, play, priced
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY


def anp(model: FakeEvaluator | None = None, seed: int = 0, threshold: float = 0.85) -> Episode:
    assert ANP.policy is not None
    policy = ANP.policy(PolicyContext(seed, 2, 3))
    return play(policy, "adversarial_gate", model, seed=seed, threshold=threshold, **ANP.environment)


def test_an_episode_by_hand() -> None:
    episode = anp()
    # Heads 0 and 3 cost 1 of 20 and go; 2 and 5 cost 4 more, 15 of 20 fail, and the higher gate of both comes back.
    assert [entry["attempted"] for entry in episode.trace] == ["011/011", "010/010", "010/011"]
    assert mask_to_text(episode.mask) == "010/011"


def test_it_ranks_by_its_gates_and_nothing_else() -> None:
    assert ANP.policy is not None
    other = RANKING.max() - RANKING
    env = BertHeadPruneEnv(priced(), {"adversarial_gate": RANKING, "gradient": other}, EnvConfig(threshold=0.85))
    action, _ = ANP.policy(PolicyContext(0, 2, 3)).predict(env.reset(seed=0)[0])
    assert np.flatnonzero(action).tolist() == [0, 3]


@pytest.mark.parametrize("seed", range(4))
def test_the_threshold_holds_masks_are_nested_and_every_layer_keeps_a_head(seed: int) -> None:
    episode = anp(random_model(4, 5, seed), seed, threshold=0.9)
    masks = [mask_from_text(entry["mask"]) for entry in episode.trace]
    assert all(entry["accuracy"] >= 0.9 for entry in episode.trace)
    assert all(mask.any(axis=1).all() for mask in masks)
    assert all(not (later & ~earlier).any() for earlier, later in pairwise(masks))


def test_search_and_recovery_are_decided_by_the_seed_and_plain() -> None:
    found, purified = defend(task(), ANP, SEARCH, TINY.training)
    assert find_mask(task(), ANP, SEARCH).trace == found.trace
    assert equal(purified.model, purify(task(), found.mask, TINY.training).model)


def test_the_method_is_registered() -> None:
    assert get_method("anp") is ANP
    assert ANP.regime == "clean_only"
    assert not ANP.unconstrained
