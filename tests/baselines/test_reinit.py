"""Reinit: new weights for exactly the heads that gradient prunes, and a model that keeps them all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prune_env.baselines.gradient import GRADIENT
from prune_env.baselines.reinit import REINIT, NewHeads, reinitialise
from prune_env.defense import defend, purify
from prune_env.engine.architecture import describe
from prune_env.engine.masking import mask_of
from prune_env.errors import MaskError
from prune_env.methods import PolicyContext, get_method
from prune_env.recovery import Job
from prune_env.search import find_mask, search_config
from prune_env.types import full_mask, mask_from_text, mask_to_text
from tests.models import ARCHITECTURES, tiny_model
from tests.policies import play
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY

MASK = mask_from_text("101/110")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_exactly_the_heads_outside_the_mask_are_drawn_anew(architecture: str) -> None:
    old, new = tiny_model(architecture), tiny_model(architecture)
    reinitialise(new, MASK, seed=1)
    changed = {
        name for name, weight in new.named_parameters() if not torch.equal(weight, dict(old.named_parameters())[name])
    }
    assert len(changed) == 2 * (3 * 2 + 1), "of both layers: three weights and biases, and one output projection"
    for layer, head in ((0, 1), (1, 2)):
        before, after = describe(old).blocks[layer], describe(new).blocks[layer]
        own = torch.zeros(24, dtype=torch.bool)
        own[8 * head : 8 * (head + 1)] = True
        for role in ("query", "key", "value"):
            one, other = getattr(before, role), getattr(after, role)
            assert torch.equal(one.weight[~own], other.weight[~own])
            assert not bool((one.weight[own] == other.weight[own]).any())
            assert torch.equal(one.bias[~own], other.bias[~own])
            assert not bool(other.bias[own].any())
        assert torch.equal(before.output.weight[:, ~own], after.output.weight[:, ~own])
        assert not bool((before.output.weight[:, own] == after.output.weight[:, own]).any())
        assert torch.equal(before.output.bias, after.output.bias)


def test_new_weights_are_spread_as_a_new_models() -> None:
    model = tiny_model("bert", layers=2, heads=2, hidden=64)
    model.config.initializer_range = 0.05
    reinitialise(model, mask_from_text("01/10"), seed=0)
    drawn = describe(model).blocks[0].query.weight[:32].detach()
    # 2,048 draws: the standard deviation is .05 with an error of .0008, the mean 0 with one of .0011.
    assert abs(float(drawn.std()) - 0.05) < 0.004
    assert abs(float(drawn.mean())) < 0.006


def test_the_seed_decides_the_weights() -> None:
    models = [tiny_model("bert") for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        reinitialise(model, MASK, seed)
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])
    with pytest.raises(MaskError):
        reinitialise(models[0], mask_from_text("10/11"), 1)


def test_every_head_is_there_and_fine_tuned() -> None:
    mask = mask_from_text("10/11")
    purified = NewHeads().purify(Job(task(), mask, TINY.training))
    assert mask_of(purified.model).all()
    start = task().suspect.model()
    reinitialise(start, mask, 0)
    rows = [describe(model).blocks[0].value.weight[8:] for model in (purified.model, start)]
    assert not torch.allclose(rows[0], rows[1])
    assert not equal(purified.model, purify(task(), mask, TINY.training).model)
    assert not equal(purified.model, purify(task(), full_mask(2, 2), TINY.training).model)
    assert equal(purified.model, NewHeads().purify(Job(task(), mask, TINY.training)).model)


def test_with_nothing_to_prune_it_is_ft() -> None:
    assert equal(NewHeads().purify(Job(task(), full_mask(2, 2), TINY.training)).model, task().scoring_model())


def test_its_mask_is_gradients() -> None:
    found, purified = defend(task(), REINIT, SEARCH, TINY.training)
    gradient = find_mask(task(), GRADIENT, SEARCH)
    assert np.array_equal(found.mask, gradient.mask)
    assert found.trace == gradient.trace
    assert search_config(REINIT, SEARCH) == search_config(GRADIENT, SEARCH), "a record of either serves both"
    assert mask_of(purified.model).all()


def test_its_policy_is_algorithm_1_by_hand() -> None:
    assert REINIT.policy is not None
    episode = play(REINIT.policy(PolicyContext(0, 2, 3)), "gradient", **REINIT.environment)
    assert [entry["attempted"] for entry in episode.trace] == ["011/011", "010/010", "010/011"]
    assert mask_to_text(episode.mask) == "010/011"


def test_the_method_is_registered() -> None:
    assert get_method("reinit") is REINIT
    assert REINIT.mask_of == "gradient"
    assert REINIT.regime == "clean_only"
