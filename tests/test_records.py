"""Records: one line each, appended whole; a kill costs the line under way and no other."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prune_env.errors import OutputError, RecordError
from prune_env.records import SCHEMA, append_record, bits_from_text, bits_to_text, only, read_records
from tests.record_factory import make_record


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    path, records = tmp_path / "records.jsonl", [make_record(seed=seed) for seed in (12, 11)]
    for record in records:
        append_record(path, record)
    assert read_records(path) == records
    assert path.read_bytes().count(b"\n") == 2


def test_a_file_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert read_records(tmp_path / "records.jsonl") == []


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.99])
def test_a_torn_last_line_costs_that_record_only(tmp_path: Path, kept: float) -> None:
    path, (first, second) = tmp_path / "records.jsonl", (make_record(seed=seed) for seed in (11, 12))
    append_record(path, first)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: int(kept * len(whole))])
    assert read_records(path) == [first]
    append_record(path, second)
    assert read_records(path) == [first, second], "the half line is closed before the next record"


def _append_many(path: Path, seeds: range) -> None:
    for seed in seeds:
        append_record(path, make_record(flipped=[1, 0] * 2000, seed=seed))


def test_processes_side_by_side_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    path, context = tmp_path / "records.jsonl", multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(path, range(n, n + 20))) for n in (0, 20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(record.seed for record in read_records(path)) == list(range(40))


@pytest.mark.parametrize("torn", [b'{"schema": 1, oops}', b'{"acc": 0.5, "attack": "caf\xc3', b"}", b"\xff\xfe"])
@pytest.mark.parametrize("middle", [True, False])
def test_a_torn_line_is_left_out_wherever_it_stands(tmp_path: Path, torn: bytes, middle: bool) -> None:
    path, (first, second) = tmp_path / "records.jsonl", (make_record(seed=seed) for seed in (11, 12))
    append_record(path, first)
    path.write_bytes(torn + b"\n" + path.read_bytes() if middle else path.read_bytes() + torn)
    assert read_records(path) == [first]
    append_record(path, second)
    assert read_records(path) == [first, second]


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:100]))
    append_record(tmp_path / "records.jsonl", make_record())
    assert read_records(tmp_path / "records.jsonl") == [make_record()]


STEP = {"attempted": "10/01", "attempted_accuracy": 0.9, "mask": "10/01", "accuracy": 0.9, "evaluations": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": SCHEMA + 1}, "expected a record of schema"),
        ({"novelty": 1}, "novelty"),
        ({"lfr": 1.5}, "expected lfr in"),
        ({"acc": "0.9"}, "expected acc to be a number"),
        ({"role": "judge"}, "role"),
        ({"mask": "12/11"}, "mask"),
        ({"mask": 5}, "expected mask to be text, got '5'"),
        ({"seed": "x"}, "expected seed to be a whole number, got 'x'"),
        ({"seed": True}, "expected seed to be a whole number"),
        ({"config": {}}, "config.protocol is missing"),
        ({"config": {"protocol": {}, "search": {}, "training": {}}}, "config.training.learning_rate is missing"),
        ({"trace": [{}]}, "trace, step 1: attempted is missing"),
        ({"trace": [{**STEP, "mask": 7}]}, "expected trace, step 1: mask to be text"),
        ({"trace": [{**STEP, "mask": "10/01/11"}]}, "expected masks of 2 layers of 2 heads"),
        ({"trace": [{**STEP, "mask": "x"}]}, "mask"),
        ({"trace": 3}, "expected trace to be a list"),
        ({"importance": {"gradient": [[1.0]]}}, "expected importance gradient of 2 layers"),
        ({"importance": {"gradient": [1.0]}}, "expected importance to be an object"),
        ({"deviation": {"logits": "x"}}, "expected deviation to be an object or null"),
        ({"correct": "many"}, "expected bits"),
        ({"auc_sd": None}, "expected auc_sd to be a number"),
        ({"recovery_sentences": 1.5}, "expected recovery_sentences to be a whole number or null"),
        ({"recovery_sentences": -1}, "expected recovery_sentences >= 0, got -1"),
    ],
)
def test_another_form_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps({**asdict(make_record()), **change}) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=message) as caught:
        read_records(path)
    assert str(caught.value).startswith(f"{path}:1: ")


@pytest.mark.parametrize("content", [b"[1, 2]\n", b"7\n", b"\xff\xfe\n{}\n"])
def test_what_is_no_record_at_all_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordError):
        read_records(path)


def test_a_folder_cannot_be_appended_to(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot append"):
        append_record(tmp_path, make_record())


def test_a_number_that_is_none_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="expected auc in"):
        make_record(auc=float("nan"))


def test_the_key_is_what_decides_a_cell_and_nothing_else() -> None:
    record = make_record("gradient")
    assert replace(record, acc=0.1, seconds=9.0, versions={"torch": "0"}).key == record.key
    others = [make_record("gradient", seed=12), make_record("random"), make_record("gradient", rate=1e-4)]
    others.append(replace(record, role="twin"))
    assert len({record.key, *(other.key for other in others)}) == 5


def test_roles_and_heads() -> None:
    records = [make_record(), make_record("gradient", role="twin")]
    assert only(records, "twin") == records[1:]
    assert [record.heads_kept for record in records] == [4, 2]


@given(st.lists(st.booleans(), max_size=70))
def test_bits_survive_their_text(bits: list[bool]) -> None:
    assert bits_from_text(bits_to_text(np.array(bits, dtype=np.bool_))).tolist() == bits


def test_bits_by_hand() -> None:
    assert bits_to_text(np.array([1, 0, 1], dtype=np.bool_)) == "3:a0"


@pytest.mark.parametrize("text", ["", "3", ":", "x:a0", "3:zz", "-1:a0", "9:a0"])
def test_other_bits_are_refused(text: str) -> None:
    with pytest.raises(RecordError, match="expected bits"):
        bits_from_text(text)


def test_an_older_record_lacks_what_was_not_measured_then(tmp_path: Path) -> None:
    path, record = tmp_path / "records.jsonl", make_record(final_certify_accuracy=0.875, recovery_sentences=15_000)
    append_record(path, record)
    older = json.loads(path.read_text())
    assert (older.pop("final_certify_accuracy"), older.pop("recovery_sentences")) == (0.875, 15_000)
    path.write_text(json.dumps(older) + "\n")
    (found,) = read_records(path)
    assert found.final_certify_accuracy is found.recovery_sentences is None and found.key == record.key
    path.write_text(json.dumps({**older, "final_certify_accuracy": 1.5}) + "\n")
    with pytest.raises(RecordError, match=r"final_certify_accuracy in \[0, 1\]"):
        read_records(path)
    older.pop("lfr")
    path.write_text(json.dumps(older) + "\n")
    with pytest.raises(RecordError, match="missing or unknown: lfr;"):
        read_records(path)
