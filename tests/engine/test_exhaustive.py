"""The exhaustive pass gives the counts of the evaluator, for every mask."""

from __future__ import annotations

from typing import Any

import pytest

from prune_env.engine import exhaustive
from prune_env.engine.exhaustive import tabulate
from prune_env.engine.table import TableEvaluator
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import ConfigError
from tests.models import ARCHITECTURES, random_tokens, tiny_model


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("layers", "heads", "labels"), [(1, 3, 2), (2, 3, 3), (3, 2, 2)])
def test_it_is_the_evaluator_on_every_mask(name: str, layers: int, heads: int, labels: int) -> None:
    model, tokens = (
        tiny_model(name, layers=layers, heads=heads, labels=labels, seed=5),
        random_tokens(40, labels=labels),
    )
    seen: list[int] = []
    found = tabulate(model, tokens, seen.append)
    live = TableEvaluator.from_evaluator(TransformerEvaluator(model, tokens))
    assert found.counts.tolist() == live.counts.tolist()
    assert len(set(found.counts.tolist())) > 1, "masks that all count the same would prove nothing"
    assert found.sentences == 40
    assert seen == sorted(seen) and seen[-1] == 40 and len(seen) > 3


def test_where_it_is_too_close_to_call_the_evaluator_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = tiny_model("bert", layers=2, heads=2), random_tokens(12)
    asked: list[int] = []
    real = TransformerEvaluator.accuracy

    def accuracy(self: TransformerEvaluator, masks: Any) -> Any:
        asked.append(len(masks))
        return real(self, masks)

    monkeypatch.setattr(TransformerEvaluator, "accuracy", accuracy)
    monkeypatch.setattr(exhaustive, "TOLERANCE", 1e9)
    found = tabulate(model, tokens)
    assert asked == [9]
    monkeypatch.setattr(exhaustive, "TOLERANCE", 0.0)
    assert tabulate(model, tokens).counts.tolist() == found.counts.tolist()
    assert asked == [9]


def test_a_model_with_too_many_masks_is_refused() -> None:
    with pytest.raises(ConfigError, match="evaluate directly"):
        tabulate(tiny_model("bert", layers=4, heads=8), random_tokens(3))
