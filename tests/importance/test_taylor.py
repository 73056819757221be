"""Taylor importance against finite differences of the engine's own mask gates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from prune_env.engine.architecture import describe
from prune_env.engine.forward import forward, pack
from prune_env.importance.passes import batches
from prune_env.importance.shared import batch_gradients
from prune_env.importance.taylor import taylor
from tests.models import ARCHITECTURES, random_tokens, tiny_model

TOKENS = random_tokens(8)


def numeric(name: str) -> np.ndarray:
    """Central differences of each sentence's own loss, float64 (N, layers, heads), in the split's order."""
    architecture, step = describe(tiny_model(name).double()), 1e-5
    found = np.zeros((len(TOKENS), 2, 3))
    for n, (ids, label) in enumerate(zip(TOKENS.input_ids, TOKENS.labels, strict=True)):
        for layer, head in np.ndindex(2, 3):
            losses = []
            for sign in (1, -1):
                gates = torch.ones(2, 3, dtype=torch.float64)
                gates[layer, head] += sign * step
                with torch.no_grad():
                    logits = forward(architecture, torch.from_numpy(ids.astype(np.int64))[None], gates=gates)
                losses.append(float(functional.cross_entropy(logits, torch.tensor([label]))))
            found[n, layer, head] = (losses[0] - losses[1]) / (2 * step)
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_is_the_mean_absolute_derivative(name: str) -> None:
    found = taylor(tiny_model(name), TOKENS)
    np.testing.assert_allclose(found, np.abs(numeric(name)).mean(0), rtol=1e-3, atol=1e-7)


def test_each_sentence_has_its_own_derivative() -> None:
    architecture = describe(tiny_model("bert"))
    (batch,) = batches(architecture, TOKENS, slack=100)
    order = np.argsort(TOKENS.lengths, kind="stable")
    *_, found = batch_gradients(architecture, pack(architecture), batch)
    np.testing.assert_allclose(found.numpy(), numeric("bert")[order], rtol=1e-3, atol=1e-6)


def test_a_head_without_output_scores_zero() -> None:
    model = tiny_model("bert")
    describe(model).blocks[1].output.weight.data[:, 8:16] = 0.0
    found = taylor(model, TOKENS)
    assert found[1, 1] == 0.0
    assert found[1, 0] > 0.0
