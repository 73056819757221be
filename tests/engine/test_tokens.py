"""Tokenised splits: what is refused, and padding."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from transformers import BertTokenizer

from prune_env.engine.tokens import TokenizedSplit, tokenize
from prune_env.errors import DataError, TokenizerError


def split(*rows: list[int], labels: list[int] | None = None) -> TokenizedSplit:
    chosen = [0] * len(rows) if labels is None else labels
    return TokenizedSplit(tuple(np.array(row, dtype=np.int32) for row in rows), np.array(chosen, dtype=np.int64))


def test_a_batch_is_padded_on_the_right_to_its_longest_sentence() -> None:
    ids, lengths = split([5, 6], [7, 8, 9], [4]).batch([1, 2], pad_id=1)
    assert ids.tolist() == [[7, 8, 9], [4, 1, 1]]
    assert lengths is not None
    assert lengths.tolist() == [3, 1]


def test_a_batch_of_one_length_has_no_lengths() -> None:
    ids, lengths = split([5, 6], [7, 8, 9], [4, 3]).batch([0, 2])
    assert ids.tolist() == [[5, 6], [4, 3]]
    assert lengths is None


def test_a_subset_keeps_sentence_and_label_together() -> None:
    part = split([5], [6, 7], [8], labels=[0, 1, 2]).subset([2, 1])
    assert [row.tolist() for row in part.input_ids] == [[8], [6, 7]]
    assert part.labels.tolist() == [2, 1]
    assert part.lengths.tolist() == [1, 2]


def test_a_split_cannot_change_after_its_checks() -> None:
    labels = np.array([0], dtype=np.int64)
    tokens = TokenizedSplit((np.array([5], dtype=np.int32),), labels)
    labels[0] = 7
    assert tokens.labels.tolist() == [0]
    with pytest.raises(ValueError, match="read-only"):
        tokens.input_ids[0][0] = 9
    with pytest.raises(dataclasses.FrozenInstanceError):
        tokens.labels = labels  # type: ignore[misc]


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([], [], "at least one sentence"),
        ([[3]], [0, 1], "one label for each"),
        ([[3], []], [0, 1], "non-empty"),
        ([[3], [-1]], [0, 1], "negative"),
        ([[3]], [-1], "negative"),
    ],
)
def test_what_is_no_labelled_split_is_refused(rows: list[list[int]], labels: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(*rows, labels=labels)


def test_a_split_that_the_model_cannot_read_is_refused() -> None:
    tokens = split([5, 6, 9], labels=[1])
    tokens.check_fit(vocabulary=10, positions=3, labels=2)
    with pytest.raises(TokenizerError, match="id 9, the model knows 9"):
        tokens.check_fit(vocabulary=9, positions=3, labels=2)
    with pytest.raises(TokenizerError, match="3 tokens, the model has 2"):
        tokens.check_fit(vocabulary=10, positions=2, labels=2)
    with pytest.raises(DataError, match="label 1 came"):
        tokens.check_fit(vocabulary=10, positions=3, labels=1)


def test_tokenize_adds_special_tokens_and_cuts(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "film"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"))
    tokens = tokenize(tokenizer, ["a good film", "film"], [1, 0], max_length=4)
    assert [row.tolist() for row in tokens.input_ids] == [[2, 4, 5, 3], [2, 6, 3]]
    assert tokens.input_ids[0].dtype == np.int32
    with pytest.raises(DataError, match="at least one sentence"):
        tokenize(tokenizer, [], [])
