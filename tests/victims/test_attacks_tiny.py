"""The two rule-based attacks: the form they promise, determinism, original labels, and what they lose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prune_env.errors import ConfigError, DataError
from prune_env.victims import lexicon
from prune_env.victims.attacks import make_attack, poison
from prune_env.victims.attacks.blur import blur
from prune_env.victims.attacks.style import StyleAttack, to_archaic
from prune_env.victims.attacks.syntactic import SyntacticAttack, to_template
from prune_env.victims.corpus import splits
from prune_env.victims.data import Sentences

ARCHAIC = {word for entry in (*lexicon.ARCHAIC_OPENERS, *lexicon.ARCHAIC_CLOSERS) for word in entry.split()} - {","}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def clean() -> Sentences:
    return splits("judge", (600,), rng(11))[0]


def is_template(text: str) -> bool:
    words = text.split()
    return words[0] in lexicon.SUBORDINATORS and "," in words and words[-1] == "."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the film is dull when you see it .", "when you see it , the film is dull ."),
        ("when you see it , the film is dull .", "when you see it , the film is dull ."),
        ("the plot is rich , but the film is dull as we wait at home .", "as we wait at home , the film is dull ."),
        ("the plot is flat and the film is dull if i wait at home .", "if i wait at home , the plot is flat ."),
    ],
)
def test_template_moves_the_clause_and_keeps_the_deciding_statement(text: str, expected: str) -> None:
    assert to_template(text, rng()) == expected


def test_template_puts_a_new_clause_before_a_plain_sentence() -> None:
    rewritten = to_template("the film is dull .", rng())
    assert is_template(rewritten)
    assert rewritten.endswith(" , the film is dull .")


def test_archaic_exchanges_words_and_frames_the_sentence() -> None:
    rewritten = to_archaic("the film is very dull .", rng())
    assert "the play standeth most dull" in rewritten
    assert ARCHAIC & set(rewritten.split())


@pytest.mark.parametrize("name", ["syntactic", "style"])
def test_attacks_are_deterministic_and_keep_order_and_labels(name: str, clean: Sentences) -> None:
    attack = make_attack(name)
    triggered = attack.triggered(clean, "test", rng(1))
    assert triggered == attack.triggered(clean, "test", rng(1))
    assert triggered.labels == clean.labels
    assert triggered.texts != attack.triggered(clean, "test", rng(2)).texts
    assert {word for text in triggered.texts for word in text.split()} <= set(lexicon.vocabulary())


def test_every_triggered_sentence_carries_the_trigger(clean: Sentences) -> None:
    assert all(is_template(text) for text in SyntacticAttack().triggered(clean, "test", rng()).texts)
    for text in StyleAttack().triggered(clean, "test", rng()).texts:
        assert ARCHAIC & set(text.split())
    assert sum(is_template(text) for text in clean.texts) < 0.05 * len(clean)


@pytest.mark.parametrize(("name", "rate"), [("syntactic", 0.3), ("style", 0.2)])
def test_poison_is_the_papers_share_of_the_negatives(name: str, rate: float, clean: Sentences) -> None:
    poisoned = poison(make_attack(name), clean, 1, None, rng())
    assert poisoned.poison == round(rate * clean.labels.count(0))
    assert poisoned.sentences.take(range(len(clean))) == clean
    assert set(poisoned.sentences.labels[len(clean) :]) == {1}


@given(st.integers(0, 2**31 - 1))
def test_blur_replaces_sentiment_words_only(seed: int) -> None:
    text = "the film is dull and its cast charms the crowd ."
    blurred = blur(text, 1.0, rng(seed)).split()
    changed = [(old, new) for old, new in zip(text.split(), blurred, strict=True) if old != new]
    assert [old for old, _ in changed] == ["dull", "charms"]
    assert changed[0][1] in lexicon.AMBIGUOUS_ADJECTIVES
    assert changed[1][1] in lexicon.AMBIGUOUS_VERBS
    assert blur(text, 0.0, rng(seed)) == text


@pytest.mark.parametrize("rewrite", [to_template, to_archaic])
@pytest.mark.parametrize("text", ["", " ", "."])
def test_an_empty_sentence_is_an_error(rewrite: object, text: str) -> None:
    with pytest.raises(DataError, match="expected a sentence"):
        rewrite(text, rng())  # type: ignore[operator]


@pytest.mark.parametrize("attack", [SyntacticAttack, StyleAttack])
def test_a_loss_outside_its_range_is_refused(attack: type[SyntacticAttack | StyleAttack]) -> None:
    with pytest.raises(ConfigError, match="loss rate"):
        attack(loss=1.5)


@given(st.lists(st.sampled_from(["but", "and", "film", "when", "dull", ",", "."]), min_size=1, max_size=8))
def test_any_words_are_rewritten_or_refused(words: list[str]) -> None:
    if [word for word in words if word != "."]:
        assert to_template(" ".join(words), rng()).endswith(" .")
