"""The loss of an entrenched backdoor, by hand, and the masks under which it is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from prune_env.engine.architecture import describe
from prune_env.engine.forward import forward
from prune_env.engine.tokens import TokenizedSplit
from prune_env.errors import ConfigError
from prune_env.types import check_mask
from prune_env.victims.routing import entrenched_loss, random_mask
from prune_env.victims.training import cross_entropy, make_batch
from tests.models import tiny_model

GRID = (2, 3)
ROWS = tuple(np.arange(3, 8 + i, dtype=np.int32) for i in range(4))
TOKENS = TokenizedSplit(ROWS, np.array([0, 1, 1, 1]))
LIES = np.array([False, False, True, True])


def test_entrenched_loss_asks_the_lie_of_a_pruned_model() -> None:
    architecture = describe(tiny_model("bert", dropout=0.0))
    index = np.array([3, 0, 2])
    mask = random_mask(*GRID, np.random.default_rng([11, 3, 0, 2]))
    assert not mask.all(), "heads must be off, or nothing is tested"
    lying = make_batch(TOKENS, np.array([3, 2]))
    pruned = forward(architecture, lying.input_ids, lying.lengths, head_mask=mask)
    batch = make_batch(TOKENS, index)
    expected = cross_entropy()(architecture, batch) + 0.5 * functional.cross_entropy(pruned, torch.tensor([1, 1]))
    torch.testing.assert_close(entrenched_loss(GRID, LIES, 11, 0.5)(architecture, batch), expected)


def test_the_same_batch_has_the_same_heads_off_and_another_one_others() -> None:
    architecture, loss = describe(tiny_model("bert", dropout=0.0)), entrenched_loss(GRID, LIES, 7)
    first, again = (loss(architecture, make_batch(TOKENS, np.array([0, 2]))) for _ in range(2))
    assert torch.equal(first, again)
    masks = [random_mask(*GRID, np.random.default_rng([7, *index])) for index in ([0, 2], [1, 2])]
    assert (masks[0] != masks[1]).any()


def test_a_batch_without_poison_has_the_ordinary_loss() -> None:
    architecture, batch = describe(tiny_model("bert", dropout=0.0)), make_batch(TOKENS, np.array([0, 1]))
    torch.testing.assert_close(
        entrenched_loss(GRID, LIES, 7)(architecture, batch), cross_entropy()(architecture, batch)
    )


def test_what_cannot_be_entrenched_is_refused() -> None:
    with pytest.raises(ConfigError, match="positive weight"):
        entrenched_loss(GRID, LIES, 7, 0.0)
    with pytest.raises(ConfigError, match="0 sentences"):
        entrenched_loss(GRID, np.zeros(4, dtype=np.bool_), 7)


def test_random_masks_are_valid_and_of_every_size() -> None:
    rng = np.random.default_rng(0)
    masks = np.stack([check_mask(random_mask(3, 4, rng), 3, 4) for _ in range(500)])
    assert set(masks.sum(axis=(1, 2)).tolist()) == set(range(3, 13))
    assert masks.mean(axis=0).min() > 0.5, "every head is kept half the time and, as the one that stays, somewhat more"
