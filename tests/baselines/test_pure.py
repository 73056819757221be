"""PURE: weights and norms by hand, a search that is Algorithm 1 by variance, and a penalty that evens attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from prune_env.baselines.gradient import LowestFirst
from prune_env.baselines.pure import (
    PURE,
    AttentionNormalization,
    cls_norms,
    layer_variances,
    layer_weights,
    normalized,
)
from prune_env.defense import purify
from prune_env.engine.architecture import describe
from prune_env.engine.forward import forward
from prune_env.engine.masking import mask_of
from prune_env.importance.attention_variance import attention_variance
from prune_env.methods import PolicyContext
from prune_env.recovery import Job, settings_of
from prune_env.rollout import Episode
from prune_env.search import find_mask
from prune_env.types import HeadMask, full_mask, mask_from_text, mask_to_text
from prune_env.victims.training import make_batch, train
from prune_env.victims.training_config import TrainingConfig
from tests.env.fakes import random_model
from tests.models import padded, random_tokens, tiny_model
from tests.policies import play
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY

MASK = mask_from_text("10/11")


def search(**settings: object) -> Episode:
    assert PURE.policy is not None
    policy = PURE.policy(PolicyContext(0, 2, 3))
    return play(policy, "attention_variance", **{**PURE.environment, **settings})


def test_layers_weigh_by_inverse_variance_by_hand() -> None:
    # Inverses 1, 1/2 and 1/4; min-max scaled 1, 1/3 and 0.
    np.testing.assert_allclose(layer_weights(np.array([1.0, 2.0, 4.0])), [1.0, 1 / 3, 0.0])
    np.testing.assert_allclose(layer_weights(np.array([0.04, 0.01])), [0.0, 1.0])


def test_weights_survive_what_cannot_be_inverted_or_scaled() -> None:
    np.testing.assert_array_equal(layer_weights(np.array([0.0, 2.0, 4.0])), [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(layer_weights(np.array([0.3, 0.3])), [1.0, 1.0])
    np.testing.assert_array_equal(layer_weights(np.array([0.0])), [1.0])


def test_norms_by_hand() -> None:
    even, staring = [0.25, 0.25, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0]
    # Two sentences of two heads; the second row of a map must not count.
    rows = torch.tensor([[[even, staring], [staring, even]], [[staring, even], [staring, even]]])
    # Head 0: (1/2 + 1) / 2, head 1: (1 + 1) / 2.
    assert float(cls_norms(rows)) == pytest.approx(1.75)
    short = torch.tensor([[[[0.5, 0.5, 0.0, 0.0]]]])
    assert float(cls_norms(short)) == pytest.approx(0.5**0.5), "zeros of the padding add nothing"


@pytest.mark.parametrize("mask", [full_mask(2, 3), mask_from_text("101/010")])
def test_variances_are_the_metrics_averaged_over_kept_heads(mask: HeadMask) -> None:
    # Without the attention output a layer's maps do not depend on which heads of the layer below are kept.
    model, tokens = tiny_model("bert"), random_tokens()
    for block in describe(model).blocks:
        block.output.weight.data.zero_()
    heads = attention_variance(model, tokens)
    expected = [row[kept].mean() for row, kept in zip(heads, mask, strict=True)]
    np.testing.assert_allclose(layer_variances(describe(model), tokens, mask), expected, rtol=1e-5)


def test_variances_see_the_mask() -> None:
    model, tokens = tiny_model("bert"), random_tokens()
    masks = full_mask(2, 3), mask_from_text("100/111")
    whole, masked = (layer_variances(describe(model), tokens, mask) for mask in masks)
    assert whole[1] != pytest.approx(masked[1], rel=1e-3), "the upper layer reads what the lower one's heads wrote"


@pytest.mark.parametrize("mask", [full_mask(2, 3), mask_from_text("101/010")])
def test_the_loss_is_cross_entropy_and_the_weighed_norms(mask: HeadMask) -> None:
    architecture, tokens = describe(tiny_model("bert", dropout=0.0)), random_tokens(8)
    batch = make_batch(tokens, np.arange(8))
    seen: dict[int, float] = {}
    with torch.no_grad():
        logits = forward(
            architecture,
            batch.input_ids,
            batch.lengths,
            head_mask=mask,
            observe=lambda layer, rows: seen.update({layer: float(cls_norms(rows))}),
        )
        found = float(normalized(mask, [0.5, 2.0])(architecture, batch))
    expected = float(functional.cross_entropy(logits, batch.labels)) + 0.5 * seen[0] + 2.0 * seen[1]
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_penalty_evens_attention() -> None:
    tokens, mask = random_tokens(64), full_mask(2, 3)
    ids, lengths = padded(tokens)
    norms = []
    for penalty in (0.0, 1.0):
        model, seen = tiny_model("bert"), [0.0, 0.0]
        settings = TrainingConfig(learning_rate=1e-3, epochs=5, precision="float32")
        train(model, tokens, settings, 1, loss=normalized(mask, [penalty, penalty]))
        with torch.no_grad():
            forward(
                describe(model),
                ids,
                lengths,
                observe=lambda layer, rows, seen=seen: seen.__setitem__(layer, float(cls_norms(rows))),  # type: ignore[misc]
            )
        norms.append(seen)
    assert norms[1][0] < norms[0][0] - 0.05 and norms[1][1] < norms[0][1] - 0.05


def test_the_search_is_algorithm_one_by_variance() -> None:
    episode = search()
    assert [entry["attempted"] for entry in episode.trace] == ["011/011", "010/010", "010/011"]
    assert mask_to_text(episode.mask) == "010/011"
    assert PURE.policy is not None
    assert PURE.policy(PolicyContext(0, 2, 3)) == LowestFirst("attention_variance")
    assert PURE.metrics == ("attention_variance",)


@pytest.mark.parametrize("seed", range(6))
def test_the_search_respects_the_threshold_and_the_layers(seed: int) -> None:
    episode = search(model=random_model(4, 5, seed), seed=seed, threshold=0.9)
    assert episode.accuracy >= 0.9
    assert episode.mask.any(axis=1).all()
    assert search(model=random_model(4, 5, seed), seed=seed, threshold=0.9).trace == episode.trace


def test_the_mask_is_held_and_the_penalty_changes_the_model() -> None:
    job = Job(task(), MASK, TINY.training)
    models = [AttentionNormalization(penalty).purify(job).model for penalty in (0.15, 0.15, 5.0)]
    assert (mask_of(models[0]) == MASK).all()
    assert equal(models[0], models[1]), "equal seeds, equal bits"
    assert not equal(models[0], models[2])
    assert not equal(models[0], purify(task(), MASK, TINY.training).model)


def test_it_defends_and_records_its_constant() -> None:
    assert PURE.recovery is not None
    assert settings_of(PURE.recovery) == {"name": "AttentionNormalization", "penalty": 0.15}
    found = find_mask(task(), PURE, SEARCH)
    assert found.threshold is not None and found.search_accuracy >= found.threshold
