"""Structured sparsification: norms by hand, gradient's own mask, and a fine-tuning that leaves smaller weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from prune_env.baselines.gradient import GRADIENT
from prune_env.baselines.gradient_l1l2 import GRADIENT_L1L2, StructuredSparsity, head_norms, sparse
from prune_env.defense import defend, purify, search_mask
from prune_env.engine.architecture import describe
from prune_env.engine.forward import forward
from prune_env.engine.masking import apply_mask, mask_of
from prune_env.methods import PolicyContext
from prune_env.recovery import Job, settings_of
from prune_env.search import find_mask, search_config
from prune_env.types import full_mask, mask_from_text, mask_to_text
from prune_env.victims.training import make_batch
from tests.env.fakes import random_model
from tests.models import ARCHITECTURES, random_tokens, tiny_model
from tests.policies import play
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY

MASK = mask_from_text("101/010")
HELD = mask_from_text("10/11")


def test_norms_by_hand() -> None:
    architecture = describe(tiny_model("bert"))
    values = {"query": 1.0, "key": -2.0, "value": 0.0, "output": 2.0}
    for block in architecture.blocks:
        for name, value in values.items():
            getattr(block, name).weight.data.fill_(value)
    # A head owns 8 rows (columns) of 24 in each matrix: 192 weights each. Three heads are kept.
    absolute, norm = (float(one.detach()) for one in head_norms(architecture, MASK))
    assert absolute == pytest.approx(3 * 192 * (1 + 2 + 0 + 2))
    assert norm == pytest.approx(3 * math.sqrt(192 * (1 + 4 + 0 + 4)))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_norms_head_by_head(name: str) -> None:
    architecture = describe(tiny_model(name))
    absolute = norm = 0.0
    for block, row in zip(architecture.blocks, MASK, strict=True):
        for head in np.flatnonzero(row):
            own = slice(8 * head, 8 * head + 8)
            rows = [linear.weight[own].detach().flatten() for linear in (block.query, block.key, block.value)]
            weights = torch.cat([*rows, block.output.weight[:, own].detach().flatten()])
            absolute += float(weights.abs().sum())
            norm += float(weights.norm())
    found = [float(one.detach()) for one in head_norms(architecture, MASK)]
    assert found == pytest.approx([absolute, norm], rel=1e-5)


def test_pruned_heads_and_other_tensors_are_left_alone() -> None:
    model = tiny_model("bert")
    apply_mask(model, MASK)
    sum(head_norms(describe(model), MASK)).backward()  # type: ignore[union-attr]
    for block, row in zip(describe(model).blocks, MASK, strict=True):
        kept = torch.from_numpy(row.repeat(8))
        for linear in (block.query, block.key, block.value):
            assert linear.weight.grad is not None
            assert (linear.weight.grad != 0).any(1).equal(kept)
        assert block.output.weight.grad is not None
        assert (block.output.weight.grad != 0).any(0).equal(kept)
    regularised = {"query.weight", "key.weight", "value.weight", "attention.output.dense.weight"}
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) == any(name.endswith(one) for one in regularised)


def test_the_loss_is_cross_entropy_and_both_norms() -> None:
    architecture, tokens = describe(tiny_model("bert", dropout=0.0)), random_tokens(8)
    batch = make_batch(tokens, np.arange(8))
    with torch.no_grad():
        logits = forward(architecture, batch.input_ids, batch.lengths, head_mask=MASK)
        absolute, norm = head_norms(architecture, MASK)
        found = float(sparse(MASK, 1e-3, 1e-2)(architecture, batch))
    expected = float(functional.cross_entropy(logits, batch.labels) + 1e-3 * absolute + 1e-2 * norm)
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_mask_is_gradients_and_is_searched_once() -> None:
    assert search_config(GRADIENT_L1L2, SEARCH) == search_config(GRADIENT, SEARCH)
    assert GRADIENT_L1L2.mask_of == "gradient"
    found = find_mask(task(), GRADIENT, SEARCH)
    assert search_mask(task(), GRADIENT_L1L2, SEARCH, lambda one: found if one.name == "gradient" else None) is found
    defended, purified = defend(task(), GRADIENT_L1L2, SEARCH, TINY.training)
    assert mask_to_text(defended.mask) == mask_to_text(found.mask)
    assert (mask_of(purified.model) == found.mask).all()
    assert found.threshold is not None and defended.search_accuracy >= found.threshold


@pytest.mark.parametrize("seed", range(4))
def test_its_policy_respects_the_threshold_and_the_layers(seed: int) -> None:
    assert GRADIENT_L1L2.policy is not None
    policy = GRADIENT_L1L2.policy(PolicyContext(seed, 4, 5))
    model, settings = random_model(4, 5, seed), GRADIENT_L1L2.environment
    episode = play(policy, "gradient", model, seed=seed, **{**settings, "threshold": 0.9})
    assert episode.accuracy >= 0.9
    assert episode.mask.any(axis=1).all()


def test_the_mask_is_held_and_weights_shrink() -> None:
    job = Job(task(), HELD, TINY.training)
    models = [StructuredSparsity(l1, l2).purify(job).model for l1, l2 in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
    assert all((mask_of(model) == HELD).all() for model in models)
    norms = [[float(one.detach()) for one in head_norms(describe(model), HELD)] for model in models]
    assert norms[1][0] < norms[0][0] - 1.0, "L1 alone"
    assert norms[2][1] < norms[0][1] - 0.01, "group norms alone"


def test_equal_seeds_give_equal_bits_and_the_norms_change_them() -> None:
    job = Job(task(), full_mask(2, 2), TINY.training)
    models = [StructuredSparsity().purify(job).model for _ in range(2)]
    assert equal(*models)
    assert not equal(models[0], purify(task(), full_mask(2, 2), TINY.training).model)


def test_the_constants_are_recorded() -> None:
    assert GRADIENT_L1L2.recovery is not None
    assert settings_of(GRADIENT_L1L2.recovery) == {"name": "StructuredSparsity", "l1": 1e-4, "l2": 1e-4}
