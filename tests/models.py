"""Tiny random sequence classifiers of the three architectures, built from configurations: no downloads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from prune_env.engine.tokens import TokenizedSplit
from prune_env.types import HeadMask, HeadMasks

ARCHITECTURES = ("bert", "roberta", "distilbert")
VOCABULARY = 60


def tiny_model(
    name: str,
    *,
    layers: int = 2,
    heads: int = 3,
    hidden: int = 24,
    labels: int = 2,
    seed: int = 0,
    dropout: float = 0.1,
) -> PreTrainedModel:
    """Returns a random model in eval mode; weights are large enough that heads matter and biases are not zero."""
    pad_id = 1 if name == "roberta" else 0
    config: dict[str, Any] = {"vocab_size": VOCABULARY, "num_labels": labels, "pad_token_id": pad_id}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel
        if name == "distilbert":
            model = DistilBertForSequenceClassification(
                DistilBertConfig(
                    n_layers=layers,
                    n_heads=heads,
                    dim=hidden,
                    hidden_dim=2 * hidden,
                    max_position_embeddings=40,
                    dropout=dropout,
                    attention_dropout=dropout,
                    seq_classif_dropout=dropout,
                    **config,
                )
            )
        else:
            kinds: dict[str, tuple[Any, Any]] = {
                "bert": (BertConfig, BertForSequenceClassification),
                "roberta": (RobertaConfig, RobertaForSequenceClassification),
            }
            make_config, make_model = kinds[name]
            model = make_model(
                make_config(
                    num_hidden_layers=layers,
                    num_attention_heads=heads,
                    hidden_size=hidden,
                    intermediate_size=2 * hidden,
                    max_position_embeddings=40,
                    hidden_dropout_prob=dropout,
                    attention_probs_dropout_prob=dropout,
                    **config,
                )
            )
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.2)
    model.train(False)
    return model


def random_tokens(sentences: int = 24, *, seed: int = 0, labels: int = 2, longest: int = 12) -> TokenizedSplit:
    """Returns random sentences of 2 to `longest` tokens; ids start at 3, clear of every padding index."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest + 1, sentences)
    ids = tuple(rng.integers(3, VOCABULARY, length).astype(np.int32) for length in lengths)
    return TokenizedSplit(ids, rng.integers(0, labels, sentences))


def hf_logits(model: PreTrainedModel, tokens: TokenizedSplit) -> torch.Tensor:
    """Logits of plain transformers, one sentence at a time, without padding."""
    with torch.no_grad():
        rows = [model(input_ids=torch.from_numpy(row.astype(np.int64))[None]).logits for row in tokens.input_ids]
    return torch.cat(rows)


def padded(tokens: TokenizedSplit, pad_id: int = 0) -> tuple[torch.Tensor, torch.Tensor | None]:
    """All sentences as one right-padded batch."""
    ids, lengths = tokens.batch(range(len(tokens)), pad_id)
    return torch.from_numpy(ids), None if lengths is None else torch.from_numpy(lengths)


def random_masks(count: int, layers: int, heads: int, *, seed: int = 0) -> HeadMasks:
    """Returns valid random masks (count, layers, heads)."""
    rng = np.random.default_rng(seed)
    masks = rng.random((count, layers, heads)) < 0.5
    keep = rng.integers(0, heads, (count, layers))
    np.put_along_axis(masks, keep[..., None], True, axis=2)
    return masks


def zero_columns(model: PreTrainedModel, mask: HeadMask) -> PreTrainedModel:
    """Switches heads off by hand, in place, by the modules' names; shares no code with the engine."""
    names = ("attention.output.dense.weight", "attention.out_lin.weight")
    outputs = [weight for name, weight in model.named_parameters() if name.endswith(names)]
    for weight, row in zip(outputs, mask, strict=True):
        size = weight.shape[1] // len(row)
        for head in np.flatnonzero(~row):
            weight.data[:, head * size : (head + 1) * size] = 0.0
    return model
