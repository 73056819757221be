"""Confidence by hand, and against the attention maps of transformers."""

from __future__ import annotations

import numpy as np
import torch

from prune_env.importance.confidence import confidence, mean_maximum
from tests.models import random_tokens, tiny_model


def test_two_by_two_by_hand() -> None:
    first = [[0.5, 0.25, 0.25], [0.125, 0.25, 0.625], [0.0, 0.0, 1.0]]
    second = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    found = mean_maximum(torch.tensor([[first, second]]), torch.tensor([3]))
    assert found.tolist() == [[0.375, 0.5]]


def test_padding_is_no_token() -> None:
    row = [0.75, 0.15, 0.1, 0.0]
    padded = [row, [0.2, 0.3, 0.5, 0.0], [0.9, 0.05, 0.05, 0.0], [0.0, 1.0, 0.0, 0.0]]
    found = mean_maximum(torch.tensor([[padded]]), torch.tensor([3]))
    np.testing.assert_allclose(found.numpy(), [[(0.75 + 0.3) / 2]], rtol=1e-6)


def test_a_sentence_of_one_token_is_certain() -> None:
    assert mean_maximum(torch.ones(1, 1, 1, 1), torch.tensor([1])).tolist() == [[1.0]]


def test_it_uses_every_row_of_every_layer() -> None:
    model, tokens = tiny_model("roberta"), random_tokens(10)
    model.set_attn_implementation("eager")
    rows = []
    for ids in tokens.input_ids:
        with torch.no_grad():
            maps = model(input_ids=torch.from_numpy(ids.astype(np.int64))[None], output_attentions=True).attentions
        rows.append([layer[0, :, :-1, :-1].numpy().max(axis=2).mean(axis=1) for layer in maps])
    np.testing.assert_allclose(confidence(model, tokens), np.mean(rows, axis=0), rtol=1e-4)
