"""`prune-env bench` from the command line: what it prints, where it puts things, and what it refuses first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from prune_env.baselines import benchmark
from prune_env.cli import bench
from prune_env.cli.arguments import cores, split
from prune_env.cli.main import main
from prune_env.records import Record, read_records
from prune_env.victims import protocols, store
from tests.victims_factory import TINY, benched, world

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _tiny_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", TINY)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder in which the benchmark of `benched` is finished."""
    benched()
    (tmp_path / "out").mkdir()
    shutil.copy(world().out / "records.jsonl", tmp_path / "out" / "records.jsonl")
    return tmp_path / "out"


def command(out: Path, *more: str, victim: str | None = None) -> int:
    """Runs bench on the first victim, at both rates, in this process."""
    arguments = ["bench", "--victim", victim or world().victim("alpha"), "--data", str(world().data), "--out", str(out)]
    fixed = ["--methods", "ft,random,gradient", "--seeds", "11", "--learning-rates", "1e-3,1e-4", "--jobs", "1"]
    return main([*arguments, *fixed, *more])


def grids_run(monkeypatch: pytest.MonkeyPatch) -> list[benchmark.Grid]:
    """Replaces the benchmark by one that remembers its grid and returns finished records."""
    grids: list[benchmark.Grid] = []

    def remember(grid: benchmark.Grid, *_: object) -> list[Record]:
        grids.append(grid)
        return list(benched())

    monkeypatch.setattr(benchmark, "run", remember)
    return grids


def test_prints_verdict_table_head_map_and_places(out: Path, capsys: Capture) -> None:
    assert command(out) == 0
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    assert words.startswith(
        "No primary contrast was declared for these victims (PROTOCOL.md); all of this is exploratory. "
    )
    assert "alpha, protocol tiny" in shown
    assert all(text in shown for text in ("gradient", "random", "1e-3", "1e-4", "above"))
    assert "of 4 heads pruned | accuracy" in shown
    assert "gradient on alpha, seed 11" in shown
    assert str(out / "records.jsonl") in shown
    assert f"tensorboard --logdir {out / 'tensorboard'}" in shown
    assert str(out / "head_maps") in shown


def test_head_maps_are_pictures_one_a_mask(out: Path, capsys: Capture) -> None:
    assert command(out) == 0
    pictures = sorted((out / "head_maps").rglob("*.png"))
    assert [path.relative_to(out).as_posix() for path in pictures] == [
        "head_maps/alpha/gradient-seed11.png",
        "head_maps/alpha/random-seed11.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_json_is_all_that_is_printed(out: Path, capsys: Capture) -> None:
    assert command(out, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert {(row["method"], row["learning_rate"]) for row in content["rows"]} == {
        (method, rate) for method in ("ft", "random", "gradient") for rate in (1e-3, 1e-4)
    }
    assert content["records"] == str(out / "records.jsonl")
    assert len(content["head_maps"]) == 2
    assert content["verdict"][0].startswith("No primary contrast")


def test_bench_and_report_say_the_same(out: Path, tmp_path: Path, capsys: Capture) -> None:
    report = ["report", str(out / "records.jsonl"), "--out", str(tmp_path / "report")]
    assert command(out, "--json") == 0
    bench = json.loads(capsys.readouterr().out)
    assert main([*report, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert all(bench[name] == whole[name] for name in ("verdict", "rows", "contrasts"))
    assert command(out) == 0
    shown = capsys.readouterr().out
    assert main(report) == 0
    short = capsys.readouterr().out.partition(str(tmp_path / "report"))[0].rstrip()
    assert shown.startswith(short)


def test_a_fresh_run_fills_the_folder(tmp_path: Path, capsys: Capture) -> None:
    arguments = ["--victim", world().victim("alpha"), "--data", str(world().data), "--out", str(tmp_path / "new")]
    assert main(["bench", *arguments, "--methods", "ft", "--seeds", "11", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert len(read_records(tmp_path / "new" / "records.jsonl")) == 2
    assert "No strategy that chooses heads stands beside plain fine-tuning" in " ".join(captured.out.split())
    assert len(list((tmp_path / "new" / "tensorboard").rglob("events.out.*"))) == 2


def test_lists_take_commas_and_spaces(out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    grids = grids_run(monkeypatch)
    more = ["--methods", "ft,", "gradient", "--seeds", "11", "12,13", "--learning-rates", "2e-5", "1e-4"]
    assert command(out, *more) == 0
    (grid,) = grids
    assert grid.methods == ("ft", "gradient")
    assert grid.seeds == (11, 12, 13)
    assert grid.learning_rates == (2e-5, 1e-4)


def test_every_embedded_victim_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    grids = grids_run(monkeypatch)
    monkeypatch.setattr(store, "embedded_names", lambda: ["tiny-a", "tiny-b"])
    assert main(["bench", "--out", str(tmp_path)]) == 0
    assert grids[0].victims == ("tiny-a", "tiny-b")
    assert grids[0].methods == bench.METHODS
    assert grids[0].seeds == (11, 12)
    assert grids[0].learning_rates == (None,)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "gradiant"], "unknown method 'gradiant': did you mean 'gradient'"),
        (["--seeds", "11,x"], "expected seeds such as 11,12, got 'x'"),
        (["--seeds", "-1"], "expected seeds"),
        (["--seeds", ","], "expected seeds such as 11,12, got none"),
        (["--learning-rates", "warm"], "expected learning rates such as 2e-5,1e-4, got 'warm'"),
        (["--learning-rates", "0"], "expected a learning rate in (0, 1)"),
        (["--learning-rates", "nan"], "expected a learning rate in (0, 1)"),
        (["--threshold", "0"], "expected a threshold in (0, 1]"),
        (["--threshold", "85"], "expected a threshold in (0, 1]"),
        (["--max-accuracy-drop", "1"], "expected max_accuracy_drop in [0, 1)"),
        (["--jobs", "0"], "expected at least one process"),
        (["--jobs", "many"], "expected a number of processes"),
        (["--protocol", "phrase"], "unknown protocol 'phrase': did you mean 'phrases'"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--device", "tpu"], "expected a device"),
        (["--dtype", "float8"], "expected a dtype"),
        (["--data", "/nowhere"], "/nowhere"),
        (["--victim", "tinny"], "unknown victim 'tinny'"),
        (["--victim", "/no/where"], "expected the folder of a victim"),
    ],
)
def test_refuses_before_any_work(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, more: list[str], message: str
) -> None:
    monkeypatch.setattr(benchmark, "run_unit", lambda *_, **__: pytest.fail("ran"))
    assert command(tmp_path / "out", *more) == 2
    *before, error = capsys.readouterr().err.strip().splitlines()
    assert message in error
    assert set(before) <= {"loading torch and transformers ...", "looking at what is there ..."}
    assert not (tmp_path / "out").exists()


def test_both_constraints_are_one_too_many(tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(tmp_path / "out", "--threshold", "0.8", "--max-accuracy-drop", "0.1")
    assert "not allowed with argument" in capsys.readouterr().err


def test_an_unwritable_folder_is_refused_first(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "run_unit", lambda *_, **__: pytest.fail("ran"))
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert command(tmp_path / "file" / "out") == 2
    assert "able to write" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "run_unit", interrupted)
    assert command(tmp_path / "out") == 130
    assert "run the same command again to go on" in " ".join(capsys.readouterr().err.split())


def test_words_are_split_once_each() -> None:
    assert split(["a,b", "c,,a", ""]) == ["a", "b", "c"]


def test_there_is_a_core_to_run_on() -> None:
    assert cores() >= 1
