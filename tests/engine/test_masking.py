"""Masks written into models, and read back."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from prune_env.engine.masking import apply_mask, mask_of
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import MaskError
from prune_env.types import full_mask
from tests.models import ARCHITECTURES, random_masks, random_tokens, tiny_model, zero_columns


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_written_mask_is_the_one_the_engine_computes(name: str) -> None:
    model, tokens, mask = tiny_model(name), random_tokens(), random_masks(1, 2, 3)[0]
    expected = TransformerEvaluator(model, tokens).logits(mask)
    apply_mask(model, mask)
    found = TransformerEvaluator(model, tokens).logits(full_mask(2, 3))
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_the_pruned_heads_output_columns_change(name: str) -> None:
    model, mask = tiny_model(name), random_masks(1, 2, 3)[0]
    by_hand = zero_columns(copy.deepcopy(model), mask)
    apply_mask(model, mask)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, by_hand.state_dict()[key]), key


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_written_mask_is_read_back(name: str) -> None:
    for mask in random_masks(5, 2, 3):
        model = tiny_model(name)
        assert mask_of(model).all()
        apply_mask(model, mask)
        apply_mask(model, mask)
        assert np.array_equal(mask_of(model), mask)


def test_an_invalid_mask_changes_nothing() -> None:
    model = tiny_model("bert")
    with pytest.raises(MaskError):
        apply_mask(model, np.zeros((2, 3), dtype=np.bool_))
    assert mask_of(model).all()
