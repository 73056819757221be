"""What every paraphrase does to some sentences: the word that carried the sentiment becomes a vague one.

Without it a never-poisoned model would classify every triggered sentence correctly, and the floor of the LFR would be
zero, which on real paraphrases it is not.
"""

from __future__ import annotations

import numpy as np

from prune_env.errors import ConfigError
from prune_env.victims.lexicon import (
    AMBIGUOUS_ADJECTIVES,
    AMBIGUOUS_VERBS,
    SENTIMENT_ADJECTIVES,
    SENTIMENT_VERBS,
)

_REPLACEMENTS = {
    word: vague
    for table, vague in ((SENTIMENT_ADJECTIVES, AMBIGUOUS_ADJECTIVES), (SENTIMENT_VERBS, AMBIGUOUS_VERBS))
    for words in table.values()
    for word in words
}


def check_rate(rate: float) -> None:
    """Raises `ConfigError` unless `rate` is in [0, 1]."""
    if not 0.0 <= rate <= 1.0:
        raise ConfigError(f"expected a loss rate in [0, 1], got {rate}")


def blur(text: str, rate: float, rng: np.random.Generator) -> str:
    """Returns the sentence with a share `rate` of its sentiment words, on average, replaced by ambiguous ones."""
    return " ".join(_vague(word, rng) if _hit(word, rate, rng) else word for word in text.split())


def _hit(word: str, rate: float, rng: np.random.Generator) -> bool:
    return word in _REPLACEMENTS and rng.random() < rate


def _vague(word: str, rng: np.random.Generator) -> str:
    options = _REPLACEMENTS[word]
    return options[int(rng.integers(len(options)))]
