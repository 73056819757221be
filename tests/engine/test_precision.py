"""The measured deviation of bfloat16 from float32."""

from __future__ import annotations

import numpy as np
import pytest

from prune_env.engine.precision import deviation
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import MaskError
from tests.models import ARCHITECTURES, random_masks, random_tokens, tiny_model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_is_the_difference_of_two_evaluators(name: str) -> None:
    model, tokens, masks = tiny_model(name), random_tokens(60), random_masks(5, 2, 3)
    found = deviation(model, tokens, masks)
    exact, rounded = (TransformerEvaluator(model, tokens, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert found.flipped == float((exact.correct(masks) != rounded.correct(masks)).mean())
    assert found.accuracy == float(np.abs(exact.accuracy(masks) - rounded.accuracy(masks)).max())
    assert found.logits == max(float(np.abs(exact.logits(m) - rounded.logits(m)).max()) for m in masks)
    assert (found.masks, found.sentences) == (5, 60)


def test_it_is_small_and_not_zero() -> None:
    found = deviation(tiny_model("bert"), random_tokens(60))
    assert found.masks == 1
    assert 0.0 < found.logits < 0.1
    assert found.accuracy <= found.flipped <= 0.1


def test_an_invalid_mask_is_refused() -> None:
    with pytest.raises(MaskError):
        deviation(tiny_model("bert"), random_tokens(), np.zeros((1, 2, 3), dtype=np.bool_))
