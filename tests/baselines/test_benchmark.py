"""The benchmark from end to end on victims of random weights: what it records, and that it loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from prune_env import defense
from prune_env.baselines import benchmark, cells
from prune_env.baselines.benchmark import Grid, run, runnable
from prune_env.baselines.cells import Cell
from prune_env.baselines.grid import TaskUnit, missing_cells
from prune_env.defense import purify
from prune_env.errors import (
    ConfigError,
    DataError,
    DeviceError,
    InterruptedRunError,
    OutputError,
    PruneEnvError,
    UnknownNameError,
    WorkerError,
)
from prune_env.records import Record, append_record, only, read_records
from prune_env.recovery import Purified
from prune_env.tensorboard import run_name
from prune_env.types import mask_from_text
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.judge import judge
from prune_env.victims.store import open_victim
from prune_env.victims.task import Task, build_task
from tests.victims_factory import METHODS, RATES, TINY, benched, make_victim, world

ROOT = Path(__file__).parents[2]


def grid(**changes: Any) -> Grid:
    """The benchmark that `benched` ran."""
    return replace(Grid((world().victim("alpha"),), METHODS, (11,), RATES), **changes)


def one(method: str, role: str = "victim", rate: float = 1e-3) -> Record:
    (found,) = [
        record
        for record in only(benched(), role)
        if (record.method, record.config["training"]["learning_rate"]) == (method, rate)
    ]
    return found


def same(record: Record) -> Record:
    """The record without what a clock says."""
    return replace(record, seconds=0.0, search_seconds=0.0)


class Told:
    """Remembers what was reported: steps that were finished, and the words before the first one."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.first: str | None = None

    def __call__(self, label: str, done: int, total: int) -> None:
        if self.first is None:
            self.first = f"{done} of {total}: {label}"
        else:
            self.labels.append(label)


def test_every_cell_has_a_record_for_victim_and_twin() -> None:
    cells = {(record.method, record.config["training"]["learning_rate"], record.role) for record in benched()}
    assert cells == {(method, rate, role) for method in METHODS for rate in (1e-3, 1e-4) for role in ("victim", "twin")}
    assert len(benched()) == 12
    assert list(benched()) == read_records(world().out / "records.jsonl")


def test_the_floor_is_the_twins_record() -> None:
    for record in only(benched(), "victim"):
        twin = one(record.method, "twin", record.config["training"]["learning_rate"])
        assert (record.floor_lfr, record.floor_acc) == (twin.lfr, twin.acc)
        assert twin.floor_lfr is None
        assert twin.model_sha256 != record.model_sha256


def test_random_masks_have_gradients_size_model_by_model() -> None:
    for role in ("victim", "twin"):
        assert one("random", role).heads_kept == one("gradient", role).heads_kept < 4
        assert one("ft", role).heads_kept == 4


def test_rates_share_the_mask_and_nothing_else() -> None:
    for method in ("random", "gradient"):
        cold, warm = one(method, rate=1e-4), one(method)
        assert (cold.mask, cold.trace, cold.evaluations) == (warm.mask, warm.trace, warm.evaluations)
        assert cold.key != warm.key


def test_fine_tuning_at_the_protocols_rate_is_the_scoring_model() -> None:
    victim = open_victim(world().victim("alpha"))
    task = build_task(victim.suspect, TINY, 11, data=world().data)
    model = task.scoring_model()
    judged = judge(model, task.tokenizer(model), open_diagnosis(victim), TINY.training.max_length)
    record = one("ft")
    assert (record.acc, record.lfr, record.auc) == (judged.acc, judged.lfr, judged.auc)
    assert record.task_sha256 == task.sha256


def test_searches_are_accounted_for() -> None:
    record = one("gradient")
    assert record.evaluations == record.trace[-1]["evaluations"] >= 2
    # All 96 training sentences for the importance, then 40 for each mask.
    assert record.sentence_passes == 96 + 40 * record.evaluations
    # The final fine-tuning: the same 96, once.
    assert {record.recovery_sentences for record in benched()} == {96}
    assert record.regime == "clean_only"
    assert list(record.importance) == ["gradient"]
    assert mask_from_text(record.mask).shape == (2, 2)
    assert one("ft").evaluations == 0


def test_logs_lie_where_they_are_said_to_lie() -> None:
    for record in benched():
        folder = world().out / "tensorboard" / run_name(record)
        assert len(list(folder.glob("events.out.tfevents.*"))) == 1


def test_a_second_run_does_nothing() -> None:
    benched()
    told, before = Told(), (world().out / "records.jsonl").read_bytes()
    assert tuple(run(grid(), world().settings(world().out), report=told)) == benched()
    assert told.first is None, "nothing is next"
    assert (world().out / "records.jsonl").read_bytes() == before


def test_logs_that_a_kill_lost_are_written_by_the_next_run(tmp_path: Path) -> None:
    for record in benched():
        append_record(tmp_path / "records.jsonl", record)
    run(grid(), world().settings(tmp_path))
    assert {path.parent for path in (tmp_path / "tensorboard").rglob("events.out.*")} == {
        tmp_path / "tensorboard" / run_name(record) for record in benched()
    }
    assert not list((tmp_path / "tensorboard").rglob(".part-*"))


def test_one_victim_under_two_paths_one_seed_twice_and_a_rate_by_two_names_are_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(world().victim("alpha"))
    twice = grid(victims=(world().victim("alpha"), str(tmp_path / "link")), seeds=(11, 11), learning_rates=(None, 1e-3))
    settings = world().settings(tmp_path / "out")
    cells = missing_cells(twice, settings, benchmark.checked(twice, settings))
    assert [(cell.victims, cell.method, cell.seed) for cell in cells] == [
        ((world().victim("alpha"),), method, 11) for method in METHODS
    ]


def test_two_victims_of_one_name_are_refused(tmp_path: Path) -> None:
    make_victim(tmp_path / "other", "alpha", seed=9)
    with pytest.raises(ConfigError, match="got two called 'alpha'"):
        run(grid(victims=(world().victim("alpha"), str(tmp_path / "other"))), world().settings(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_second_benchmark_on_one_folder_is_refused(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(OutputError, match="another benchmark is writing to"):
        run(grid(), world().settings(tmp_path))

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(grid(methods=("ft",), learning_rates=(None,)), world().settings(tmp_path), report=fail)
    with FileLock(tmp_path / ".lock", timeout=0):
        assert read_records(tmp_path / "records.jsonl") == []


def test_a_scoring_model_that_fails_costs_its_victims_cells_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_victim(tmp_path / "gamma", "gamma", seed=4, twin_seed=None)
    build = cells.build_cell_task

    def sometimes(suspect: Any, victim: Any, seed: int, settings: Any) -> Task:
        if victim.name == "gamma":
            raise DataError("planted")
        return build(suspect, victim, seed, settings)

    monkeypatch.setattr(benchmark, "build_cell_task", sometimes)
    monkeypatch.setattr(cells, "build_cell_task", sometimes)
    small = grid(victims=(str(tmp_path / "gamma"), world().victim("alpha")), methods=("ft",), learning_rates=(None,))
    told = Told()
    with pytest.raises(DataError, match="planted"):
        run(small, world().settings(tmp_path), report=told)
    assert told.labels[-1] == "ft on alpha, seed 11"
    assert {record.victim for record in read_records(tmp_path / "records.jsonl")} == {"alpha"}


def test_victims_that_share_a_twin_fail_apart() -> None:
    together, other = Cell(("a", "b"), "ft", 11, None), Cell(("a", "b"), "ft", 12, None)
    lost = TaskUnit("b", "victim", 11)
    assert runnable([together, other], [lost]) == [replace(together, victims=("a",)), other]
    assert runnable([together, other], [TaskUnit("a", "twin", 11)]) == [other]
    assert runnable([together], [lost, TaskUnit("a", "victim", 11)]) == []


def test_a_killed_worker_is_no_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> str:
        raise BrokenProcessPool("killed")

    monkeypatch.setattr(benchmark, "run_unit", killed)
    with pytest.raises(WorkerError, match=r"a process was killed after . of 8 .*with fewer jobs") as caught:
        run(grid(), world().settings(tmp_path))
    assert not isinstance(caught.value, InterruptedRunError), "which exits with 130"


@pytest.mark.parametrize("torn", [False, True])
def test_what_is_missing_is_done_again_to_the_bit(tmp_path: Path, torn: bool) -> None:
    lost = one("random")
    for record in benched():
        if record != lost:
            append_record(tmp_path / "records.jsonl", record)
    if torn:
        with (tmp_path / "records.jsonl").open("ab") as file:
            file.write(b'{"acc": 0.5, "acc_by_cl')
    told = Told()
    records = run(grid(), world().settings(tmp_path), report=told)
    assert told.labels == ["random on alpha, seed 11"], "its scoring models lie ready"
    assert told.first == "7 of 8: next is random on alpha, seed 11"
    assert same(records[-1]) == same(lost)
    assert len(records) == len(benched())


def test_records_of_another_grid_stay_out_of_the_result() -> None:
    records = run(grid(methods=("ft",), learning_rates=(1e-4,)), world().settings(world().out))
    assert [(record.method, record.role) for record in records] == [("ft", "twin"), ("ft", "victim")]


def test_victims_with_one_twin_share_its_purification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    purified: list[str] = []

    def counted(task: Task, *rest: Any, **more: Any) -> Purified:
        purified.append(task.suspect.name)
        return purify(task, *rest, **more)

    monkeypatch.setattr(defense, "purify", counted)
    victims = (world().victim("alpha"), world().victim("beta"))
    records = run(grid(victims=victims, methods=("ft",), learning_rates=(1e-4,)), world().settings(tmp_path))
    assert purified == ["alpha (twin)", "alpha", "beta"]
    twins = only(records, "twin")
    assert [twin.victim for twin in twins] == ["alpha", "beta"]
    assert len({twin.model_sha256 for twin in twins}) == 1
    assert twins[0].flipped != twins[1].flipped, "each is judged on its own victim's sentences"


def test_a_victim_without_twin_is_benched_without_floor(tmp_path: Path) -> None:
    make_victim(tmp_path / "lone", "lone", seed=3, twin_seed=None)
    told = Told()
    victims = (str(tmp_path / "lone"),)
    records = run(
        grid(victims=victims, methods=("ft",), learning_rates=(None,)), world().settings(tmp_path), report=told
    )
    assert [(record.role, record.floor_lfr) for record in records] == [("victim", None)]
    assert told.first == "0 of 2: next is scoring model of lone (victim), seed 11"
    assert told.labels == ["scoring model of lone (victim), seed 11", "ft on lone, seed 11"]


def test_another_constraint_is_another_cell(tmp_path: Path) -> None:
    settings = replace(world().settings(tmp_path), constraint=(("threshold", 0.01),))
    victims = {"alpha": open_victim(world().victim("alpha"))}
    assert len(missing_cells(grid(victims=("alpha",)), settings, victims)) == 6
    for record in benched():
        append_record(tmp_path / "records.jsonl", record)
    again = missing_cells(grid(victims=("alpha",)), settings, victims)
    assert {cell.method for cell in again} == {"random", "gradient"}, "fine-tuning alone has no constraint"
    other = replace(world().settings(tmp_path), dtype="bfloat16")
    assert {cell.method for cell in missing_cells(grid(victims=("alpha",)), other, victims)} == {
        "random",
        "gradient",
    }


@pytest.mark.parametrize(
    ("changes", "fixed", "error"),
    [
        ({"methods": ("ft", "gradiant")}, {}, UnknownNameError),
        ({"victims": ("alhpa",)}, {}, UnknownNameError),
        ({}, {"device": "cuda:99"}, DeviceError),
        ({}, {"dtype": "float16"}, DeviceError),
        ({}, {"data": "/nowhere"}, DataError),
    ],
)
def test_nothing_runs_before_everything_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Any, fixed: Any, error: type[Exception]
) -> None:
    monkeypatch.setattr(benchmark, "run_unit", lambda *_, **__: pytest.fail("ran"))
    with pytest.raises(error):
        run(grid(**changes), replace(world().settings(tmp_path / "out"), **fixed))
    assert not (tmp_path / "out").exists(), "not even the folder is made"


def test_an_unwritable_folder_is_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "run_unit", lambda *_, **__: pytest.fail("ran"))
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="able to write"):
        run(grid(), world().settings(tmp_path / "file"))


def test_a_cell_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sometimes(cell: cells.Cell, settings: Any) -> list[Record]:
        if cell.method == "ft":
            raise DataError("planted")
        return cells.run_cell(cell, settings)

    monkeypatch.setattr(benchmark, "run_cell", sometimes)
    with pytest.raises(PruneEnvError, match="planted"):
        run(grid(methods=("ft", "gradient"), learning_rates=(None,)), world().settings(tmp_path))
    assert {record.method for record in read_records(tmp_path / "records.jsonl")} == {"gradient"}


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    def interrupt(label: str, done: int, total: int) -> None:
        if label.startswith("ft on"):
            raise KeyboardInterrupt

    small = grid(methods=("ft", "gradient"), learning_rates=(None,))
    with pytest.raises(InterruptedRunError, match=r"interrupted after 3 of 4 steps.*run the same command again"):
        run(small, world().settings(tmp_path), report=interrupt)
    assert len(read_records(tmp_path / "records.jsonl")) == 2
    assert len(run(small, world().settings(tmp_path))) == 4


def start(out: Path) -> subprocess.Popen[str]:
    """Starts a benchmark with two processes in a process of its own."""
    # A shell that runs the tests in the background leaves SIGINT ignored, and children inherit that.
    code = f"""
import signal
from pathlib import Path
from prune_env.baselines.benchmark import Grid, run
from tests.victims_factory import METHODS, RATES, TinySettings
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    grid = Grid(({world().victim("alpha")!r},), METHODS, (11,), RATES)
    run(grid, TinySettings(Path({str(out)!r}), data={str(world().data)!r}), jobs=2)
"""
    script = out.with_suffix(".py")
    script.write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for_records(path: Path, count: int, process: subprocess.Popen[str], limit: float = 300.0) -> None:
    deadline = time.monotonic() + limit
    while len(read_records(path)) < count:
        assert process.poll() is None, f"ended before {count} records: {process.communicate()[1]}"
        assert time.monotonic() < deadline, f"no {count} records in {limit} seconds"
        time.sleep(0.05)


def left_behind(process: subprocess.Popen[str], limit: float = 20.0) -> list[str]:
    """Waits for the session of an ended benchmark to be empty, and returns what is still running in it."""
    deadline = time.monotonic() + limit
    while True:
        command = ["ps", "-o", "stat=,pid=", "-s", str(process.pid)]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        running = [line for line in listed if not line.startswith("Z")]
        if not running or time.monotonic() > deadline:
            return running
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX here")
def test_a_killed_run_loses_the_cells_under_way_and_no_more(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(out)
    wait_for_records(out / "records.jsonl", 2, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert left_behind(process) == [], "workers end when their parent is gone"
    kept = read_records(out / "records.jsonl")
    assert 2 <= len(kept) < 12
    records = run(grid(), world().settings(out))
    assert records[: len(kept)] == kept
    # Two processes, a kill and a run in this process: the same records to the bit, but for the clock.
    assert {record.key: same(record) for record in records} == {record.key: same(record) for record in benched()}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX here")
def test_ctrl_c_ends_every_process_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(out)
    wait_for_records(out / "records.jsonl", 1, process)
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert "InterruptedRunError: interrupted after" in error
    assert error.count("Traceback") <= 2, f"workers keep silent:\n{error}"
    assert left_behind(process) == []
