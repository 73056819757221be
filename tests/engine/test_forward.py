"""The masked forward against plain transformers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from prune_env.engine.architecture import describe
from prune_env.engine.forward import forward
from tests.models import ARCHITECTURES, hf_logits, padded, random_tokens, tiny_model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_unmasked_logits_are_those_of_transformers(name: str) -> None:
    model, tokens = tiny_model(name), random_tokens()
    with torch.no_grad():
        logits = forward(describe(model), *padded(tokens))
    torch.testing.assert_close(logits, hf_logits(model, tokens), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_training_gradient_without_dropout_is_that_of_transformers(name: str) -> None:
    model, tokens = tiny_model(name, dropout=0.0), random_tokens()
    ids, lengths = padded(tokens, pad_id=1 if name == "roberta" else 0)
    assert lengths is not None
    labels = torch.from_numpy(tokens.labels.copy())
    model.train()
    model(input_ids=ids, attention_mask=(torch.arange(ids.shape[1]) < lengths[:, None]).long(), labels=labels)[
        "loss"
    ].backward()
    expected = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    functional.cross_entropy(forward(describe(model), ids, lengths, training=True), labels).backward()
    found = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, expected[key], atol=1e-6, rtol=1e-4, msg=key)
