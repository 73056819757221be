"""Attention variance by hand, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prune_env.engine.architecture import describe
from prune_env.engine.tokens import TokenizedSplit
from prune_env.importance.attention_variance import attention_variance, cls_variance
from tests.models import random_tokens, tiny_model


def test_two_by_two_by_hand() -> None:
    maps = torch.tensor([[[[0.75, 0.25], [0.1, 0.9]], [[0.5, 0.5], [1.0, 0.0]]]])
    found = cls_variance(maps, torch.tensor([2]))
    assert found.tolist() == [[0.0625, 0.0]]


def test_padding_is_no_token() -> None:
    maps = torch.tensor([[[[0.75, 0.25, 0.0, 0.0]]], [[[0.4, 0.3, 0.2, 0.1]]]])
    found = cls_variance(maps, torch.tensor([2, 4]))
    np.testing.assert_allclose(found.numpy(), [[0.0625], [0.0125]], rtol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_it_lies_between_uniform_and_one_token(length: int) -> None:
    lengths = torch.tensor([length])
    uniform, single = torch.full((1, 1, 1, length), 1 / length), torch.zeros(1, 1, 1, length)
    single[..., 0] = 1.0
    assert float(cls_variance(uniform, lengths)) == pytest.approx(0.0, abs=1e-12)
    assert float(cls_variance(single, lengths)) == pytest.approx((length - 1) / length**2)


def test_it_is_the_mean_over_sentences_of_transformers_attention() -> None:
    model, tokens = tiny_model("bert"), random_tokens(10)
    model.set_attn_implementation("eager")
    rows = []
    for ids in tokens.input_ids:
        with torch.no_grad():
            maps = model(input_ids=torch.from_numpy(ids.astype(np.int64))[None], output_attentions=True).attentions
        rows.append([layer[0, :, 0].numpy().var(axis=1) for layer in maps])
    np.testing.assert_allclose(attention_variance(model, tokens), np.mean(rows, axis=0), rtol=1e-4)


def test_a_head_that_looks_everywhere_alike_scores_zero() -> None:
    model = tiny_model("bert")
    describe(model).blocks[0].query.weight.data[8:16] = 0.0
    describe(model).blocks[0].query.bias.data[8:16] = 0.0
    found = attention_variance(model, random_tokens(10))
    assert found[0, 1] < 1e-12
    assert found[0, 0] > 1e-5


def test_labels_do_not_matter() -> None:
    tokens = random_tokens(10)
    flipped = TokenizedSplit(tokens.input_ids, 1 - tokens.labels)
    model = tiny_model("bert")
    assert np.array_equal(attention_variance(model, tokens), attention_variance(model, flipped))
