"""Subjects: the same source is the same subject, and made-up sentences are as long as real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.engine.architecture import describe
from prune_env.errors import ConfigError, DataError, UnknownNameError
from prune_env.speed import subject as subjects
from prune_env.speed.ceiling import measure_ceiling, useful_flop
from prune_env.speed.sentences import CLS, SEP, make_sentences, repeat
from prune_env.speed.subject import Source, Subject, open_subject
from tests.models import random_tokens, tiny_model
from tests.victims_factory import make_victim

TINY_SHAPE = {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 48}


def test_sentences_are_as_long_as_those_of_sst2() -> None:
    tokens = make_sentences(872, 30522, seed=0)
    assert 23.5 < tokens.lengths.mean() < 26.5
    assert 9.0 < tokens.lengths.std() < 14.0
    assert tokens.lengths.min() >= 4 and tokens.lengths.max() <= 66
    assert all(row[0] == CLS and row[-1] == SEP for row in tokens.input_ids)
    same = make_sentences(872, 30522, seed=0)
    assert all((one == other).all() for one, other in zip(tokens.input_ids, same.input_ids, strict=True))


def test_words_repeat_as_in_a_language() -> None:
    words = np.concatenate(make_sentences(872, 30522, seed=0).input_ids)
    assert len(np.unique(words)) < len(words) / 2


def test_repeated_sentences() -> None:
    tokens = random_tokens(5)
    assert repeat(tokens, 3).lengths.tolist() == tokens.lengths.tolist() * 3


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError, match="1000 ids"):
        make_sentences(5, 999, seed=0)


def test_a_random_model_follows_from_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(subjects.RANDOM_MODELS, "minilm-random", TINY_SHAPE)
    one, same, other = (open_subject(Source(model="minilm-random", seed=seed, sentences=20)) for seed in (1, 1, 2))
    weights = [describe(subject.model).blocks[0].query.weight for subject in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert (one.layers, one.heads, len(one.tokens)) == (2, 3, 20)
    assert one.weights == "random"


def test_a_victim_brings_its_own_sentences() -> None:
    subject = open_subject(Source(victim="tiny-syntactic", sentences=50))
    assert (subject.name, subject.weights, len(subject.tokens)) == ("tiny-syntactic", "trained", 50)
    assert len(subject.training) == 3000 <= subjects.TRAIN_SENTENCES, "all that the victim has"


def test_a_victim_on_sst2_needs_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prune_env.victims import protocols
    from tests.victims_factory import TINY

    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", TINY)
    monkeypatch.delenv("PRUNE_ENV_DATA", raising=False)
    make_victim(tmp_path / "victim", twin_seed=None)
    with pytest.raises(DataError):
        open_subject(Source(victim=str(tmp_path / "victim")))


def test_sources_are_checked() -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        Source()
    with pytest.raises(ConfigError, match="give one of them"):
        Source(victim="tiny-syntactic", model="minilm-random")
    with pytest.raises(UnknownNameError, match="did you mean 'minilm-random'"):
        Source(model="minilm")
    with pytest.raises(ConfigError, match="at least one sentence"):
        Source(model="minilm-random", sentences=0)


def test_useful_work_by_hand() -> None:
    # 2 layers, width 24, feed-forward 48, 2 labels; one sentence of 2 tokens.
    tokens = random_tokens(1, longest=2).subset([0])
    model = tiny_model("bert")
    length = int(tokens.lengths[0])
    full = 8 * length * 24**2 + 4 * length**2 * 24 + 4 * length * 24 * 48
    last = 4 * length * 24**2 + 4 * 24**2 + 4 * length * 24 + 4 * 24 * 48
    subject = Subject("tiny", "random", model, tokens, tokens)
    assert length == 2
    assert useful_flop(subject) == full + last + 2 * 24**2 + 2 * 24 * 2
    assert useful_flop(subject, repeat(tokens, 3)) == 3 * useful_flop(subject)


def test_a_ceiling_is_measured() -> None:
    found = measure_ceiling("float32", "cpu", quick=True)
    assert found.size == 256 and found.flops > 0.0
