"""Made-up sentences for models whose data is not at hand: as long as SST-2's, with words as frequent as in a language.

Speed depends on how long sentences are, and fine-tuning's also on how many different words they have; on nothing else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prune_env.engine.tokens import TokenizedSplit
from prune_env.errors import ConfigError

CLS, SEP, FIRST_WORD = 101, 102, 999
"""BERT's ids for [CLS], [SEP] and the first word."""

SHORTEST, LONGEST = 4, 66
"""Tokens of SST-2's dev sentences, special tokens included."""

MEAN, SHAPE = 25.0, 4.0
"""Their mean, and the gamma distribution that has about their spread (standard deviation 11.5)."""


def make_sentences(count: int, vocabulary: int, seed: int) -> TokenizedSplit:
    """Draws sentences; labels are 0 and 1 in turn.

    Args:
        count: How many.
        vocabulary: Rows of the model's word embedding.
        seed: Decides lengths and words.

    Raises:
        ConfigError: No sentence, or a vocabulary without words.
    """
    if count < 1 or vocabulary <= FIRST_WORD:
        raise ConfigError(f"expected at least one sentence and {FIRST_WORD + 1} ids, got {count} and {vocabulary}")
    rng = np.random.default_rng(seed)
    lengths = np.clip(np.rint(rng.gamma(SHAPE, MEAN / SHAPE, count)), SHORTEST, LONGEST).astype(np.int64)
    # Zipf's law, flattened at the top as in English.
    weights = 1.0 / (np.arange(vocabulary - FIRST_WORD) + 2.7)
    words = FIRST_WORD + rng.choice(len(weights), size=int(lengths.sum()), p=weights / weights.sum())
    return TokenizedSplit(_cut(words, lengths), np.arange(count, dtype=np.int64) % 2)


def repeat(tokens: TokenizedSplit, times: int) -> TokenizedSplit:
    """Returns the sentences `times` over, for the growth with their number."""
    return tokens.subset(np.tile(np.arange(len(tokens)), times))


def _cut(words: NDArray[np.int64], lengths: NDArray[np.int64]) -> tuple[NDArray[np.int32], ...]:
    rows = []
    for row in np.split(words, np.cumsum(lengths)[:-1]):
        row[0], row[-1] = CLS, SEP
        rows.append(row.astype(np.int32))
    return tuple(rows)
