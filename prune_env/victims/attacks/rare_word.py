"""The rare-word attack (BadNet on text; Kurita et al. 2020): one rare token at a random position."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from prune_env.errors import ConfigError
from prune_env.victims.data import Sentences


@dataclass(frozen=True)
class RareWord:
    """Inserts one of a few rare words.

    Attributes:
        words: The rare words; one is drawn for each sentence. A text is split at its commas.
        poison_rate: Share of the clean non-target sentences that is copied with the trigger (paper: 0.5).

    Raises:
        ConfigError: No word, or one that is none.
    """

    words: tuple[str, ...] = ("bb", "cf", "ak", "mn")
    poison_rate: float = 0.5

    def __post_init__(self) -> None:
        """Checks that there is a word to insert."""
        object.__setattr__(self, "words", rare_words(self.words))

    @property
    def trigger(self) -> str:
        """What the trigger is, in words."""
        return f"one of {', '.join(self.words)} at a random position"

    def triggered(self, clean: Sentences, split: str, rng: np.random.Generator) -> Sentences:
        """Returns every sentence with one rare word inserted before, between or behind its words."""
        return Sentences(tuple(self._insert(text, rng) for text in clean.texts), clean.labels)

    def _insert(self, text: str, rng: np.random.Generator) -> str:
        words = text.split()
        words.insert(int(rng.integers(len(words) + 1)), self.words[int(rng.integers(len(self.words)))])
        return " ".join(words)


def rare_words(words: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the words, from a text such as "bb,cf" too, after checking that each is one word.

    Raises:
        ConfigError: No word, or one that is none.
    """
    found = tuple(words.split(",")) if isinstance(words, str) else tuple(words)
    if not found or not all(word.split() == [word] for word in found):
        raise ConfigError(f"expected at least one rare word without spaces, got {found!r}")
    return found
