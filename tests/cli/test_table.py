"""`prune-env table` from the command line: what a dry run lists, what a run prints, and what it refuses first."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prune_env.baselines import presets, table_run
from prune_env.baselines.presets import Preset, get_preset
from prune_env.cli import table
from prune_env.cli.main import main
from prune_env.cli.terminal import duration
from prune_env.methods import METHODS
from prune_env.victims import protocols
from tests.victims_factory import TINY, benched, world

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _tiny_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny world's finished victim stands for the embedded ones."""
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", TINY)
    monkeypatch.setenv("PRUNE_ENV_DATA", str(world().data))
    whole = get_preset("paper-embedded")
    small = replace(whole, victims=(world().victim("alpha"),), seeds=(11,), methods=("ft", "random", "gradient"))
    monkeypatch.setattr(presets, "presets", lambda: (small, _paper))


_paper = get_preset("paper")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder in which the table's records are finished."""
    benched()
    (tmp_path / "out").mkdir()
    shutil.copy(world().out / "records.jsonl", tmp_path / "out" / "records.jsonl")
    return tmp_path / "out"


def words(capsys: Capture) -> str:
    return " ".join(capsys.readouterr().out.split())


def embedded(out: Path, *more: str) -> int:
    return main(["table", "--preset", "paper-embedded", "--out", str(out), "--jobs", "1", *more])


def paper(tmp_path: Path, *more: str) -> int:
    place = ["--victims", str(tmp_path / "victims"), "--data", str(world().data), "--out", str(tmp_path / "out")]
    return main(["table", "--preset", "paper", *place, *more])


def test_a_finished_table_is_reported_with_its_files(out: Path, capsys: Capture) -> None:
    assert embedded(out) == 0
    shown = words(capsys)
    assert all(name in shown for name in ("gradient", "random", "alpha"))
    for name in ("report.md", "report.csv", "report.html"):
        assert (out / name).stat().st_size > 0
        assert str(out / name) in shown.replace(" ", "")
    assert "check them with `prune-env replay`" in shown


def test_a_dry_run_says_that_nothing_is_missing(out: Path, capsys: Capture) -> None:
    before = sorted(path.name for path in out.iterdir())
    assert embedded(out, "--dry-run") == 0
    assert "Nothing is missing: run it without --dry-run for the report." in words(capsys)
    assert sorted(path.name for path in out.iterdir()) == before


def test_a_dry_run_lists_what_is_missing_with_its_cost(out: Path, capsys: Capture) -> None:
    assert embedded(out, "--methods", "ft,gradient", "--seeds", "11,97", "--jobs", "2", "--dry-run") == 0
    shown = words(capsys)
    assert "Victims" in shown and "Methods ft, gradient" in shown
    assert "ft 2, gradient 2" in shown, "victim and twin of the second seed"
    assert "4 records are missing, 2 scoring models behind them. About" in shown
    assert "with 2 processes" in shown


def test_records_made_elsewhere_are_taken_if_they_belong(
    out: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (out / "records.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    older = json.loads(lines[0])
    del older["final_certify_accuracy"]
    given, fresh = tmp_path / "given.jsonl", tmp_path / "fresh"
    given.write_text("".join([json.dumps(older) + "\n", *lines[1:]]), encoding="utf-8")
    assert embedded(fresh, "--from", str(given), "--dry-run") == 0
    shown = words(capsys)
    # Of twelve records, six are at another rate than the protocol's.
    assert "Nothing is missing" in shown and f"6 records would be taken from {given}; 1 of them do not know" in shown
    assert str(fresh / "records.jsonl") in shown and not fresh.exists()
    monkeypatch.setattr("prune_env.baselines.cells.defend", lambda *_, **__: pytest.fail("run again"))
    assert embedded(fresh, "--from", str(given)) == 0
    assert f"6 records were taken from {given}; 1 of them" in words(capsys)
    assert len((fresh / "records.jsonl").read_text(encoding="utf-8").splitlines()) == 6
    assert embedded(fresh, "--from", str(given)) == 0
    assert f"0 records were taken from {given}." in words(capsys)


def test_a_dry_run_builds_nothing_and_makes_no_folder(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_run, "build_victim", lambda *_, **__: pytest.fail("built"))
    more = ["--attacker-seeds", "11,12", "--attacks", "rare-word", "--protocol", "sentences", "--dry-run"]
    assert paper(tmp_path, *more, "--methods", "ft,restart") == 0
    shown = words(capsys)
    assert all(f"rare-word-minilm-s{seed} ft 4, restart 4 ?" in shown for seed in (11, 12))
    assert "2 victims are to be built, 16 records are missing" in shown
    assert "no record tells yet" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_wants_no_data_and_says_what_the_run_will(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRUNE_ENV_DATA")
    victims = tmp_path / "victims"
    command = ["table", "--preset", "paper", "--attacker-seeds", "11", "--victims", str(victims), "--out"]
    assert main([*command, str(tmp_path / "out"), "--dry-run"]) == 0
    shown = words(capsys)
    assert f"on minilm, in {victims}, a folder that is not there yet" in shown
    assert "a data folder with SST-2's phrases and sentences, and the triggered sentences of hiddenkiller" in shown
    assert "it is not there: expected a data folder, got none: run `prune-env data fetch DIR`" in shown
    assert "Needs the backbone minilm; it is" in shown
    assert main([*command, str(tmp_path / "out")]) == 2
    assert "expected a data folder, got none" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_finished_table_needs_nothing(out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRUNE_ENV_DATA")
    assert embedded(out, "--dry-run") == 0
    shown = words(capsys)
    assert "Nothing is missing" in shown and "Needs" not in shown


def test_a_run_says_what_is_done_already_and_what_comes(out: Path, capsys: Capture) -> None:
    lines = (out / "records.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["method"] != "random"]
    (out / "records.jsonl").write_text("".join(kept), encoding="utf-8")
    assert embedded(out) == 0
    assert capsys.readouterr().err.splitlines() == [
        "loading torch and transformers ...",
        "looking at what is there ...",
        "4 of 5 done already",
        "4 of 5: next is random on alpha, seed 11",
        "5 of 5: random on alpha, seed 11",
    ]


def test_arguments_change_the_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Preset, Any]] = []

    def remember(preset: Preset, _: Any, settings: Any, *__: Any) -> list[Any]:
        asked.append((preset, settings))
        return list(benched())

    monkeypatch.setattr(table_run, "run_table", remember)
    more = [
        "--methods",
        "all",
        "--seeds",
        "21,22",
        "--rates",
        "1e-5",
        "--attacker-seeds",
        "13",
        "--backbone",
        "roberta",
    ]
    assert paper(tmp_path, *more, "--protocol", "phrases-200", "--attacks", "hiddenkiller") == 0
    preset, settings = asked[0]
    assert (preset.seeds, preset.rates, preset.attackers) == ((21, 22), (1e-5,), (13,))
    assert (preset.attacks, preset.backbone, preset.protocol) == (("hiddenkiller",), "roberta", "phrases-200")
    assert set(preset.methods) == {name for name in METHODS if not name.startswith(("candidate-", "as-released-"))}
    assert (settings.protocol, settings.data, settings.out) == ("phrases-200", str(world().data), tmp_path / "out")
    assert paper(tmp_path) == 0
    assert asked[1][0] == _paper and asked[1][1].protocol == "phrases-15k"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--from", "nowhere.jsonl"], "expected a file of records, such as records.jsonl, at --from nowhere.jsonl"),
        (["--from", "."], "at --from ., found a folder; give a file in it"),
        (["--methods", "gradiant"], "unknown method 'gradiant': did you mean 'gradient'"),
        (["--seeds", "x"], "expected seeds such as 11,12, got 'x'"),
        (["--rates", "0"], "expected a learning rate"),
        (["--jobs", "0"], "expected at least one process"),
        (["--attacker-seeds", "12"], "nothing to say for --attacker-seeds"),
        (["--victims", "here"], "nothing to say for --victims"),
        (["--protocol", "phrase"], "unknown protocol 'phrase': did you mean 'phrases'"),
        (["--device", "tpu"], "expected a device"),
    ],
)
def test_refuses_before_any_work(tmp_path: Path, capsys: Capture, more: list[str], message: str) -> None:
    for dry in ([], ["--dry-run"]):
        assert embedded(tmp_path / "out", *more, *dry) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert not (tmp_path / "out").exists()


def test_real_victims_want_a_folder_and_attacks_that_exist(tmp_path: Path, capsys: Capture) -> None:
    assert main(["table", "--preset", "paper", "--out", str(tmp_path / "out")]) == 2
    assert "give --victims DIR" in capsys.readouterr().err
    for dry in ([], ["--dry-run"]):
        assert paper(tmp_path, "--protocol", "sentences", "--attacks", "hiddenkilla", *dry) == 2
        assert "unknown attack 'hiddenkilla': did you mean 'hiddenkiller'" in capsys.readouterr().err


def test_the_presets_of_the_help_are_the_presets() -> None:
    assert list(table.PRESETS) == [preset.name for preset in presets.presets()]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"), (0.0, "0 s"), (59.0, "59 s"), (60.0, "1 min"), (3540.0, "59 min"), (3600.0, "1 h"),
        (12_000.0, "3 h 20 min"), (172_800.0, "2 d"), (190_800.0, "2 d 5 h"),
    ],
)  # fmt: skip
def test_durations_are_written_as_people_do(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
