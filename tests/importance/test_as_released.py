"""Released behaviour: it differs from the paper's metrics in exactly what it says."""

from __future__ import annotations

import numpy as np
import torch

from prune_env.importance import as_released, score
from tests.models import random_tokens, tiny_model

TOKENS = random_tokens(20)


def test_gradient_ties_all_heads_of_a_layer() -> None:
    model = tiny_model("bert")
    found = score("as_released_gradient", model, TOKENS)
    paper = score("gradient", model, TOKENS)
    assert bool((found == found[:, :1]).all())
    np.testing.assert_allclose(found[:, 0], np.sqrt((paper**2).sum(1)), rtol=1e-5)


def test_uncertainty_is_no_uncertainty() -> None:
    model = tiny_model("bert")
    found = score("as_released_uncertainty", model, TOKENS, seed=1)
    assert np.array_equal(found, score("as_released_uncertainty", model, TOKENS, seed=2))
    assert np.array_equal(found, score("attention_variance", model, TOKENS))


def test_variance_counts_padding_as_zeros() -> None:
    row = np.zeros(127)
    row[:2] = 0.75, 0.25
    found = as_released.padded_variance(torch.tensor([[[[0.75, 0.25]]]]), torch.tensor([2]))
    assert np.isclose(float(found), row.var(), rtol=1e-6)


def test_variance_sees_127_entries() -> None:
    rows = torch.full((1, 1, 1, 128), 1 / 128)
    rows[..., 127] = 0.5
    assert float(as_released.padded_variance(rows, torch.tensor([128]))) < 1e-12


def test_variance_depends_on_length() -> None:
    uniform = [as_released.padded_variance(torch.full((1, 1, 1, n), 1 / n), torch.tensor([n])) for n in (5, 50)]
    assert float(uniform[0]) > 5 * float(uniform[1])
