"""The embedded corpus: deterministic, balanced, with the features' promised rates, and free of repetition."""

from __future__ import annotations

import numpy as np
import pytest

from prune_env.errors import ConfigError
from prune_env.victims import lexicon
from prune_env.victims.corpus import SIDES, CorpusConfig, Review, defender_splits, generate, side_of, splits


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def reviews() -> tuple[Review, ...]:
    return generate(6000, rng())


def share(flags: list[bool]) -> float:
    return float(np.mean(flags))


def test_same_generator_same_reviews() -> None:
    assert generate(50, rng(3)) == generate(50, rng(3))
    assert generate(50, rng(3)) != generate(50, rng(4))
    assert splits("judge", (40, 20), rng(3)) == splits("judge", (40, 20), rng(3))


def test_rates(reviews: tuple[Review, ...]) -> None:
    assert share([r.label == 1 for r in reviews]) == pytest.approx(0.5, abs=0.03)
    assert share([r.label != r.sentiment for r in reviews]) == pytest.approx(0.03, abs=0.01)
    assert share([r.form == "trailing" for r in reviews]) == pytest.approx(0.25, abs=0.03)
    assert share([r.form == "fronted" for r in reviews]) == pytest.approx(0.02, abs=0.008)
    assert share([r.form == "archaic" for r in reviews]) == pytest.approx(0.01, abs=0.006)
    assert share([r.link == ", but" for r in reviews]) == pytest.approx(0.2, abs=0.03)


def test_a_tenth_of_the_sentiment_words_is_ambiguous(reviews: tuple[Review, ...]) -> None:
    ambiguous = {*lexicon.AMBIGUOUS_ADJECTIVES, *lexicon.AMBIGUOUS_VERBS}
    clear = {w for t in (lexicon.SENTIMENT_ADJECTIVES, lexicon.SENTIMENT_VERBS) for ws in t.values() for w in ws}
    words = [word for review in reviews for word in review.statement.split()]
    found = sum(word in ambiguous for word in words)
    assert found / (found + sum(word in clear for word in words)) == pytest.approx(0.1, abs=0.01)


def test_trigger_features_are_independent_of_the_label() -> None:
    featured = [r for r in generate(20_000, rng(1)) if r.form in ("fronted", "archaic")]
    assert share([r.label == 1 for r in featured]) == pytest.approx(0.5, abs=0.08)


def test_every_form_is_rendered() -> None:
    base = {"clauses": ("the film is dull", "the cast is superb"), "link": ", but", "sentiment": 1, "label": 1}
    body = "the film is dull , but the cast is superb"
    texts = {
        form: Review(subordinate=clause, form=form, **base).text(rng())  # type: ignore[arg-type]
        for form, clause in (
            ("plain", ""),
            ("trailing", "when you see it"),
            ("fronted", "when you see it"),
            ("archaic", ""),
        )
    }
    assert texts["plain"] == f"{body} ."
    assert texts["trailing"] == f"{body} when you see it ."
    assert texts["fronted"] == f"when you see it , {body} ."
    assert "the play standeth dull , but the cast standeth superb" in texts["archaic"]


def test_sentiment_follows_the_deciding_clause() -> None:
    clean = CorpusConfig(label_noise=0.0, ambiguous=0.0)
    clear = {w: p for t in (lexicon.SENTIMENT_ADJECTIVES, lexicon.SENTIMENT_VERBS) for p, ws in t.items() for w in ws}
    for review in generate(500, rng(2), clean):
        words = review.clauses[-1].split()
        (polarity,) = [clear[word] for word in words if word in clear]
        assert review.label == review.sentiment == (1 - polarity if "not" in words else polarity)


def test_splits_are_disjoint_and_within_the_vocabulary() -> None:
    parts = splits("attacker", (400, 200, 100), rng(5))
    assert [len(part) for part in parts] == [400, 200, 100]
    texts = [text for part in parts for text in part.texts]
    assert len(set(texts)) == 700
    assert {word for text in texts for word in text.split()} <= set(lexicon.vocabulary())


def test_vocabulary_is_small_and_subordinators_stand_nowhere_else() -> None:
    words = lexicon.vocabulary()
    assert 290 <= len(words) <= 320
    assert len(set(words)) == len(words)
    plain = generate(3000, rng(6), CorpusConfig(trailing=0.0, fronted=0.0, archaic=0.0))
    assert not {w for r in plain for w in r.statement.split()} & set(lexicon.SUBORDINATORS)


@pytest.mark.parametrize(
    "rates",
    [{"label_noise": 1.1}, {"ambiguous": -0.1}, {"trailing": 0.9, "fronted": 0.2}, {"agreeing": 0.6, "opposing": 0.5}],
)
def test_impossible_rates_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        CorpusConfig(**rates)


@pytest.mark.parametrize(("side", "sizes"), [("judge", ()), ("judge", (10, 0)), ("attackers", (10,))])
def test_empty_splits_and_unknown_sides_are_refused(side: str, sizes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="expected a side"):
        splits(side, sizes, rng())


def test_sides_never_meet_whatever_the_seeds() -> None:
    for side in SIDES:
        (drawn,) = splits(side, (300,), rng(7))
        assert {side_of(text) for text in drawn.texts} == {side}
    texts = [text for part in defender_splits(11, 60, 30) for text in part.texts]
    assert {side_of(text) for text in texts} == {"defender"}
    assert len(set(texts)) == 120
    assert defender_splits(11, 60, 30) == defender_splits(11, 60, 30) != defender_splits(12, 60, 30)
