"""Hybrid: three thirds, five times the rate, one vote, and nothing looked at."""

from __future__ import annotations

import numpy as np

from prune_env.baselines.ensemble import Members
from prune_env.baselines.hybrid import HYBRID
from prune_env.defense import defend, training_for
from prune_env.engine.masking import mask_of
from prune_env.methods import get_method
from prune_env.search import find_mask, members_of
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY


def test_three_members_keep_a_third_of_each_layer_drawn_apart() -> None:
    found = find_mask(task(), HYBRID, SEARCH)
    members = members_of(HYBRID, found.trace)
    assert len(members) == 3
    assert all(mask.sum(axis=1).tolist() == [1, 1] for mask in members)
    assert len({mask.tobytes() for mask in members}) > 1
    assert found.threshold is None
    again = members_of(HYBRID, find_mask(task(), HYBRID, SEARCH).trace)
    assert all(np.array_equal(one, other) for one, other in zip(members, again, strict=True))


def test_its_members_are_fine_tuned_apart_at_five_times_the_rate() -> None:
    training = training_for(TINY.training, 1e-6, HYBRID)
    assert training.learning_rate == 5 * TINY.training.learning_rate
    found, purified = defend(task(), HYBRID, SEARCH, training)
    masks = members_of(HYBRID, found.trace)
    assert [mask_of(model).tolist() for model in purified.models] == [mask.tolist() for mask in masks]
    assert not equal(purified.models[0], purified.models[1])
    assert purified.sentences == 3 * 96 * TINY.training.epochs


def test_it_is_of_clean_data_alone_and_of_the_candidates_recipe() -> None:
    candidate = get_method("candidate-vote")
    assert get_method("hybrid") is HYBRID
    assert (HYBRID.kind, HYBRID.regime, HYBRID.recovery) == ("own", "clean_only", Members())
    for name in ("policy", "episodes", "rate_factor", "unconstrained", "recovery", "environment"):
        assert getattr(HYBRID, name) == getattr(candidate, name)
