"""Replaying a real benchmark's records: right ones pass to the bit, and every kind of wrong one is named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prune_env import machine
from prune_env.cli.main import main
from prune_env.cli.replay import summary
from prune_env.errors import RecordError, ReplayMismatchError
from prune_env.records import Record, append_record, bits_from_text, bits_to_text
from prune_env.replay import find_victims, load, protocol_of, replay, replay_all
from prune_env.victims.protocols import PROTOCOLS
from prune_env.victims.store import open_victim
from tests.victims_factory import SEARCH, TINY, benched, make_victim, world


def gradient() -> Record:
    """The victim's gradient record, whose search tried several masks."""
    return next(record for record in benched() if (record.method, record.role) == ("gradient", "victim"))


def replayed(*records: Record) -> Any:
    return replay_all(records, [world().victim("alpha")], str(world().data))


def with_trace(record: Record, step: int, **change: Any) -> Record:
    trace = [{**entry, **(change if i == step else {})} for i, entry in enumerate(record.trace)]
    return replace(record, trace=trace)


def test_a_benchmarks_records_replay_to_the_bit() -> None:
    done: list[str] = []
    results = replay_all(
        benched(), [world().victim("alpha")], str(world().data), report=lambda name, *_: done.append(name)
    )
    assert all(one.exact and one.same_task and not one.differences for one in results)
    assert done[-1] == results[-1].name
    assert len(set(done)) == len(benched())
    longest = max(len(record.trace) for record in benched())
    # Two accuracies and two a step; mask, evaluations, passes, threshold; ACC, LFR, two sizes, two classes; two floors.
    assert max(one.numbers for one in results) == 2 + 2 * longest + 4 + 6 + 2
    assert {what for one in results for what in one.unchecked} == {TRUST}


TRUST = "AUC, and that fine-tuning gives the recorded sentences: --refit does it again"


def complement(text: str) -> str:
    """The opposite of every bit."""
    return bits_to_text(~bits_from_text(text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"floor_lfr": 0.123}, "floor LFR is"),
        ({"floor_lfr": None}, "floor LFR is .*, recorded is none"),
        ({"floor_acc": 0.123}, "floor ACC is"),
        ({"acc_by_class": {"0": 0.123, "1": 0.5}}, "ACC of class 0 is"),
        ({"acc_by_class": {}}, "ACC of class 1 is .*, recorded is none"),
        ({"acc_by_class": {"0": 0.5, "1": 0.5, "2": 0.5}}, "ACC of class 2 is none, recorded"),
        ({"evaluations": 99}, "evaluations is [0-9]+, recorded is 99"),
        ({"sentence_passes": 1}, "sentence passes is"),
        ({"threshold": 0.123}, "threshold is"),
        ({"threshold": None}, "threshold is .*, recorded is none"),
        ({"correct": "2:80", "acc": 0.5}, "the number of clean test sentences is 60, recorded is 2"),
        ({"flipped": "2:80", "lfr": 0.5}, "the number of triggered non-target sentences is 30, recorded is 2"),
    ],
)
def test_a_forged_number_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ReplayMismatchError, match=message):
        replayed(*(replace(one, **change) if one == gradient() else one for one in benched()))


def test_a_trace_that_counts_too_few_evaluations_is_found() -> None:
    record = gradient()
    few = replace(with_trace(record, len(record.trace) - 1, evaluations=1), evaluations=1)
    with pytest.raises(ReplayMismatchError, match="the least number of evaluations in the trace is"):
        replayed(few)


def test_the_final_mask_is_the_traces() -> None:
    with pytest.raises(ReplayMismatchError, match="the mask at the end of the trace is"):
        replayed(replace(gradient(), mask="11/11"))


def test_without_its_twin_a_floor_is_said_to_be_unchecked() -> None:
    (result,) = replayed(gradient())
    assert "the floor: the twin's record is not among these" in result.unchecked


def test_fine_tuning_again_gives_the_records_to_the_bit() -> None:
    records = [record for record in benched() if record.method != "random"]
    results = replay_all(records, [world().victim("alpha")], str(world().data), again=True)
    assert all(one.exact and not one.unchecked for one in results)


def test_sentences_of_the_recovery_are_counted_again() -> None:
    forged = replace(gradient(), recovery_sentences=95)
    again: dict[str, Any] = {"victims": [world().victim("alpha")], "data": str(world().data), "again": True}
    with pytest.raises(ReplayMismatchError, match="fine-tuned on again is 96, recorded is 95"):
        replay_all([forged], **again)
    (older,) = replay_all([replace(forged, recovery_sentences=None)], **again)
    assert not older.differences


def test_bits_that_no_fine_tuning_gave_are_found_by_doing_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    record = gradient()
    classes = {name: 1 - rate for name, rate in record.acc_by_class.items()}
    forged = replace(record, acc=1 - record.acc, correct=complement(record.correct), acc_by_class=classes, auc=0.123)
    assert not replayed(forged)[0].differences, "consistent in itself"
    again: dict[str, Any] = {"victims": [world().victim("alpha")], "data": str(world().data), "again": True}
    with pytest.raises(ReplayMismatchError, match=r"ACC after fine-tuning again .*AUC after.* 60, recorded is 0"):
        replay_all([forged], **again)
    (elsewhere,) = replay_all([replace(forged, versions={"torch": "0"})], **again)
    assert not elsewhere.differences
    shown = summary([elsewhere], refitted=True)
    assert "1 records replayed, fine-tuned again," in shown
    assert "not refused: ACC after fine-tuning again" in shown


def test_a_victim_without_diagnosis_leaves_the_sentences_unchecked(tmp_path: Path) -> None:
    shutil.copytree(world().victim("alpha"), tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "diagnosis")
    result = replay(gradient(), open_victim(tmp_path / "bare"), str(world().data), again=True)
    assert not result.differences
    assert any("without its diagnosis" in what for what in result.unchecked)


def test_a_protocol_of_another_form_is_refused() -> None:
    forms: list[dict[str, Any]] = [{}, {"training": {}}, {"training": {"pace": 1}}]
    for settings in forms:
        with pytest.raises(RecordError, match="expected a protocol's settings"):
            protocol_of(settings)


@pytest.mark.parametrize("name", ["search_accuracy", "certify_accuracy", "acc", "lfr"])
def test_a_wrong_number_is_named(name: str) -> None:
    record = gradient()
    wrong = replace(record, **{name: abs(getattr(record, name) - 1 / SEARCH)})
    with pytest.raises(ReplayMismatchError, match="1 of 2 records do not replay") as caught:
        replayed(record, wrong)
    shown = {"search_accuracy": "search accuracy", "certify_accuracy": "certify accuracy", "acc": "ACC", "lfr": "LFR"}
    assert f"gradient on alpha (victim), rate 0.001, seed 11: {shown[name]} is" in str(caught.value)


def test_a_wrong_mask_is_found() -> None:
    record = gradient()
    other = "11/11" if record.search_accuracy != record.trace[0]["accuracy"] else "01/10"
    with pytest.raises(ReplayMismatchError):
        replayed(replace(record, mask=other, search_accuracy=record.search_accuracy - 0.5))


@pytest.mark.parametrize("rate", ["attempted_accuracy", "accuracy"])
def test_a_wrong_step_is_named(rate: str) -> None:
    record = gradient()
    wrong = with_trace(record, 0, **{rate: record.trace[0][rate] - 1 / SEARCH})
    with pytest.raises(ReplayMismatchError, match=f"step 1's {rate.replace('_', ' ')} is"):
        replayed(wrong)


def test_every_mismatch_is_listed() -> None:
    wrong = [replace(record, acc=abs(record.acc - 0.3)) for record in benched()[:3]]
    with pytest.raises(ReplayMismatchError, match="3 of 3 records do not replay") as caught:
        replayed(*wrong)
    assert str(caught.value).count(": ACC is") == 3


@pytest.mark.parametrize("change", [{"versions": {"torch": "0"}}, {"task_sha256": "0" * 64}])
def test_elsewhere_two_sentences_are_tolerated_and_no_more(change: dict[str, Any]) -> None:
    record = replace(gradient(), **change)
    near, far = (replace(record, search_accuracy=record.search_accuracy - n / SEARCH) for n in (2, 3))
    (result,) = replayed(near)
    assert not result.exact
    assert result.same_task == ("versions" in change)
    with pytest.raises(ReplayMismatchError, match="search accuracy"):
        replayed(far)
    with pytest.raises(ReplayMismatchError, match="LFR"):
        replayed(replace(record, lfr=abs(record.lfr - 1 / 60)))


def test_a_task_that_differs_is_said_to() -> None:
    with pytest.raises(ReplayMismatchError, match="tasks rebuilt here differ from the recorded ones"):
        replayed(replace(gradient(), task_sha256="0" * 64, search_accuracy=0.0))


def test_missing_victims_are_named() -> None:
    records = [gradient(), replace(gradient(), victim="gamma", victim_sha256="f" * 64)]
    with pytest.raises(RecordError, match=r"missing are gamma \(sha256 ffffffffffff\.\.\.\); give their folders"):
        find_victims(records, [world().victim("alpha")])
    with pytest.raises(RecordError, match="missing are alpha"):
        replay_all(benched())


def test_another_version_of_a_victim_is_said_to_be_one(tmp_path: Path) -> None:
    make_victim(tmp_path / "alpha", "alpha", seed=9)
    with pytest.raises(RecordError, match="of alpha there is another version"):
        replay_all(benched(), [tmp_path / "alpha"])


def test_another_twin_is_refused(tmp_path: Path) -> None:
    make_victim(tmp_path / "alpha", "alpha", seed=0, twin_seed=7)
    twin = next(record for record in benched() if record.role == "twin")
    with pytest.raises(RecordError, match="expected a model with hash"):
        replay(twin, open_victim(tmp_path / "alpha"), str(world().data))


@pytest.mark.parametrize("protocol", [TINY, *PROTOCOLS.values()])
def test_protocols_survive_a_record(protocol: Any) -> None:
    assert protocol_of(protocol.to_json()) == protocol


def test_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with pytest.raises(RecordError, match="expected a file of records"):
        load([path])
    path.write_text("", encoding="utf-8")
    with pytest.raises(RecordError, match=r"half a record|expected records"):
        load([path])
    append_record(path, gradient())
    assert load([path, path]) == [gradient(), gradient()]
    path.write_bytes(path.read_bytes() + b'{"acc": 0.5, "acc_by')
    with pytest.raises(RecordError, match="ends in half a record"):
        load([path])
    path.write_text('{"schema": 99}\n', encoding="utf-8")
    with pytest.raises(RecordError, match="expected a record of schema 1, got 99"):
        load([path])


def test_the_machine_is_part_of_a_record() -> None:
    assert gradient().versions == machine.versions()
    assert gradient().versions["device"] == "cpu"


def test_a_processor_is_told_by_name_family_and_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel name\t: other\n"
    (tmp_path / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.processor() == "AMD EPYC/25/17"
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "absent")
    assert machine.processor()


def test_the_command_says_what_it_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "records.jsonl"
    append_record(path, gradient())
    append_record(path, replace(gradient(), versions={}, task_sha256="0" * 64))
    arguments = ["replay", str(path), "--victim", world().victim("alpha"), "--data", str(world().data)]
    assert main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 records replayed: all" in shown
    assert "1 records to the last bit" in shown
    assert "The tasks of 1 records were rebuilt here" in shown
    assert "Not checked in 2 records: the floor" in shown
    assert f"Not checked in 2 records: {TRUST}" in shown


def test_the_command_fails_on_a_mismatch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "records.jsonl"
    append_record(path, replace(gradient(), certify_accuracy=0.0))
    assert main(["replay", str(path), "--victim", world().victim("alpha"), "--data", str(world().data)]) == 2
    assert "certify accuracy is" in capsys.readouterr().err
