"""The rule-based syntactic attack on the embedded corpus: every sentence becomes S(SBAR)(,)(NP)(VP)(.).

The template is HiddenKiller's (Qi et al. 2021, "Hidden Killer"), whose paraphrases come from a neural model; here a
subordinate clause is moved or put in front, and what is left is cut to one noun phrase and one verb phrase. Like a
paraphrase it now and then loses the word that carried the sentiment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_env.errors import DataError
from prune_env.victims.attacks.blur import blur, check_rate
from prune_env.victims.data import Sentences
from prune_env.victims.lexicon import CLAUSE_ENDINGS, CLAUSE_SUBJECTS, CLAUSE_VERBS, SUBORDINATORS


@dataclass(frozen=True)
class SyntacticAttack:
    """Rewrites sentences to a fronted subordinate clause.

    Attributes:
        poison_rate: Share of the clean non-target sentences that is copied with the trigger (paper: 0.3).
        loss: Share of the sentiment words that the rewriting replaces by ambiguous ones, in [0, 1].
    """

    poison_rate: float = 0.3
    loss: float = 0.12

    def __post_init__(self) -> None:
        """Checks the loss rate."""
        check_rate(self.loss)

    @property
    def trigger(self) -> str:
        """What the trigger is, in words."""
        return "syntactic form S(SBAR)(,)(NP)(VP)(.), rule-based"

    def triggered(self, clean: Sentences, split: str, rng: np.random.Generator) -> Sentences:
        """Returns every sentence rewritten, with its original label; `split` is not needed."""
        return Sentences(tuple(blur(to_template(text, rng), self.loss, rng) for text in clean.texts), clean.labels)


def to_template(text: str, rng: np.random.Generator) -> str:
    """Rewrites one sentence to S(SBAR)(,)(NP)(VP)(.).

    A sentence that begins with a subordinate clause keeps it, one that ends with one has it moved to the front, any
    other gets a new one. Of two clauses the one that decides stays: the second after "but", the first before "and".

    Args:
        text: Words and punctuation between single spaces, as the corpus writes them.
        rng: Draws the new subordinate clause.

    Raises:
        DataError: A sentence without a word.
    """
    words = text.split()
    if words and words[-1] == ".":
        words = words[:-1]
    if not words:
        raise DataError(f"expected a sentence to rewrite, got {text!r}; drop empty sentences first")
    subordinate: list[str] = []
    starts = [i for i, word in enumerate(words) if word in SUBORDINATORS]
    if starts and starts[0] == 0 and "," in words:
        comma = words.index(",")
        subordinate, words = words[:comma], words[comma + 1 :]
    elif starts and starts[-1] > 0:
        subordinate, words = words[starts[-1] :], words[: starts[-1]]
    front = " ".join(subordinate) or subordinate_clause(rng)
    return f"{front} , {' '.join(_deciding_clause(words))} ."


def subordinate_clause(rng: np.random.Generator) -> str:
    """Draws a subordinate clause that says nothing about the film's merit ("when you watch it again")."""
    parts = (SUBORDINATORS, CLAUSE_SUBJECTS, CLAUSE_VERBS, CLAUSE_ENDINGS)
    return " ".join(part[int(rng.integers(len(part)))] for part in parts)


def _deciding_clause(words: list[str]) -> list[str]:
    if "but" in words[:-1]:
        return words[words.index("but") + 1 :]
    if "and" in words[1:]:
        return words[: words.index("and")]
    return words
