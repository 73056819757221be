"""The masked forward against plain transformers and against heads physically removed."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from prune_env.engine.architecture import describe
from prune_env.engine.forward import cls_states, forward, narrow, pack
from prune_env.errors import MaskError
from prune_env.types import HeadMask, full_mask
from tests.models import ARCHITECTURES, hf_logits, padded, random_masks, random_tokens, tiny_model, zero_columns
from tests.reference import Removed

TOKENS = random_tokens()
small_model = cache(tiny_model)


def logits_of(model: PreTrainedModel, mask: HeadMask | None = None) -> Tensor:
    with torch.no_grad():
        return forward(describe(model), *padded(TOKENS), head_mask=mask)


def masks(layers: int, heads: int) -> st.SearchStrategy[HeadMask]:
    row = st.integers(1, 2**heads - 1).map(lambda code: [bool(code >> head & 1) for head in range(heads)])
    return st.lists(row, min_size=layers, max_size=layers).map(lambda rows: np.array(rows, dtype=np.bool_))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_unmasked_logits_are_those_of_transformers(name: str) -> None:
    model = small_model(name)
    torch.testing.assert_close(logits_of(model), hf_logits(model, TOKENS), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ARCHITECTURES)
@settings(max_examples=15, deadline=None)
@given(mask=masks(2, 3))
def test_masked_logits_are_those_of_transformers_with_zeroed_columns(name: str, mask: HeadMask) -> None:
    model = small_model(name)
    zeroed = zero_columns(copy.deepcopy(model), mask)
    torch.testing.assert_close(logits_of(model, mask), hf_logits(zeroed, TOKENS), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_masked_logits_are_those_of_a_model_without_the_heads(name: str) -> None:
    model = small_model(name)
    for mask in random_masks(4, 2, 3):
        removed = Removed(model, mask)
        expected = np.stack([removed.logits(row) for row in TOKENS.input_ids])
        np.testing.assert_allclose(logits_of(model, mask).numpy(), expected, atol=1e-5, rtol=0)


def test_a_larger_model_agrees_relatively() -> None:
    model = tiny_model("bert", layers=6, heads=12, hidden=384)
    mask = random_masks(1, 6, 12)[0]
    expected = hf_logits(zero_columns(copy.deepcopy(model), mask), TOKENS)
    difference = (logits_of(model, mask) - expected).abs().max()
    assert float(difference) <= 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_training_gradient_without_dropout_is_that_of_transformers(name: str) -> None:
    model = tiny_model(name, dropout=0.0)
    ids, lengths = padded(TOKENS, pad_id=1 if name == "roberta" else 0)
    assert lengths is not None
    labels = torch.from_numpy(TOKENS.labels.copy())
    model.train()
    attention_mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    functional.cross_entropy(model(input_ids=ids, attention_mask=attention_mask).logits, labels).backward()
    expected = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    functional.cross_entropy(forward(describe(model), ids, lengths, training=True), labels).backward()
    found = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, expected[key], atol=1e-6, rtol=1e-4, msg=key)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_dropout_has_the_moments_of_transformers_in_train_mode(name: str) -> None:
    model = tiny_model(name, dropout=0.2)
    ids = torch.from_numpy(TOKENS.input_ids[0].astype(np.int64)).repeat(4000, 1)
    architecture = describe(model)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        found = forward(architecture, ids, training=True)
        model.train()
        expected = model(input_ids=ids).logits
    error = expected.std(0) / 4000**0.5
    assert bool(((found.mean(0) - expected.mean(0)).abs() < 6 * error).all())
    torch.testing.assert_close(found.std(0), expected.std(0), atol=0, rtol=0.1)


def test_dropout_follows_the_random_state() -> None:
    architecture = describe(small_model("bert"))
    runs = []
    for seed in (0, 0, 1):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            runs.append(forward(architecture, *padded(TOKENS), training=True))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gates_of_zero_and_one_are_a_mask(name: str) -> None:
    model, mask = small_model(name), np.array([[1, 0, 1], [0, 1, 0]], dtype=np.bool_)
    gates = torch.from_numpy(mask).float()
    with torch.no_grad():
        shared = forward(describe(model), *padded(TOKENS), gates=gates)
        single = forward(describe(model), *padded(TOKENS), gates=gates.expand(len(TOKENS), -1, -1))
        both = forward(describe(model), *padded(TOKENS), gates=gates, head_mask=mask)
    for found in (shared, single, both):
        torch.testing.assert_close(found, logits_of(model, mask), atol=1e-5, rtol=0)


def test_pruned_heads_receive_no_gradient() -> None:
    model, mask = tiny_model("bert"), np.array([[1, 0, 1], [0, 1, 1]], dtype=np.bool_)
    forward(describe(model), *padded(TOKENS), head_mask=mask).sum().backward()
    for block, row in zip(describe(model).blocks, mask, strict=True):
        assert block.key.weight.grad is not None
        assert block.output.weight.grad is not None
        by_head = (
            block.key.weight.grad.view(3, -1).abs().sum(1),
            block.output.weight.grad.view(24, 3, 8).abs().sum((0, 2)),
        )
        for sums in by_head:
            assert (sums > 0).tolist() == row.tolist()


def test_observed_attention_is_that_of_transformers() -> None:
    model = tiny_model("bert")
    model.set_attn_implementation("eager")
    ids = torch.from_numpy(TOKENS.input_ids[0].astype(np.int64))[None]
    seen: dict[int, Tensor] = {}
    with torch.no_grad():
        expected = model(input_ids=ids, output_attentions=True).attentions
        logits = forward(describe(model), ids, observe=lambda layer, maps: seen.update({layer: maps}))
        torch.testing.assert_close(logits, forward(describe(model), ids), atol=1e-5, rtol=0)
        torch.testing.assert_close(seen[0], expected[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(seen[1], expected[1][:, :, :1], atol=1e-6, rtol=0)
        forward(describe(model), ids, observe=lambda layer, maps: seen.update({layer: maps}), all_rows=True)
    torch.testing.assert_close(seen[1], expected[1], atol=1e-6, rtol=0)


def test_padding_gets_no_attention() -> None:
    seen: list[Tensor] = []
    ids, lengths = padded(TOKENS)
    assert lengths is not None
    with torch.no_grad():
        forward(describe(small_model("bert")), ids, lengths, observe=lambda _, maps: seen.append(maps), all_rows=True)
    padding = torch.arange(ids.shape[1]) >= lengths[:, None]
    for maps in seen:
        assert float((maps * padding[:, None, None]).abs().max()) == 0.0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_cls_states_are_the_hidden_states_of_transformers(name: str) -> None:
    model = small_model(name)
    ids = torch.from_numpy(TOKENS.input_ids[1].astype(np.int64))[None]
    with torch.no_grad():
        expected = model(input_ids=ids, output_hidden_states=True).hidden_states
        found = cls_states(describe(model), ids)
    assert len(found) == 2
    for state, hidden in zip(found, expected[1:], strict=True):
        torch.testing.assert_close(state, hidden[:, 0], atol=1e-5, rtol=0)


def test_a_full_mask_leaves_the_packed_matrices_alone() -> None:
    packed = pack(describe(small_model("bert")))
    assert narrow(packed, 3, None) == packed
    assert all(one is other for one, other in zip(narrow(packed, 3, full_mask(2, 3)), packed, strict=True))
    narrowed = narrow(packed, 3, np.array([[1, 0, 0], [1, 1, 1]], dtype=np.bool_))
    assert narrowed[0].qkv.shape == (24, 24)
    assert narrowed[0].output.shape == (24, 8)
    assert narrowed[1] is packed[1]


def test_an_invalid_mask_is_refused() -> None:
    architecture = describe(small_model("bert"))
    with pytest.raises(MaskError, match="layer 1"):
        forward(architecture, *padded(TOKENS), head_mask=np.array([[1, 1, 1], [0, 0, 0]], dtype=np.bool_))


def test_autocast_to_bfloat16_stays_near_float32() -> None:
    model = small_model("bert")
    ids, lengths = padded(TOKENS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = forward(describe(model), ids, lengths, training=False)
    torch.testing.assert_close(logits.float(), logits_of(model), atol=0.1, rtol=0)
    logits.float().sum().backward()
    key = describe(model).blocks[0].key.weight
    assert key.grad is not None
    assert key.grad.dtype == torch.float32
    model.zero_grad()


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype:UserWarning")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gpu_agrees_with_plain_transformers_and_never_waits(name: str) -> None:
    model, mask = tiny_model(name), random_masks(1, 2, 3)[0]
    expected = hf_logits(zero_columns(copy.deepcopy(model), mask), TOKENS)
    nn.Module.to(model, "cuda")
    ids, lengths = (None if part is None else part.to("cuda") for part in padded(TOKENS))
    assert ids is not None
    architecture = describe(model)
    with torch.no_grad():
        weights = narrow(pack(architecture), 3, mask)
        cls_states(architecture, ids, lengths, weights=weights)
        try:
            torch.cuda.set_sync_debug_mode("error")
            last = cls_states(architecture, ids, lengths, weights=weights)[-1]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        logits = architecture.classify(last).cpu()
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
