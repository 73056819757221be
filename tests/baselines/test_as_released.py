"""The released code's methods: under names of their own, and each differs in what its line says and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prune_env.baselines.as_released import (
    BAYESIAN_AS_RELEASED,
    ENSEMBLE_AS_RELEASED,
    GRADIENT_AS_RELEASED,
    LAYER_WISE_AS_RELEASED,
)
from prune_env.baselines.bayesian import BAYESIAN
from prune_env.baselines.gradient import GRADIENT
from prune_env.baselines.layer_wise import LAYER_WISE, quotas
from prune_env.methods import METHODS, Method, PolicyContext, get_method
from prune_env.rollout import Episode
from prune_env.search import find_mask
from prune_env.types import mask_to_text
from tests.env.fakes import FakeEvaluator
from tests.policies import play, priced
from tests.test_defense import SEARCH, task

PAIRS = [
    (GRADIENT_AS_RELEASED, GRADIENT),
    (LAYER_WISE_AS_RELEASED, LAYER_WISE),
    (BAYESIAN_AS_RELEASED, BAYESIAN),
]
ALL = [*(method for method, _ in PAIRS), ENSEMBLE_AS_RELEASED]


def episode(method: Method, model: FakeEvaluator | None = None, seed: int = 0, threshold: float = 0.85) -> Episode:
    assert method.policy is not None
    shape = (2, 3) if model is None else (model.layers, model.heads)
    policy = method.policy(PolicyContext(seed, *shape))
    return play(policy, method.metrics[0], model, threshold=threshold, **method.environment)


@pytest.mark.parametrize("method", [GRADIENT_AS_RELEASED, BAYESIAN_AS_RELEASED])
def test_algorithm_1_by_hand_with_the_released_score(method: Method) -> None:
    played = episode(method)
    assert [entry["attempted"] for entry in played.trace] == ["011/011", "010/010", "010/011"]
    assert mask_to_text(played.mask) == "010/011"


@pytest.mark.parametrize(("released", "papers"), PAIRS)
def test_only_what_the_table_names_differs(released: Method, papers: Method) -> None:
    unconstrained = released is LAYER_WISE_AS_RELEASED
    same = replace(
        papers,
        name=released.name,
        summary=released.summary,
        policy=released.policy,
        metrics=released.metrics,
        unconstrained=unconstrained,
        kind="control",
    )
    assert released == same
    assert released.metrics[0].startswith("as_released_")


def test_layer_wise_meets_every_quota_whatever_it_costs() -> None:
    costly = priced(np.full((4, 5), 1))
    played = episode(LAYER_WISE_AS_RELEASED, costly, threshold=1e-6)
    assert (~played.mask).sum(axis=1).tolist() == quotas(4, 5) == [1, 2, 3, 4]
    assert played.accuracy == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_the_union_holds_what_members_lose_and_spares_each_layers_last_head(seed: int) -> None:
    played = episode(ENSEMBLE_AS_RELEASED, priced(np.zeros((6, 12), int)), seed, threshold=1e-6)
    lost = (~played.mask).sum(axis=1)
    assert bool(((lost >= 2) & (lost <= 10)).all())
    assert len(played.trace) == 1
    assert episode(ENSEMBLE_AS_RELEASED, priced(np.zeros((2, 3), int)), seed, threshold=1e-6).mask.any(axis=1).all()


def test_the_union_is_three_fifths_of_all_heads() -> None:
    free = priced(np.zeros((6, 12), int))
    lost = [float((~episode(ENSEMBLE_AS_RELEASED, free, seed, threshold=1e-6).mask).mean()) for seed in range(40)]
    # 1 - (10/12)^5 = .598 of 72 heads, 40 times.
    assert 0.57 < np.mean(lost) < 0.63
    assert len(set(lost)) > 3


@pytest.mark.parametrize("method", ALL)
def test_a_search_is_decided_by_the_seed_and_keeps_a_head_a_layer(method: Method) -> None:
    found, again = (find_mask(task(), method, SEARCH) for _ in range(2))
    assert found.trace == again.trace
    assert found.mask.any(axis=1).all()
    assert (found.threshold is None) == method.unconstrained


def test_they_are_registered_under_their_names_and_no_other_is() -> None:
    released = {name for name in METHODS if name.startswith("as-released-")}
    assert released == {method.name for method in ALL}
    assert all(get_method(method.name) is method for method in ALL)
