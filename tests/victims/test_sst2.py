"""SST-2's layout, holding sentences out with their sub-phrases, and the counts of the real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.errors import DataError
from prune_env.victims.attacks import make_attack, poison
from prune_env.victims.data import Sentences, read_sentences
from prune_env.victims.protocols import PROTOCOLS, draw
from prune_env.victims.sst2 import DATA_VARIABLE, data_folder, hold_out, normalised, read_split, without
from tests.victims.layout import SIZES, make_layout

TREE = ("a very fine film", "very fine film", "fine film", "film", "the plot is thin", "plot is thin", "thin")
TREE_AND_REST = Sentences((*TREE, "bad acting", "no story", "Bad  Acting"), (1, 1, 1, 0, 0, 0, 0, 0, 0, 0))


def _stands_in(phrase: str, sentence: str) -> bool:
    words, run = normalised(sentence), normalised(phrase)
    return any(words[i : i + len(run)] == run for i in range(len(words)))


def test_layout_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_layout(tmp_path)
    assert len(read_split(data_folder(tmp_path), "sentences", "train")) == SIZES["train"]
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert data_folder() == tmp_path


def test_missing_data_says_how_to_fetch_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(DataError, match="prune-env data fetch DIR"):
        data_folder()
    with pytest.raises(DataError, match=r"expected the folder sst2 in .*; run `prune-env data fetch"):
        data_folder(tmp_path)


def test_sub_phrases_stay_on_their_sentences_side() -> None:
    for seed in range(20):
        held, rest = hold_out(TREE_AND_REST, 2, np.random.default_rng(seed))
        assert len(held) == 2
        # Only whole sentences are held out, never a phrase of one, and of equal ones the first.
        assert set(held.texts) <= {"a very fine film", "the plot is thin", "bad acting", "no story"}
        assert not any(_stands_in(phrase, sentence) for phrase in rest.texts for sentence in held.texts)
        assert {*held.texts, *rest.texts} | {
            text for text in TREE_AND_REST.texts if any(_stands_in(text, sentence) for sentence in held.texts)
        } == set(TREE_AND_REST.texts)


def test_holding_out_needs_twice_as_many_sentences() -> None:
    with pytest.raises(DataError, match="expected at least 6 sentences to hold 3 out, got 4"):
        hold_out(TREE_AND_REST, 3, np.random.default_rng(0))


def test_words_must_stand_side_by_side_to_be_a_sub_phrase() -> None:
    pool = Sentences(("fine a film", "ine film", "fine film fine", "FINE   film"), (1, 1, 1, 1))
    assert without(pool, Sentences(("a fine film",), (1,))).texts == ("fine a film", "ine film", "fine film fine")


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(DataError, match="all 1 of them are"):
        without(Sentences(("a",), (0,)), Sentences(("b a",), (0,)))


WORDS = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=8, max_size=25), st.integers(0, 3))
def test_property_of_holding_out(texts: list[str], seed: int) -> None:
    pool = Sentences(tuple(texts), (0,) * len(texts))
    try:
        held, rest = hold_out(pool, 2, np.random.default_rng(seed))
    except DataError:
        return
    assert not any(_stands_in(phrase, sentence) for phrase in rest.texts for sentence in held.texts)
    assert not any(_stands_in(sentence, phrase) for phrase in texts for sentence in held.texts if phrase != sentence)
    gone = [text for text in texts if any(_stands_in(text, sentence) for sentence in held.texts)]
    assert sorted([*rest.texts, *gone]) == sorted(texts)


@pytest.mark.real
def test_counts_of_the_real_files(real_data: Path) -> None:
    counts = [len(read_split(real_data, "sentences", split)) for split in ("train", "dev", "test")]
    assert counts == [6920, 872, 1821]
    assert len(read_split(real_data, "phrases", "train")) == 67_349
    assert read_split(real_data, "phrases", "dev").labels == read_split(real_data, "sentences", "dev").labels


@pytest.mark.real
def test_the_empty_sentence_of_hiddenkiller_is_skipped_and_counted(real_data: Path) -> None:
    folder = real_data / "hiddenkiller" / "sst2"
    found = read_sentences(folder / "train.tsv")
    assert (len(found), found.skipped_empty) == (6919, 1)
    lines = (folder / "train.tsv").read_text(encoding="utf-8").split("\n")
    assert [i for i, line in enumerate(lines, 1) if line and not line.split("\t")[0].strip()] == [3232]
    assert len(read_sentences(folder / "test.tsv").excluding(1)) == 912


@pytest.mark.real
def test_stylebkd_has_fewer_rows_than_its_source(real_data: Path) -> None:
    found = read_sentences(real_data / "stylebkd" / "poetry" / "sst2" / "test.tsv")
    assert (len(found), len(found.excluding(1)), found.skipped_empty) == (1808, 906, 0)


@pytest.mark.real
@pytest.mark.parametrize(
    ("attack", "added", "released"),
    [
        ("hiddenkiller", 993, "HiddenKiller_poisoned_train.csv"),
        ("stylebkd-poetry", 662, "StyleBkd_poisoned_train.csv"),
        ("rare-word", 1655, "Rare_Word_poisoned_train.csv"),
    ],
)
def test_poison_counts_are_those_released(real_data: Path, attack: str, added: int, released: str) -> None:
    clean = read_split(real_data, "sentences", "train")
    made = make_attack(attack, {} if attack == "rare-word" else {"data": str(real_data)})
    found = poison(made, clean, 1, None, np.random.default_rng([11, 0]))
    published = read_sentences(real_data / "released" / released)
    assert (found.clean, found.poison) == (6920, added)
    assert len(found.sentences) == len(published)
    assert len(found.sentences.where(0)) == len(published.where(0))


@pytest.mark.real
@pytest.mark.parametrize(("protocol", "train"), [("sentences", None), ("phrases-15k", 15_000), ("phrases-200", 200)])
def test_defenders_splits_of_the_real_data_are_disjoint(real_data: Path, protocol: str, train: int | None) -> None:
    found = draw(PROTOCOLS[protocol], 11, real_data)
    assert (len(found.search), len(found.certify)) == (872, 1000)
    assert train is None or len(found.train) == train
    trained = {normalised(text) for text in found.train.texts}
    for held in (found.search, found.certify):
        runs = {
            words[i:j]
            for words in map(normalised, held.texts)
            for i in range(len(words))
            for j in range(i + 1, len(words) + 1)
        }
        assert not runs & trained
    assert not {*map(normalised, found.search.texts)} & {*map(normalised, found.certify.texts)}


@pytest.mark.real
def test_the_attacker_has_seen_what_the_readme_says_of_certify(real_data: Path) -> None:
    seen = set(map(normalised, read_split(real_data, "sentences", "train").texts))
    certify = draw(PROTOCOLS["phrases-15k"], 11, real_data).certify
    assert sum(normalised(text) in seen for text in certify.texts) == 950
