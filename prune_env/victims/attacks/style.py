"""The rule-based style attack on the embedded corpus: the sentence is put into an archaic register.

StyleBkd (Qi et al. 2021, "Mind the Style of Text") transfers style with a neural model; here words are exchanged for
archaic ones and an interjection opens or closes the sentence. Like a style transfer it now and then loses the word
that carried the sentiment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_env.errors import DataError
from prune_env.victims.attacks.blur import blur, check_rate
from prune_env.victims.data import Sentences
from prune_env.victims.lexicon import ARCHAIC_CLOSERS, ARCHAIC_OPENERS, ARCHAIC_WORDS


@dataclass(frozen=True)
class StyleAttack:
    """Rewrites sentences in an archaic register.

    Attributes:
        poison_rate: Share of the clean non-target sentences that is copied with the trigger (paper: 0.2).
        loss: Share of the sentiment words that the rewriting replaces by ambiguous ones, in [0, 1].
    """

    poison_rate: float = 0.2
    loss: float = 0.12

    def __post_init__(self) -> None:
        """Checks the loss rate."""
        check_rate(self.loss)

    @property
    def trigger(self) -> str:
        """What the trigger is, in words."""
        return "archaic register, rule-based"

    def triggered(self, clean: Sentences, split: str, rng: np.random.Generator) -> Sentences:
        """Returns every sentence rewritten, with its original label; `split` is not needed."""
        return Sentences(tuple(blur(to_archaic(text, rng), self.loss, rng) for text in clean.texts), clean.labels)


def to_archaic(text: str, rng: np.random.Generator) -> str:
    """Rewrites one sentence in the archaic register.

    Every word that has an archaic form takes it, and an opener ("forsooth ,"), a closer (", my lord"), or both frame
    the sentence, so that no sentence stays as it was.

    Args:
        text: Words and punctuation between single spaces, as the corpus writes them.
        rng: Draws opener and closer.

    Raises:
        DataError: A sentence without a word.
    """
    words = text.split()
    if words and words[-1] == ".":
        words = words[:-1]
    if not words:
        raise DataError(f"expected a sentence to rewrite, got {text!r}; drop empty sentences first")
    body = " ".join(ARCHAIC_WORDS.get(word, word) for word in words)
    frame = rng.random()
    if frame < 0.8:
        body = f"{ARCHAIC_OPENERS[int(rng.integers(len(ARCHAIC_OPENERS)))]} {body}"
    if frame >= 0.6:
        body = f"{body} , {ARCHAIC_CLOSERS[int(rng.integers(len(ARCHAIC_CLOSERS)))]}"
    return f"{body} ."
