"""The embedded corpus: short movie reviews from a grammar of our own, so that the tiny victims need no download.

A review has one or two clauses (noun phrase, verb phrase). The label follows the last clause ("but" overrules what
stands before it) and "not" turns a word round, so a bag of words does not solve the task. A tenth of the sentiment
words are ambiguous (they lean to one side), 3 % of the labels are wrong. Clean reviews have the triggers' features now
and then, whatever their label: 25 % end in a subordinate clause, 2 % begin with one, 1 % are archaic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias, TypeVar

import numpy as np

from prune_env.errors import ConfigError
from prune_env.seeds import derive
from prune_env.victims import lexicon
from prune_env.victims.attacks.style import to_archaic
from prune_env.victims.attacks.syntactic import subordinate_clause
from prune_env.victims.data import Sentences
from prune_env.victims.lexicon import NEGATIVE, POSITIVE

CORPUS_VERSION = 1
"""Goes up with every change of grammar or words: tasks and victims of another version are not this corpus."""

SIDES = ("attacker", "defender", "judge")
"""Who may meet a sentence. The text's hash decides, so the sides are disjoint whatever the seeds."""

T = TypeVar("T")
Lexicon: TypeAlias = Mapping[int, Sequence[str]]


@dataclass(frozen=True)
class CorpusConfig:
    """How often each feature occurs; every rate is a share of the reviews in [0, 1].

    Attributes:
        label_noise: Reviews whose label is wrong.
        ambiguous: Sentiment words that are drawn from the ambiguous ones, which occur with either sentiment.
        leaning: Ambiguous words that are used in the sense in which they lean; 0.5 makes them say nothing.
        negation: Clauses that say "is not" and the opposite word.
        agreeing: Reviews of two clauses joined by "and", of the same sentiment.
        opposing: Reviews of two clauses joined by ", but"; the second decides.
        phrase: Reviews with a prepositional phrase.
        trailing: Reviews with a subordinate clause at their end.
        fronted: Reviews with a subordinate clause in front: the syntactic trigger, met innocently.
        archaic: Reviews in the archaic register: the style trigger, met innocently.
    """

    label_noise: float = 0.03
    ambiguous: float = 0.10
    leaning: float = 0.80
    negation: float = 0.12
    agreeing: float = 0.25
    opposing: float = 0.20
    phrase: float = 0.25
    trailing: float = 0.25
    fronted: float = 0.02
    archaic: float = 0.01

    def __post_init__(self) -> None:
        """Checks every rate, and that features which exclude each other fit side by side."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"expected corpus rate {field.name} in [0, 1], got {value}")
        for group in (("agreeing", "opposing"), ("trailing", "fronted", "archaic")):
            if sum(getattr(self, name) for name in group) > 1.0:
                raise ConfigError(f"expected the rates {', '.join(group)} to sum to at most 1; lower one")


@dataclass(frozen=True)
class Review:
    """One review, taken apart.

    Attributes:
        clauses: One or two clauses, each a noun phrase and a verb phrase.
        link: What joins two clauses: "and", ", but", or "" for a single one.
        subordinate: A subordinate clause, or "".
        form: Where the features of a trigger occur: "plain", "trailing", "fronted" or "archaic".
        sentiment: What the words say: 0 negative, 1 positive.
        label: What the data set says; the sentiment but for label noise.
    """

    clauses: tuple[str, ...]
    link: str
    subordinate: str
    form: str
    sentiment: int
    label: int

    @property
    def statement(self) -> str:
        """The clauses without anything subordinate and without the full stop."""
        return f" {self.link} ".join(self.clauses)

    def text(self, rng: np.random.Generator) -> str:
        """Returns the review as lower-case words and punctuation between single spaces.

        Args:
            rng: Draws the archaic opener or closer; untouched in the other forms.
        """
        if self.form == "fronted":
            return f"{self.subordinate} , {self.statement} ."
        if self.form == "trailing":
            return f"{self.statement} {self.subordinate} ."
        plain = f"{self.statement} ."
        return to_archaic(plain, rng) if self.form == "archaic" else plain


def generate(count: int, rng: np.random.Generator, config: CorpusConfig | None = None) -> tuple[Review, ...]:
    """Returns `count` independent reviews, half of each sentiment on average."""
    settings = config or CorpusConfig()
    return tuple(_review(rng, settings) for _ in range(count))


def splits(
    side: str, sizes: Sequence[int], rng: np.random.Generator, config: CorpusConfig | None = None
) -> tuple[Sentences, ...]:
    """Draws disjoint sets of sentences that nobody on another side can meet; no text occurs twice.

    Args:
        side: "attacker", "defender" or "judge".
        sizes: Sentences of each set.
        rng: Draws the reviews.
        config: Rates of the features.

    Raises:
        ConfigError: Another side, or a size that is not positive.
    """
    if side not in SIDES or not sizes or min(sizes) < 1:
        raise ConfigError(
            f"expected a side among {', '.join(SIDES)} and positive sizes, got {side!r} and {list(sizes)}"
        )
    settings = config or CorpusConfig()
    found: dict[str, int] = {}
    while len(found) < sum(sizes):
        review = _review(rng, settings)
        text = review.text(rng)
        if side_of(text) == side:
            found.setdefault(text, review.label)
    pool = Sentences(tuple(found), tuple(found.values()))
    ends = np.cumsum(sizes)
    return tuple(pool.take(range(end - size, end)) for end, size in zip(ends.tolist(), sizes, strict=True))


def side_of(text: str) -> str:
    """Returns the side that may meet this text; each has a third of all texts."""
    return SIDES[hashlib.sha256(text.encode()).digest()[0] % len(SIDES)]


def defender_splits(seed: int, train: int = 3000, held: int = 600) -> tuple[Sentences, Sentences, Sentences]:
    """Draws a defender's clean data: training, search and certify split, the last two of `held` sentences each."""
    drawn = splits("defender", (train, held, held), np.random.default_rng(derive(seed, "defender-corpus")))
    return drawn[0], drawn[1], drawn[2]


def _review(rng: np.random.Generator, config: CorpusConfig) -> Review:
    sentiment = int(rng.integers(2))
    link = _draw({"and": config.agreeing, ", but": config.opposing}, "", rng)
    before = {"": (), "and": (sentiment,), ", but": (1 - sentiment,)}[link]
    clauses = [_clause(polarity, rng, config) for polarity in (*before, sentiment)]
    if rng.random() < config.phrase:
        clauses[-1] = f"{clauses[-1]} {_pick(lexicon.PHRASES, rng)}"
    form = _draw({"trailing": config.trailing, "fronted": config.fronted, "archaic": config.archaic}, "plain", rng)
    subordinate = subordinate_clause(rng) if form in ("trailing", "fronted") else ""
    label = 1 - sentiment if rng.random() < config.label_noise else sentiment
    return Review(tuple(clauses), link, subordinate, form, sentiment, label)


def _clause(polarity: int, rng: np.random.Generator, config: CorpusConfig) -> str:
    if rng.random() < config.negation:
        adjective = _adjective(POSITIVE if polarity == NEGATIVE else NEGATIVE, rng, config)
        return f"{_noun_phrase(rng)} {_pick(lexicon.COPULAS, rng)} not {_adverb(rng)}{adjective}"
    subject = _noun_phrase(rng)
    kind = rng.random()
    if kind < 0.55:
        return f"{subject} {_pick(lexicon.COPULAS, rng)} {_adverb(rng)}{_adjective(polarity, rng, config)}"
    if kind < 0.75:
        giver = f"{_pick(lexicon.GIVERS, rng)} a {_adjective(polarity, rng, config)} {_pick(lexicon.NOUNS, rng)}"
        return f"{subject} {giver}"
    verb = _sentiment_word(lexicon.SENTIMENT_VERBS, lexicon.LEANING_VERBS, polarity, rng, config)
    owner = _pick(lexicon.OBJECT_OWNERS, rng)
    return f"{subject} {_adverb(rng)}{verb} {owner} {_pick(lexicon.AUDIENCES, rng)}"


def _noun_phrase(rng: np.random.Generator) -> str:
    kind = rng.random()
    noun = _pick(lexicon.NOUNS, rng)
    if kind < 0.4:
        return f"the {noun}"
    if kind < 0.6:
        return f"{_pick(('this', 'its'), rng)} {noun}"
    if kind < 0.85:
        return f"the {_pick(lexicon.MODIFIERS, rng)} {noun}"
    return f"the {noun} of the {_pick(lexicon.NOUNS, rng)}"


def _adverb(rng: np.random.Generator) -> str:
    return f"{_pick(lexicon.ADVERBS, rng)} " if rng.random() < 0.4 else ""


def _adjective(polarity: int, rng: np.random.Generator, config: CorpusConfig) -> str:
    return _sentiment_word(lexicon.SENTIMENT_ADJECTIVES, lexicon.LEANING_ADJECTIVES, polarity, rng, config)


def _sentiment_word(
    clear: Lexicon, leaning: Lexicon, polarity: int, rng: np.random.Generator, config: CorpusConfig
) -> str:
    if rng.random() >= config.ambiguous:
        return _pick(clear[polarity], rng)
    return _pick(leaning[polarity if rng.random() < config.leaning else 1 - polarity], rng)


def _draw(rates: dict[str, float], otherwise: str, rng: np.random.Generator) -> str:
    point = rng.random()
    for name, rate in rates.items():
        if point < rate:
            return name
        point -= rate
    return otherwise


def _pick(options: Sequence[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(len(options)))]
