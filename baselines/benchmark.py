"""The benchmark: victims x methods x seeds x rates, as one-thread processes side by side, resumable at every record.

Tasks (the scoring models) come first, since many cells wait for each; then the cells. Victims of one attacker seed
share their never-poisoned twin, which is purified once and judged on each of their triggered test sets.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from multiprocessing.synchronize import Event

import torch

from prune_env.baselines.cells import RECORDS, Cell, Settings, build_cell_task, plan, run_cell
from prune_env.cache import writable
from prune_env.engine.device import resolve_device, resolve_dtype
from prune_env.errors import InterruptedRunError, PruneEnvError
from prune_env.machine import one_thread
from prune_env.methods import get_method
from prune_env.records import Record, read_records
from prune_env.tensorboard import log_record
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.protocols import fingerprint
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
        jobs: Processes side by side, one thread each; 1 runs in this process, with one thread too: the number of
            threads decides the last bits of a sum.
        report: Called after each task and cell.

    Raises:
        PruneEnvError: Bad names or settings, before anything runs; or a cell's failure, after the others are kept.
        InterruptedRunError: Ctrl-C; what was finished is kept.
    """
    victims = checked(grid, settings)
    cells = missing_cells(grid, settings, victims)
    tasks = needed_tasks(cells, victims)
    total, done = len(tasks) + len(cells), 0
    try:
        for label in _execute((tasks, cells), settings, jobs):
            done += 1
            if report is not None:
                report(label, done, total)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted after {done} of {total} steps; finished cells are in {settings.out / RECORDS}, "
            "run the same command again to go on"
        ) from None
    except BrokenProcessPool as error:
        raise InterruptedRunError(
            f"a process was killed after {done} of {total} steps, for want of memory perhaps; finished cells are in "
            f"{settings.out / RECORDS}, run the same command again, with fewer jobs"
        ) from error
    return grid_records(grid, settings, victims)


def checked(grid: Grid, settings: Settings) -> dict[str, Victim]:
    """Returns the grid's victims by name, after checking all that can be checked before hours of work.

    Raises:
        PruneEnvError: An unknown name, a setting out of range, a device or data that is not there, a folder that
            cannot be written.
    """
    for method in grid.methods:
        get_method(method)
    resolve_device(settings.device)
    resolve_dtype(settings.dtype)
    victims = {name: open_victim(name) for name in grid.victims}
    for victim in victims.values():
        fingerprint(settings.protocol_of(victim), settings.data)
        for method, rate in product(grid.methods, grid.learning_rates):
            plan(victim, "victim", Cell((), method, 0, rate), settings)
    writable(settings.out)
    return victims


def missing_cells(grid: Grid, settings: Settings, victims: dict[str, Victim]) -> list[Cell]:
    """Returns the cells without a full set of records, seed by seed, in the grid's order of methods."""
    have = {record.key for record in read_records(settings.out / RECORDS)}
    return [cell for cell in _cells(grid, settings, victims) if _keys(cell, settings, victims) - have]


def grid_records(grid: Grid, settings: Settings, victims: dict[str, Victim]) -> list[Record]:
    """Returns the grid's records in the order they were written, and nothing else that lies in the folder."""
    keys = {key for cell in _cells(grid, settings, victims) for key in _keys(cell, settings, victims)}
    return [record for record in read_records(settings.out / RECORDS) if record.key in keys]


def _cells(grid: Grid, settings: Settings, victims: dict[str, Victim]) -> list[Cell]:
    groups = twin_groups(victims, settings)
    return [
        Cell(group, method, seed, rate)
        for seed in grid.seeds
        for rate in grid.learning_rates
        for method in grid.methods
        for group in groups
    ]


def twin_groups(victims: dict[str, Victim], settings: Settings) -> list[tuple[str, ...]]:
    """Groups victims whose twins have the same files and are treated alike; a victim without a twin stands alone."""
    groups: dict[str, list[str]] = {}
    for name, victim in victims.items():
        twin = open_diagnosis(victim).twin
        treatment = [settings.protocol_of(victim).name, dict(settings.search_of(victim).constraint)]
        key = name if twin is None else json.dumps([twin.sha256, *treatment], sort_keys=True)
        groups.setdefault(key, []).append(name)
    return [tuple(group) for group in groups.values()]


def _keys(cell: Cell, settings: Settings, victims: dict[str, Victim]) -> set[str]:
    keys = set()
    for name in cell.victims:
        roles = ("victim", "twin") if (victims[name].folder / "twin").is_dir() else ("victim",)
        keys |= {plan(victims[name], role, cell, settings).key for role in roles}
    return keys


def needed_tasks(cells: Sequence[Cell], victims: dict[str, Victim]) -> list[TaskUnit]:
    """Returns the scoring models that these cells need: one for each shared twin and each victim, by seed."""
    units: dict[TaskUnit, None] = {}
    for cell in cells:
        if (victims[cell.victims[0]].folder / "twin").is_dir():
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


def _execute(stages: Sequence[Sequence[Unit]], settings: Settings, jobs: int) -> Iterator[str]:
    """Runs one stage after the other and yields each unit's label as it finishes."""
    widest = max(map(len, stages))
    if jobs == 1 or widest < 2:
        with one_thread():
            for stage in stages:
                yield from _one_by_one(stage, settings)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(min(jobs, widest), context, _start_worker, (os.getpid(), stop))
    try:
        for stage in stages:
            yield from _side_by_side(pool, stage, settings)
    except BaseException:
        # Ctrl-C: what is under way would take minutes to end by itself, and its records are not written yet.
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one_by_one(units: Sequence[Unit], settings: Settings) -> Iterator[str]:
    """Runs one stage's units in this process; a failure is raised after the others are done."""
    failures = []
    for unit in units:
        try:
            label = run_unit(unit, settings)
        except PruneEnvError as error:
            failures.append(error)
        else:
            yield label
    if failures:
        raise failures[0]


def _side_by_side(pool: ProcessPoolExecutor, units: Sequence[Unit], settings: Settings) -> Iterator[str]:
    """Runs one stage's units; a failure is raised after the others are done."""
    with _interrupts_held():
        futures = [pool.submit(run_unit, unit, settings) for unit in units]
    failures = []
    for future in as_completed(futures):
        error = future.exception()
        if error is None:
            yield future.result()
        else:
            failures.append(error)
    if failures:
        raise failures[0]


def _start_worker(parent: int, stop: Event) -> None:
    """One thread a process, and no orphan that goes on writing after the parent was stopped or killed."""
    torch.set_num_threads(1)

    def watch() -> None:
        while not stop.wait(1.0) and os.getppid() == parent:
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Holds Ctrl-C back until the end; processes started in between inherit this and leave it to their parent."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
