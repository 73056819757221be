"""The exhaustive pass gives the counts of the evaluator, for every mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig
from transformers import DistilBertForSequenceClassification as DistilBert

from prune_env.engine import exhaustive
from prune_env.engine.exhaustive import tabulate
from prune_env.engine.table import TableEvaluator
from prune_env.engine.tokens import TokenizedSplit
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import ConfigError


def bert(layers: int, heads: int, labels: int = 2, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=50, hidden_size=4 * heads, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=24, max_position_embeddings=20, initializer_range=0.5,
    )  # fmt: skip
    config.num_labels = labels
    return BertForSequenceClassification(config).eval()


def split(count: int = 40, labels: int = 2, seed: int = 0) -> TokenizedSplit:
    rng = np.random.default_rng(seed)
    rows = [rng.integers(1, 50, length) for length in rng.integers(3, 9, count)]
    return TokenizedSplit(tuple(row.astype(np.int32) for row in rows), rng.integers(0, labels, count))


@pytest.mark.parametrize(("layers", "heads", "labels"), [(1, 3, 2), (2, 3, 3), (3, 2, 2)])
def test_it_is_the_evaluator_on_every_mask(layers: int, heads: int, labels: int) -> None:
    model, tokens, seen = bert(layers, heads, labels), split(labels=labels), list[int]()
    found = tabulate(model, tokens, seen.append)
    live = TableEvaluator.from_evaluator(TransformerEvaluator(model, tokens))
    assert found.counts.tolist() == live.counts.tolist()
    assert len(set(found.counts.tolist())) > 1, "masks that all count the same would prove nothing"
    assert found.sentences == 40
    assert seen == sorted(seen) and seen[-1] == 40 and len(seen) > 3


def test_another_architecture() -> None:
    torch.manual_seed(1)
    config = DistilBertConfig(
        vocab_size=50, dim=12, n_layers=2, n_heads=3, hidden_dim=16, max_position_embeddings=20, initializer_range=0.5
    )
    model, tokens = DistilBert(config).eval(), split(seed=1)
    live = TableEvaluator.from_evaluator(TransformerEvaluator(model, tokens))
    assert tabulate(model, tokens).counts.tolist() == live.counts.tolist()


def test_where_it_is_too_close_to_call_the_evaluator_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = bert(2, 2), split(12)
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
        tabulate(bert(4, 8), split(3))
