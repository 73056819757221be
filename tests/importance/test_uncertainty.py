"""Monte-Carlo dropout uncertainty: seeded, zero where nothing is random, refused where nothing is dropped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prune_env.engine.architecture import describe
from prune_env.engine.forward import pack
from prune_env.errors import ConfigError
from prune_env.importance import score
from prune_env.importance.passes import batches
from prune_env.importance.uncertainty import dropped_variance, uncertainty
from tests.models import random_tokens, tiny_model

TOKENS = random_tokens(20)


def test_the_seed_decides() -> None:
    model = tiny_model("bert")
    assert np.array_equal(uncertainty(model, TOKENS, seed=5), uncertainty(model, TOKENS, seed=5))
    assert not np.array_equal(uncertainty(model, TOKENS, seed=5), uncertainty(model, TOKENS, seed=6))
    assert np.array_equal(
        score("uncertainty", model, TOKENS, seed=2**63 - 1), uncertainty(model, TOKENS, seed=2**63 - 1)
    )


def test_it_is_the_sample_variance_over_passes() -> None:
    model = tiny_model("distilbert")
    tokens = TOKENS.subset([0])
    architecture = describe(model)
    (batch,) = batches(architecture, tokens)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(3)
        drawn = [dropped_variance(architecture, pack(architecture), batch)[0].numpy() for _ in range(4)]
    np.testing.assert_allclose(uncertainty(model, tokens, seed=3, passes=4), np.var(drawn, axis=0, ddof=1), rtol=1e-5)


def test_attention_that_dropout_cannot_reach_is_certain() -> None:
    model = tiny_model("bert")
    describe(model).blocks[1].query.weight.data[:8] = 0.0
    describe(model).blocks[1].query.bias.data[:8] = 0.0
    found = uncertainty(model, TOKENS)
    assert found[1, 0] < 1e-14
    assert found[1, 1] > 1e-8


def test_more_dropout_is_more_uncertain() -> None:
    model = tiny_model("bert")
    assert bool((uncertainty(model, TOKENS, rate=0.3) > uncertainty(model, TOKENS, rate=0.02)).all())


def test_a_model_without_dropout_is_refused_unless_given_a_rate() -> None:
    model = tiny_model("bert", dropout=0.0)
    with pytest.raises(ConfigError, match="all its rates are 0"):
        uncertainty(model, TOKENS)
    assert np.array_equal(uncertainty(model, TOKENS, rate=0.1), uncertainty(tiny_model("bert"), TOKENS))


@pytest.mark.parametrize(("passes", "rate"), [(1, None), (10, 0.0), (10, 1.0)])
def test_settings_out_of_range_are_refused(passes: int, rate: float | None) -> None:
    with pytest.raises(ConfigError, match="passes >= 2"):
        uncertainty(tiny_model("bert"), TOKENS, passes=passes, rate=rate)
