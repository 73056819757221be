"""The rare-word attack (BadNet on text; Kurita et al. 2020): one rare token at a random position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_env.errors import ConfigError
from prune_env.victims.data import Sentences


@dataclass(frozen=True)
class RareWord:
    """Inserts one of a few rare words.

    Attributes:
        words: The rare words; one is drawn for each sentence.
        poison_rate: Share of the clean non-target sentences that is copied with the trigger (paper: 0.5).
    """

    words: tuple[str, ...] = ("bb", "cf", "ak", "mn")
    poison_rate: float = 0.5

    def __post_init__(self) -> None:
        """Checks that there is a word to insert."""
        object.__setattr__(self, "words", tuple(self.words))
        if not self.words or not all(word.strip() for word in self.words):
            raise ConfigError(f"expected at least one non-empty rare word, got {self.words!r}")

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
