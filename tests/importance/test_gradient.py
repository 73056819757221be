"""Gradient importance against finite differences and plain transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import PreTrainedModel

from prune_env.engine.architecture import describe
from prune_env.engine.tokens import TokenizedSplit
from prune_env.importance.gradient import gradient
from prune_env.importance.shared import mean_gradients
from tests.models import ARCHITECTURES, hf_logits, random_tokens, tiny_model

TOKENS = random_tokens(12)


def mean_loss(model: PreTrainedModel, tokens: TokenizedSplit) -> float:
    labels = torch.from_numpy(tokens.labels.copy())
    return float(functional.cross_entropy(hf_logits(model, tokens), labels))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_is_the_derivative_of_the_mean_loss(name: str) -> None:
    model = tiny_model(name).double()
    found = mean_gradients(describe(model), TOKENS).keys
    step = 1e-5
    for layer, row, column in [(0, 0, 0), (0, 13, 5), (1, 7, 20), (1, 23, 23)]:
        weight = describe(model).blocks[layer].key.weight.data
        losses = []
        for sign in (1, -1):
            weight[row, column] += sign * step
            losses.append(mean_loss(model, TOKENS))
            weight[row, column] -= sign * step
        numeric = (losses[0] - losses[1]) / (2 * step)
        assert float(found[layer, row, column]) == pytest.approx(numeric, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_head_owns_its_rows(name: str) -> None:
    model = tiny_model(name)
    labels = torch.from_numpy(TOKENS.labels.copy())
    for row, label in zip(TOKENS.input_ids, labels, strict=True):
        loss = functional.cross_entropy(
            model(input_ids=torch.from_numpy(row.astype(np.int64))[None]).logits, label[None]
        )
        (loss / len(TOKENS)).backward()
    found = gradient(model, TOKENS)
    for layer, block in enumerate(describe(model).blocks):
        assert block.key.weight.grad is not None
        for head in range(3):
            rows = block.key.weight.grad[head * 8 : (head + 1) * 8]
            assert found[layer, head] == pytest.approx(float(rows.norm()), rel=1e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_key_bias_has_no_gradient(name: str) -> None:
    found = mean_gradients(describe(tiny_model(name)), TOKENS)
    assert float(found.key_biases.abs().max()) < 1e-6 * float(found.keys.abs().max())


def test_gradients_that_cancel_over_the_data_do_not_count() -> None:
    rows = tuple(row for row in TOKENS.input_ids for _ in range(2))
    balanced = TokenizedSplit(rows, np.tile([0, 1], len(TOKENS)))
    model = tiny_model("bert")
    describe(model).classifier.output.weight.data.mul_(1e-3)
    describe(model).classifier.output.bias.data.zero_()
    one_sided = TokenizedSplit(rows, np.zeros(len(rows), dtype=np.int64))
    assert float(gradient(model, balanced).max()) < 0.01 * float(gradient(model, one_sided).min())
