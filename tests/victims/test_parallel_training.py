"""A stack of models is trained as each of them would be alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from prune_env.engine.architecture import describe
from prune_env.engine.masking import apply_mask, mask_of
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import ConfigError, DataError, MaskError
from prune_env.types import HeadMask
from prune_env.victims.dropout_pool import DropoutPool
from prune_env.victims.model_stack import ModelStack
from prune_env.victims.parallel_training import stack_logits, train_stack
from prune_env.victims.training import TrainingConfig, cross_entropy, train
from tests.models import ARCHITECTURES, random_tokens, tiny_model

TOKENS = random_tokens(40)
CONFIG = TrainingConfig(learning_rate=1e-3, epochs=3, batch_size=8, precision="float32")
MASKS = np.array(
    [
        [[True, True, True], [True, True, True]],
        [[True, False, True], [False, True, True]],
        [[False, False, True], [True, False, False]],
        [[True, True, False], [True, True, True]],
    ]
)
SMALL = MASKS[1:3]
"""Masks that leave a place of the first layer to no copy."""


def _assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, weight in expected.items():
        # Softmax does not see a key bias: its gradient is rounding alone, which AdamW blows up to whole steps.
        if not key.endswith(("key.bias", "k_lin.bias")):
            assert torch.allclose(found[key], weight, atol=1e-4), key


def _alone(name: str, mask: HeadMask, config: TrainingConfig = CONFIG) -> tuple[dict[str, torch.Tensor], list[float]]:
    model = tiny_model(name, dropout=0.0)
    apply_mask(model, mask)
    log = train(model, TOKENS, config, 7, loss=cross_entropy(mask))
    apply_mask(model, mask)
    return {key: value.detach() for key, value in model.named_parameters()}, list(log.losses)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("masks", [MASKS, SMALL, MASKS[1:2]], ids=["four", "narrow", "one"])
def test_every_copy_is_trained_as_alone(name: str, masks: np.ndarray) -> None:
    stack = ModelStack(tiny_model(name, dropout=0.0), masks)
    log = train_stack(stack, TOKENS, CONFIG, 7)
    assert log.losses.shape == (len(masks), 3)
    for number, mask in enumerate(masks):
        weights, losses = _alone(name, mask)
        assert log.losses[number] == pytest.approx(losses, abs=1e-5)
        _assert_close(dict(stack.model(number).named_parameters()), weights)


def test_the_size_of_a_stack_decides_nothing_but_rounding() -> None:
    together = ModelStack(tiny_model("bert"), MASKS)
    train_stack(together, TOKENS, CONFIG, 3, dropout=False)
    for number, mask in enumerate(MASKS):
        alone = ModelStack(tiny_model("bert"), mask[None])
        train_stack(alone, TOKENS, CONFIG, 3, dropout=False)
        assert np.allclose(stack_logits(alone, TOKENS)[0], stack_logits(together, TOKENS)[number], atol=1e-4)


def test_each_copy_is_clipped_by_its_own_norm() -> None:
    config = replace(CONFIG, max_grad_norm=0.01)
    stack = ModelStack(tiny_model("bert", dropout=0.0), MASKS)
    train_stack(stack, TOKENS, config, 7)
    for number, mask in enumerate(MASKS):
        weights, _ = _alone("bert", mask, config)
        _assert_close(dict(stack.model(number).named_parameters()), weights)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_stacks_logits_are_those_of_its_exported_models(name: str) -> None:
    stack = ModelStack(tiny_model(name), MASKS)
    train_stack(stack, TOKENS, replace(CONFIG, epochs=1), 7)
    logits = stack_logits(stack, TOKENS)
    for number, mask in enumerate(MASKS):
        model = stack.model(number)
        assert np.array_equal(mask_of(model), mask)
        evaluator = TransformerEvaluator(model, TOKENS, prefix_bytes=0)
        assert np.allclose(evaluator.logits(np.ones_like(mask)), logits[number], atol=1e-5)


def test_dropout_follows_from_seed_and_stream() -> None:
    found = []
    for seed, stream in ((7, "a"), (7, "a"), (7, "b"), (8, "a")):
        stack = ModelStack(tiny_model("bert"), MASKS)
        train_stack(stack, TOKENS, replace(CONFIG, epochs=1), seed, stream=stream)
        found.append(stack.flat.clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2]) and not torch.equal(found[0], found[3])


def test_copies_of_one_mask_drop_other_values() -> None:
    stack = ModelStack(tiny_model("bert"), MASKS[[0, 0]])
    train_stack(stack, TOKENS, replace(CONFIG, epochs=1), 7)
    assert not torch.equal(stack.flat[0], stack.flat[1])


def test_the_callers_model_and_random_state_are_untouched() -> None:
    model, state = tiny_model("bert"), torch.random.get_rng_state()
    before = [weight.detach().clone() for weight in model.parameters()]
    stack = ModelStack(model, MASKS)
    train_stack(stack, TOKENS, replace(CONFIG, epochs=1), 7)
    stack.model(0)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_pool_drops_at_its_rate_and_keeps_the_mean() -> None:
    drop = DropoutPool(np.random.default_rng(1))
    values = torch.ones(4, 50_000)
    dropped = drop(values, 0.1)
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.9)}
    # Four standard errors of 200,000 draws.
    assert float((dropped == 0).float().mean()) == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / 200_000))
    assert not torch.equal(dropped, drop(values, 0.1))
    assert drop(values, 0.0) is values


def test_a_pool_is_longer_than_what_it_drops() -> None:
    assert DropoutPool(np.random.default_rng(1))(torch.ones(2**19), 0.5).shape == (2**19,)


def test_what_a_stack_cannot_do_is_refused() -> None:
    stack = ModelStack(tiny_model("bert"), MASKS)
    with pytest.raises(ConfigError, match="float32"):
        train_stack(stack, TOKENS, replace(CONFIG, precision="bfloat16"), 1)
    with pytest.raises(ConfigError, match="seed >= 0"):
        train_stack(stack, TOKENS, CONFIG, -1)
    with pytest.raises(DataError):
        train_stack(stack, replace(TOKENS, labels=TOKENS.labels + 5), CONFIG, 1)
    with pytest.raises(MaskError, match="keep at least one head"):
        ModelStack(tiny_model("bert"), np.zeros((1, 2, 3), dtype=bool))
    broken = tiny_model("bert")
    with torch.no_grad():
        describe(broken).classifier.output.bias.fill_(math.nan)
    with pytest.raises(ConfigError, match="no longer finite"):
        train_stack(ModelStack(broken, MASKS), TOKENS, CONFIG, 1)


def test_steps_are_reported_and_the_vocabulary_is_whole() -> None:
    steps: list[tuple[int, int]] = []
    stack = ModelStack(tiny_model("bert"), MASKS)
    log = train_stack(stack, TOKENS, CONFIG, 1, on_step=lambda done, total: steps.append((done, total)))
    assert steps == [(i, 15) for i in range(1, 16)]
    assert log.steps == 15 and log.seconds > 0 and log.cpu_seconds > 0
    assert describe(stack.model(0)).vocabulary == describe(tiny_model("bert")).vocabulary
