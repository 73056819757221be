"""The benchmark: victims x methods x seeds x rates, as one-thread processes side by side, resumable at every record.

Tasks (the scoring models) come first, since many cells wait for each; then the cells. Victims of one attacker seed
share their never-poisoned twin, which is purified once and judged on each of their triggered test sets.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from prune_env.baselines.cells import RECORDS, Cell, Settings, build_cell_task, plan, run_cell
from prune_env.cache import writable
from prune_env.errors import InterruptedRunError
from prune_env.methods import get_method
from prune_env.records import Record, read_records
from prune_env.tensorboard import log_record
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.store import Victim, open_victim


@dataclass(frozen=True)
class Grid:
    """What is compared.

    Attributes:
        victims: Folders or embedded names.
        methods: Registered names.
        seeds: Defender's seeds.
        learning_rates: Rates of the final fine-tuning; None is the protocol's own.
    """

    victims: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    learning_rates: tuple[float | None, ...] = (None,)


@dataclass(frozen=True)
class TaskUnit:
    """One scoring model to build ahead: the victims that share it, "victim" or "twin", and the defender's seed."""

    victim: str
    role: str
    seed: int


Unit = TaskUnit | Cell

Report = Callable[[str, int, int], None]
"""(what was finished, units done, units in all)"""


def run(grid: Grid, settings: Settings, jobs: int = 1, report: Report | None = None) -> list[Record]:
    """Runs what is missing of a grid and returns the grid's records, old and new.

    Args:
        grid: What is compared.
        settings: What is held fixed; records go to `settings.out / "records.jsonl"`.
        jobs: Processes side by side, one thread each; 1 runs in this process.
        report: Called after each task and cell.

    Raises:
        PruneEnvError: Bad names or settings, before anything runs; or a cell's failure, after the others are kept.
        InterruptedRunError: Ctrl-C; what was finished is kept.
    """
    writable(settings.out)
    victims = {name: open_victim(name) for name in grid.victims}
    for method in grid.methods:
        get_method(method)
    cells = missing_cells(grid, settings, victims)
    tasks = needed_tasks(cells)
    total, done = len(tasks) + len(cells), 0
    try:
        for units in (tasks, cells):
            for label in _execute(units, settings, jobs):
                done += 1
                if report is not None:
                    report(label, done, total)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted after {done} of {total} steps; finished cells are in {settings.out / RECORDS}, "
            "run the same command again to go on"
        ) from None
    return grid_records(grid, settings, victims)


def missing_cells(grid: Grid, settings: Settings, victims: dict[str, Victim]) -> list[Cell]:
    """Returns the cells without a full set of records, seed by seed, in the grid's order of methods."""
    have = {record.key for record in read_records(settings.out / RECORDS)}
    return [cell for cell in _cells(grid, victims) if _keys(cell, settings, victims) - have]


def grid_records(grid: Grid, settings: Settings, victims: dict[str, Victim]) -> list[Record]:
    """Returns the records that belong to a grid, in the order they were written; nothing else that lies in the folder."""
    keys = {key for cell in _cells(grid, victims) for key in _keys(cell, settings, victims)}
    return [record for record in read_records(settings.out / RECORDS) if record.key in keys]


def _cells(grid: Grid, victims: dict[str, Victim]) -> list[Cell]:
    groups = twin_groups(victims)
    return [
        Cell(group, method, seed, rate)
        for seed in grid.seeds
        for rate in grid.learning_rates
        for method in grid.methods
        for group in groups
    ]


def twin_groups(victims: dict[str, Victim]) -> list[tuple[str, ...]]:
    """Groups victims whose twins have the same files; a victim without a twin stands alone."""
    groups: dict[str, list[str]] = {}
    for name, victim in victims.items():
        twin = open_diagnosis(victim).twin
        groups.setdefault(twin.sha256 if twin is not None else name, []).append(name)
    return [tuple(group) for group in groups.values()]


def _keys(cell: Cell, settings: Settings, victims: dict[str, Victim]) -> set[str]:
    keys = set()
    for name in cell.victims:
        roles = ("victim", "twin") if (victims[name].folder / "twin").is_dir() else ("victim",)
        keys |= {plan(victims[name], role, cell, settings).key for role in roles}
    return keys


def needed_tasks(cells: Sequence[Cell]) -> list[TaskUnit]:
    """Returns the scoring models that these cells need: one for each shared twin and each victim, by seed."""
    units: dict[TaskUnit, None] = {}
    for cell in cells:
        units[TaskUnit(cell.victims[0], "twin", cell.seed)] = None
        units.update(dict.fromkeys(TaskUnit(name, "victim", cell.seed) for name in cell.victims))
    return list(units)


def run_unit(unit: Unit, settings: Settings) -> str:
    """Does one unit of work and returns what to call it; runs in a process of its own."""
    if isinstance(unit, TaskUnit):
        victim = open_victim(unit.victim)
        suspect = victim.suspect if unit.role == "victim" else open_diagnosis(victim).twin
        if suspect is not None:
            build_cell_task(suspect, victim, unit.seed, settings)
        return f"scoring model of {victim.name} ({unit.role}), seed {unit.seed}"
    for record in run_cell(unit, settings):
        log_record(record, settings.out)
    names = ", ".join(open_victim(name).name for name in unit.victims)
    return f"{unit.method} on {names}, seed {unit.seed}"


def _execute(units: Sequence[Unit], settings: Settings, jobs: int) -> Iterator[str]:
    """Runs units and yields their labels as they finish; a failure is raised after the others are done."""
    if jobs == 1:
        for unit in units:
            yield run_unit(unit, settings)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(os.getpid(),))
    failure: Exception | None = None
    try:
        futures: list[Future[str]] = [pool.submit(run_unit, unit, settings) for unit in units]
        for future in as_completed(futures):
            try:
                yield future.result()
            except Exception as error:
                failure = failure or error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if failure is not None:
        raise failure


def _start_worker(parent: int) -> None:
    """One thread a process, and no orphan that goes on writing after the parent was killed."""
    torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
