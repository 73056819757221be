"""MEFT: entropy by hand, a first stage that makes the model unsure, and a second that is plain fine-tuning."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from prune_env.baselines.meft import MEFT, EntropyFirst, maximum_entropy, negative_entropy
from prune_env.defense import defend, purify
from prune_env.engine.architecture import describe
from prune_env.engine.forward import forward
from prune_env.engine.masking import mask_of
from prune_env.errors import ConfigError
from prune_env.recovery import Job, begin, finish, fit, settings_of
from prune_env.search import search_config
from prune_env.types import full_mask, mask_from_text
from prune_env.victims.training import cross_entropy, make_batch, train
from prune_env.victims.training_config import TrainingConfig
from tests.models import padded, random_tokens, tiny_model
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY

FULL = full_mask(2, 2)


def test_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    # (1/2, 1/2) has entropy log 2; (3/4, 1/4) has 2 log 2 - 3/4 log 3.
    expected = -(math.log(2.0) + 2 * math.log(2.0) - 0.75 * math.log(3.0)) / 2
    assert float(negative_entropy(logits)) == pytest.approx(expected, rel=1e-6)
    assert float(negative_entropy(torch.zeros(3, 5))) == pytest.approx(-math.log(5.0))


def test_entropy_of_a_certain_prediction_is_finite() -> None:
    logits = torch.tensor([[500.0, -500.0]], requires_grad=True)
    loss = negative_entropy(logits)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())


def test_the_loss_reads_no_label() -> None:
    architecture = describe(tiny_model("bert", dropout=0.0))
    tokens = random_tokens(8)
    batch = make_batch(tokens, torch.arange(8).numpy())
    flipped = replace(batch, labels=1 - batch.labels)
    losses = [float(maximum_entropy()(architecture, one).detach()) for one in (batch, flipped)]
    assert losses[0] == losses[1]


def test_the_first_stage_makes_a_model_unsure() -> None:
    model, tokens = tiny_model("bert"), random_tokens(64)
    ids, lengths = padded(tokens)

    def entropy() -> Tensor:
        with torch.no_grad():
            return -negative_entropy(forward(describe(model), ids, lengths))

    before = entropy()
    train(model, tokens, TrainingConfig(learning_rate=1e-3, epochs=10, precision="float32"), 1, loss=maximum_entropy())
    assert entropy() > before + 0.1
    assert float(entropy()) > 0.95 * math.log(2.0)


def test_it_is_two_stages_on_one_model() -> None:
    job = Job(task(), FULL, TINY.training)
    begun = begin(job)
    fit(job, begun, maximum_entropy(FULL), training=replace(TINY.training, epochs=1), stream="defender-entropy")
    fit(job, begun, cross_entropy(FULL))
    _, purified = defend(task(), MEFT, SEARCH, TINY.training)
    assert equal(purified.model, finish(job, begun).model)
    assert not equal(purified.model, purify(task(), FULL, TINY.training).model)
    assert not purified.model.training


def test_equal_seeds_give_equal_bits_and_longer_stages_others() -> None:
    job = Job(task(), FULL, TINY.training)
    models = [EntropyFirst(epochs).purify(job).model for epochs in (1, 1, 2)]
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


def test_a_mask_is_held_through_both_stages() -> None:
    mask = mask_from_text("10/11")
    purified = EntropyFirst().purify(Job(task(), mask, TINY.training))
    assert (mask_of(purified.model) == mask).all()


def test_steps_of_both_stages_are_one_count() -> None:
    steps: list[tuple[int, int]] = []
    EntropyFirst(2).purify(Job(task(), FULL, TINY.training, on_step=lambda done, total: steps.append((done, total))))
    assert steps == [(done, 9) for done in range(1, 10)]


def test_the_method_prunes_nothing_and_records_its_constant() -> None:
    assert MEFT.policy is None and MEFT.rate_factor is None
    assert search_config(MEFT, SEARCH) == {}
    assert MEFT.recovery is not None
    assert settings_of(MEFT.recovery) == {"name": "EntropyFirst", "epochs": 1}


def test_a_first_stage_has_whole_epochs() -> None:
    with pytest.raises(ConfigError, match="whole epochs"):
        EntropyFirst(0).purify(Job(task(), FULL, TINY.training))
