"""What is evaluated: a victim with its defender's sentences, or a model of random weights with made-up ones.

A `Source` is made of plain values, so that processes side by side open the same subject for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from prune_env.engine.architecture import describe
from prune_env.engine.tokens import TokenizedSplit, tokenize
from prune_env.errors import ConfigError, UnknownNameError
from prune_env.seeds import derive
from prune_env.speed.sentences import make_sentences
from prune_env.victims.protocols import draw, get_protocol, sample
from prune_env.victims.store import open_victim

RANDOM_MODELS: dict[str, dict[str, int]] = {
    "minilm-random": {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert-base-random": {
        "num_hidden_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
}
"""Shapes of MiniLM-L6-H384 and bert-base, with BERT's vocabulary."""

DEV_SENTENCES, TRAIN_SENTENCES = 872, 15_000
"""SST-2's dev split, and a training split of the size that two cores can afford."""


@dataclass(frozen=True)
class Source:
    """Where a subject comes from; exactly one of `victim` and `model` is given.

    Attributes:
        victim: A victim's folder or embedded name.
        model: One of `RANDOM_MODELS`.
        data: Data folder of victims on SST-2; PRUNE_ENV_DATA if None.
        seed: Draws random weights, made-up sentences and a victim's splits.
        sentences: Takes only so many sentences; None takes all.
    """

    victim: str | None = None
    model: str | None = None
    data: str | None = None
    seed: int = 0
    sentences: int | None = None

    def __post_init__(self) -> None:
        """Checks that one of the two is given, and the numbers."""
        if (self.victim is None) == (self.model is None):
            raise ConfigError(
                f"expected a victim or a model, got victim={self.victim!r} and model={self.model!r}; give one of them"
            )
        if self.model is not None and self.model not in RANDOM_MODELS:
            raise UnknownNameError("model", self.model, RANDOM_MODELS)
        if self.seed < 0 or (self.sentences is not None and self.sentences < 1):
            raise ConfigError(
                f"expected a seed >= 0 and at least one sentence, got {self.seed} and {self.sentences}; correct them"
            )


@dataclass(frozen=True)
class Subject:
    """What every contestant gets.

    Attributes:
        name: For the report.
        weights: "trained" or "random".
        model: In eval mode, on the CPU; nobody changes it.
        tokens: The sentences masks are evaluated on.
        training: Sentences to fine-tune on and to score importance with.
    """

    name: str
    weights: str
    model: PreTrainedModel
    tokens: TokenizedSplit
    training: TokenizedSplit

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return describe(self.model).layers

    @property
    def heads(self) -> int:
        """Heads in each layer."""
        return describe(self.model).heads


def open_subject(source: Source) -> Subject:
    """Opens a victim or draws a model; the same source gives the same subject in every process.

    Raises:
        PruneEnvError: As `open_victim` and `draw` say: no such victim, or no data.
    """
    return _victim(source) if source.victim is not None else _random(source)


def random_model(config: BertConfig, seed: int) -> PreTrainedModel:
    """Returns a BERT classifier of this shape in eval mode, its weights decided by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = BertForSequenceClassification(config)
    model.train(False)
    return model


def _random(source: Source) -> Subject:
    shape: dict[str, Any] = RANDOM_MODELS[str(source.model)]
    config = BertConfig(**shape)
    model = random_model(config, derive(source.seed, "speed-weights") % 2**31)
    count = source.sentences or DEV_SENTENCES
    tokens = make_sentences(count, config.vocab_size, derive(source.seed, "speed-sentences"))
    training = make_sentences(TRAIN_SENTENCES, config.vocab_size, derive(source.seed, "speed-training"))
    return Subject(str(source.model), "random", model, tokens, training)


def _victim(source: Source) -> Subject:
    victim = open_victim(str(source.victim))
    protocol = get_protocol(victim.manifest.protocol)
    clean = draw(protocol, source.seed, source.data, victim.manifest.labels)
    model = victim.suspect.model(with_head=True)
    tokenizer = victim.suspect.tokenizer(model)
    length = protocol.training.max_length
    search = (
        clean.search if source.sentences is None else clean.search.take(range(min(source.sentences, len(clean.search))))
    )
    chosen = sample(clean.train, min(TRAIN_SENTENCES, len(clean.train)), np.random.default_rng(source.seed))
    tokens = tokenize(tokenizer, search.texts, search.labels, length)
    training = tokenize(tokenizer, chosen.texts, chosen.labels, length)
    return Subject(victim.name, "trained", model, tokens, training)
