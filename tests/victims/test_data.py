"""Reading labelled sentences: tolerant of untidy files, exact about where one is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.errors import DataError
from prune_env.victims.data import Sentences, read_sentences, write_jsonl

TWO = Sentences(("a fine film", "a dull film"), (1, 0))


def _file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.tsv", "sentence\tlabel\na fine film\t1\na dull film\t0\n"),
        ("windows.tsv", "sentence\tlabel\r\na fine film\t1\r\na dull film\t0\r\n"),
        ("spaces.tsv", " sentences \t labels \n a fine film \t 1 \na dull film\t 0\n"),
        ("columns.tsv", "label\tcontent\n1\ta fine film\n0\ta dull film"),
        ("mark.tsv", "\ufeffSentence\tLabel\na fine film\t1\n\na dull film\t0\n"),
        ("third.tsv", "id\tsentence\tlabel\n7\ta fine film\t1\n8\ta dull film\t0\n"),
        ("quoted.csv", 'label,text\n1,"a fine film"\n0,a dull film\n'),
        ("windows.csv", "label,text\r\n1,a fine film\r\n0,a dull film\r\n"),
        ("lines.jsonl", '{"sentence": "a fine film", "label": 1}\n\n{"text": "a dull film", "labels": "0"}\n'),
    ],
)
def test_untidy_files_read_alike(tmp_path: Path, name: str, content: str) -> None:
    assert read_sentences(_file(tmp_path, name, content)) == TWO


def test_quotes_of_a_tsv_are_text_and_those_of_a_csv_are_not(tmp_path: Path) -> None:
    assert read_sentences(_file(tmp_path, "a.tsv", 'text\tlabel\n" oh " , he said\t0\n')).texts == ('" oh " , he said',)
    assert read_sentences(_file(tmp_path, "a.csv", 'text,label\n"oh, "" he "" said",0\n')).texts == ('oh, " he " said',)


def test_empty_sentences_are_skipped_and_counted(tmp_path: Path) -> None:
    found = read_sentences(_file(tmp_path, "a.tsv", "sentence\tlabel\na\t1\n \t 1\n\t0\nb\t0\n"))
    assert (found.texts, found.skipped_empty) == (("a", "b"), 2)
    assert (found + found).skipped_empty == 4


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.tsv", "sentence\tlabel\na\t1\nb\t2\n", r"a\.tsv:3: expected a label from 0 to 1, got '2'"),
        ("a.tsv", "sentence\tlabel\na\t-1\n", r"a\.tsv:2: .*got '-1'"),
        ("a.tsv", "sentence\tlabel\na\tpositive\n", r"a\.tsv:2: .*got 'positive'"),
        ("a.tsv", "sentence\tlabel\na\t\n", r"a\.tsv:2: .*got ''"),
        ("a.tsv", "sentence\tlabel\na\t²\n", r"a\.tsv:2: .*got '²'"),
        ("a.tsv", "sentence\tlabel\na\tb\t1\n", r"a\.tsv:2: expected 2 cells, got 3"),
        ("a.tsv", "sentence\tlabel\nonly text\n", r"a\.tsv:2: expected 2 cells, got 1"),
        ("a.tsv", "a fine film\t1\n", r"a\.tsv:1: expected a header with a text column"),
        ("a.tsv", "", r"a\.tsv:1: expected a header"),
        ("a.tsv", "sentence\tlabel\n", r"a\.tsv holds no sentence"),
        ("a.tsv", b"sentence\tlabel\n\xff\xfe\t1\n", "not UTF-8"),
        ("a.csv", 'text,label\n"a,1\nb,0\n', r"a\.csv:3: malformed CSV"),
        ("a.csv", 'text,label\n"a"b,1\n', r"a\.csv:2: malformed CSV"),
        ("a.jsonl", '{"text": "a", "label": 0}\n{"text": \n', r"a\.jsonl:2: expected a JSON object"),
        ("a.jsonl", "[1]\n", r"a\.jsonl:1: expected a JSON object, got list"),
        ("a.jsonl", '{"text": null, "label": 0}\n', r"a\.jsonl:1: expected a sentence as text, got None"),
        ("a.jsonl", '{"text": "a", "label": true}\n', r"a\.jsonl:1: expected a label from 0 to 1, got 'True'"),
        ("a.jsonl", '{"text": "\\ud800", "label": 0}\n', r"a\.jsonl:1: expected a sentence as text"),
        ("a.jsonl", '{"words": "a", "label": 0}\n', r"a\.jsonl:1: expected a header"),
        ("a.txt", "a", r"expected a \.tsv, .* or \.jsonl\.gz file, got a\.txt"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_sentences(_file(tmp_path, name, content))


def test_a_missing_file_and_several_splits_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        read_sentences(tmp_path / "absent.tsv")
    _file(tmp_path, "dataset_dict.json", "{}")
    with pytest.raises(DataError, match="expected one split"):
        read_sentences(tmp_path)


def test_more_classes_when_asked_for(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.tsv", "sentence\tlabel\na\t3\nb\t0\n")
    assert read_sentences(path, labels=4).labels == (3, 0)
    with pytest.raises(DataError, match="from 0 to 2"):
        read_sentences(path, labels=3)


@pytest.mark.parametrize(
    ("texts", "labels", "says"),
    [
        (("a",), (0, 1), "1 sentences, 2 labels"),
        (("a",), (-1,), "sentence 0, got -1"),
        (("a", "b"), (0, 1.0), "sentence 1, got 1.0"),
        (("a",), (True,), "sentence 0, got True"),
        (("a", " "), (0, 0), "expected text in sentence 1"),
        ((3,), (0,), "expected text in sentence 0, got 3"),
    ],
)
def test_sentences_check_texts_and_labels(texts: Any, labels: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        Sentences(texts, labels)


def test_sentences_store_what_json_can_hold() -> None:
    found = Sentences(["a", "b"], np.array([0, 1]))  # type: ignore[arg-type]
    assert (found.texts, found.labels) == (("a", "b"), (0, 1))
    assert json.dumps(found.labels) == "[0, 1]"


def test_selections_keep_order_and_class() -> None:
    three = Sentences(("a", "b", "c"), (1, 0, 1))
    assert three.take([2, 0]).texts == ("c", "a")
    assert three.where(1).texts == ("a", "c")
    assert three.excluding(1).texts == ("b",)
    assert three.relabelled(0).labels == (0, 0, 0)
    assert len(three + three.where(0)) == 4


def test_the_hash_tells_sentences_apart_and_not_formats(tmp_path: Path) -> None:
    write_jsonl(TWO, tmp_path / "a.jsonl")
    read = read_sentences(tmp_path / "a.jsonl")
    assert read == TWO
    assert read.sha256() == TWO.sha256()
    assert TWO.sha256() != TWO.take([1, 0]).sha256()
    assert Sentences(("a\n0\tb",), (0,)).sha256() != Sentences(("a", "b"), (0, 0)).sha256()


def test_jsonl_keeps_every_character(tmp_path: Path) -> None:
    odd = Sentences(('crème "brûlée" \u2028 \\ \t tab', "line\nbreak \r end", "🎬"), (0, 1, 1))
    write_jsonl(odd, tmp_path / "a.jsonl")
    assert read_sentences(tmp_path / "a.jsonl") == odd
    assert b"\r\n" not in (tmp_path / "a.jsonl").read_bytes()


def test_compressed_lines_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_jsonl(TWO, tmp_path / name)
        assert read_sentences(tmp_path / name) == TWO
    written = (tmp_path / "a.jsonl.gz").read_bytes()
    assert written == (tmp_path / "b.jsonl.gz").read_bytes()
    for damage in (written[:-9], b"plain", written[:12] + b"xxxx" + written[16:]):
        (tmp_path / "a.jsonl.gz").write_bytes(damage)
        with pytest.raises(DataError, match="is no whole gzip file"):
            read_sentences(tmp_path / "a.jsonl.gz")
    with pytest.raises(DataError, match=r"got a\.csv\.gz"):
        read_sentences(_file(tmp_path, "a.csv.gz", "x"))


def test_to_and_from_a_dataset() -> None:
    dataset = TWO.to_dataset()
    assert dataset.column_names == ["sentence", "label"]
    assert dataset[0] == {"sentence": "a fine film", "label": 1}
    assert Sentences.from_dataset(dataset) == TWO


def test_a_victims_sentences_are_read_by_the_datasets_library(tmp_path: Path) -> None:
    from datasets import load_dataset

    write_jsonl(TWO, tmp_path / "clean_test.jsonl")
    loaded = load_dataset(
        "json", data_files=str(tmp_path / "*.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert Sentences.from_dataset(loaded) == TWO


def test_a_saved_dataset_is_read_from_its_folder(tmp_path: Path) -> None:
    TWO.to_dataset().save_to_disk(str(tmp_path / "saved"))
    assert read_sentences(tmp_path / "saved") == TWO
    (tmp_path / "saved" / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as a saved dataset"):
        read_sentences(tmp_path / "saved")


def test_a_dataset_is_checked_row_by_row() -> None:
    from datasets import Dataset

    with pytest.raises(DataError, match="dataset row 1: expected a label from 0 to 1, got '2'"):
        Sentences.from_dataset(Dataset.from_dict({"text": ["a", "b"], "label": [0, 2]}))
    with pytest.raises(DataError, match="dataset row 0: expected a sentence as text, got None"):
        Sentences.from_dataset(Dataset.from_dict({"text": [None, "b"], "label": [0, 1]}))
    with pytest.raises(DataError, match="the dataset: expected a header"):
        Sentences.from_dataset(Dataset.from_dict({"review": ["a"], "label": [0]}))
