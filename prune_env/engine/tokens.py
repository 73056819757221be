"""Tokenised sentences: stored without padding, padded only inside a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import DataError, TokenizerError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_Integer = TypeVar("_Integer", np.int32, np.int64)


@dataclass(frozen=True)
class TokenizedSplit:
    """Sentences as token ids, in the split's own order.

    Attributes:
        input_ids: One int32 array a sentence, special tokens included, no padding.
        labels: int64 (N,), each >= 0.

    Raises:
        DataError: No sentence, an empty one, or another number of labels than of sentences.
    """

    input_ids: tuple[NDArray[np.int32], ...]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Freezes the arrays after checking that they belong together."""
        ids = tuple(_frozen(row, np.int32) for row in self.input_ids)
        labels = _frozen(self.labels, np.int64)
        if not ids or labels.shape != (len(ids),):
            raise DataError(
                f"expected one label for each of at least one sentence, got {len(ids)} sentences and labels of "
                f"shape {labels.shape}; pass labels (N,) for N sentences"
            )
        if min(row.size for row in ids) == 0 or any(row.ndim != 1 for row in ids):
            raise DataError("expected each sentence as a non-empty 1-D array of token ids; drop empty sentences first")
        if min(int(row.min()) for row in ids) < 0 or int(labels.min()) < 0:
            raise DataError("expected token ids and labels >= 0, got a negative one; check the tokenizer and the data")
        object.__setattr__(self, "input_ids", ids)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        """Returns the number of sentences."""
        return len(self.input_ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 (N,): tokens of each sentence."""
        return np.array([row.size for row in self.input_ids], dtype=np.int64)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> TokenizedSplit:
        """Returns the sentences at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return TokenizedSplit(tuple(self.input_ids[i] for i in chosen), self.labels[chosen])

    def batch(
        self, indices: Sequence[int] | NDArray[np.int64], pad_id: int = 0
    ) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Right-pads the sentences at `indices` to the longest of them.

        Args:
            indices: Which sentences, (B,).
            pad_id: The id in padded places; masked everywhere, so any valid id gives the same result.

        Returns:
            Token ids (B, T), and lengths (B,) or None where all are of one length: then no mask is needed.
        """
        rows = [self.input_ids[i] for i in indices]
        lengths = np.array([row.size for row in rows], dtype=np.int64)
        padded = np.full((len(rows), int(lengths.max())), pad_id, dtype=np.int64)
        for place, row in zip(padded, rows, strict=True):
            place[: row.size] = row
        return padded, None if int(lengths.min()) == padded.shape[1] else lengths

    def check_fit(self, vocabulary: int, positions: int, labels: int) -> None:
        """Checks that a model with these sizes can read the split.

        Args:
            vocabulary: Rows of the model's word embedding.
            positions: Longest sequence the model has positions for.
            labels: Outputs of its classifier.

        Raises:
            TokenizerError: A token id or a length that the model does not have.
            DataError: A label that the model does not have.
        """
        largest = max(int(row.max()) for row in self.input_ids)
        if largest >= vocabulary:
            raise TokenizerError(
                f"the tokenizer gives id {largest}, the model knows {vocabulary} ids; "
                "use the tokenizer saved with the model"
            )
        longest = int(self.lengths.max())
        if longest > positions:
            raise TokenizerError(
                f"a sentence has {longest} tokens, the model has {positions} positions; "
                f"tokenise with max_length={positions}"
            )
        if int(self.labels.max()) >= labels:
            raise DataError(
                f"label {int(self.labels.max())} came, the model has {labels} outputs; "
                f"expected labels 0 to {labels - 1}"
            )


def tokenize(
    tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str], labels: Sequence[int], max_length: int = 128
) -> TokenizedSplit:
    """Tokenises once what is evaluated many times.

    Args:
        tokenizer: The model's own tokenizer.
        sentences: N texts.
        labels: N labels, each >= 0.
        max_length: Longest sequence in tokens, special tokens included; longer ones are cut.

    Raises:
        DataError: No sentence, or another number of labels than of sentences.
    """
    encoded = tokenizer(list(sentences), truncation=True, max_length=max_length)["input_ids"] if sentences else []
    return TokenizedSplit(tuple(np.asarray(row, dtype=np.int32) for row in encoded), np.asarray(labels, dtype=np.int64))


def _frozen(values: NDArray[np.integer[Any]], dtype: type[_Integer]) -> NDArray[_Integer]:
    """Returns a read-only copy, so that a frozen split stays what was checked."""
    array: NDArray[_Integer] = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array
