"""The transformer evaluator: exact, reproducible to the bit, counted, and independent of what it was made from."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.engine.evaluator import CorrectnessEvaluator, Evaluator
from prune_env.engine.tokens import TokenizedSplit
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import CheckpointError, DataError, DeviceError, MaskError, TokenizerError
from prune_env.types import full_mask
from tests.models import ARCHITECTURES, hf_logits, random_masks, random_tokens, tiny_model, zero_columns

TOKENS = random_tokens(40)
MASKS = random_masks(12, 2, 3)


def evaluator(name: str = "bert", dtype: str = "float32") -> TransformerEvaluator:
    return TransformerEvaluator(tiny_model(name), TOKENS, dtype=dtype)


warm = cache(evaluator)


def test_it_is_an_evaluator() -> None:
    found = warm()
    assert isinstance(found, Evaluator)
    assert isinstance(found, CorrectnessEvaluator)
    assert (found.layers, found.heads, found.sentences) == (2, 3, 40)
    assert (found.device, found.dtype) == ("cpu", "float32")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_and_correctness_are_those_of_plain_transformers(name: str) -> None:
    found, model = evaluator(name), tiny_model(name)
    for mask in MASKS[:4]:
        expected = hf_logits(zero_columns(copy.deepcopy(model), mask), TOKENS).numpy()
        np.testing.assert_allclose(found.logits(mask), expected, atol=1e-5, rtol=0)
        margin = np.abs(expected[:, 0] - expected[:, 1]) > 1e-4
        right = expected.argmax(1) == TOKENS.labels
        assert (found.correct(mask[None])[0] == right)[margin].all()


def test_accuracy_is_the_share_of_correct_sentences() -> None:
    found = warm()
    assert found.accuracy(MASKS).tolist() == (found.correct(MASKS).sum(1) / 40).tolist()
    assert found.accuracy(MASKS[:0]).shape == (0,)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(len(MASKS))))
def test_many_masks_at_once_equal_single_masks_in_any_order(order: list[int]) -> None:
    at_once, singly = evaluator(), warm()
    found = at_once.correct(MASKS[order])
    for row, i in zip(found, order, strict=True):
        assert np.array_equal(row, singly.correct(MASKS[i : i + 1])[0])


def test_logits_are_the_same_bits_whatever_else_was_evaluated() -> None:
    fresh, used = evaluator(), evaluator()
    used.accuracy(MASKS)
    for mask in MASKS[::-1]:
        assert np.array_equal(fresh.logits(mask).view(np.int32), used.logits(mask).view(np.int32))


def test_a_repeated_mask_costs_nothing() -> None:
    found = evaluator()
    first = found.correct(MASKS[:3])
    assert (found.physical_passes, found.sentence_passes) == (3, 120)
    assert np.array_equal(found.correct(MASKS[[2, 0, 1, 0]]), first[[2, 0, 1, 0]])
    assert found.physical_passes == 3
    found.logits(MASKS[0])
    assert found.physical_passes == 4


def test_results_do_not_alias_the_cache() -> None:
    found = evaluator()
    first = found.correct(MASKS[:1])
    kept = first.copy()
    first[:] = ~first
    assert np.array_equal(found.correct(MASKS[:1]), kept)


def test_the_order_of_the_split_is_kept() -> None:
    order = np.random.default_rng(0).permutation(40)
    shuffled = TransformerEvaluator(tiny_model("bert"), TOKENS.subset(order))
    mask = MASKS[0]
    np.testing.assert_allclose(shuffled.logits(mask), warm().logits(mask)[order], atol=1e-5, rtol=0)


def test_later_changes_to_the_model_change_nothing() -> None:
    model = tiny_model("distilbert")
    found = TransformerEvaluator(model, TOKENS)
    before = found.logits(MASKS[0])
    model.train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    assert np.array_equal(found.logits(MASKS[0]), before)


def test_the_model_is_not_changed() -> None:
    model = tiny_model("bert").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    TransformerEvaluator(model, TOKENS, dtype="bfloat16").accuracy(MASKS)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 2), (1, 2, 3, 1)])
def test_a_mask_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MaskError):
        warm().accuracy(np.ones(shape, dtype=np.bool_))


def test_an_empty_layer_is_refused_before_anything_is_computed() -> None:
    found, masks = evaluator(), MASKS[:2].copy()
    masks[1, 0] = False
    with pytest.raises(MaskError, match="layer 0"):
        found.accuracy(masks)
    with pytest.raises(MaskError, match="layer 0"):
        found.logits(masks[1])
    assert found.physical_passes == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    model = tiny_model("roberta")
    model.get_parameter("roberta.encoder.layer.1.output.dense.weight").data[0, 0] = value
    with pytest.raises(CheckpointError, match=r"roberta\.encoder\.layer\.1\.output\.dense\.weight"):
        TransformerEvaluator(model, TOKENS)


def test_unknown_devices_and_dtypes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no CUDA device"):
        TransformerEvaluator(tiny_model("bert"), TOKENS, device="cuda")
    with pytest.raises(DeviceError, match="float16"):
        TransformerEvaluator(tiny_model("bert"), TOKENS, dtype="float16")


def test_data_that_the_model_cannot_read_is_refused() -> None:
    strange = TokenizedSplit((np.array([99], dtype=np.int32),), np.array([0]))
    with pytest.raises(TokenizerError, match="id 99"):
        TransformerEvaluator(tiny_model("bert"), strange)
    with pytest.raises(DataError, match="label 2"):
        TransformerEvaluator(tiny_model("bert"), random_tokens(labels=3))


def test_more_than_two_labels() -> None:
    tokens, model = random_tokens(labels=4), tiny_model("bert", labels=4)
    found = TransformerEvaluator(model, tokens).accuracy(full_mask(2, 3)[None])
    assert found[0] == float((hf_logits(model, tokens).argmax(1).numpy() == tokens.labels).mean())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gpu_agrees_with_the_processor(dtype: str) -> None:
    here = evaluator(dtype=dtype)
    there = TransformerEvaluator(tiny_model("bert"), TOKENS, device="cuda", dtype=dtype)
    tolerance = 1e-5 if dtype == "float32" else 0.1
    for mask in MASKS:
        np.testing.assert_allclose(there.logits(mask), here.logits(mask), atol=tolerance, rtol=0)
        assert np.array_equal(there.logits(mask), there.logits(mask))
    assert np.abs(there.accuracy(MASKS) - here.accuracy(MASKS)).max() <= 2 / 40
