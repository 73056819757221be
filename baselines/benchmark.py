"""The benchmark: victims x methods x seeds x rates, as one-thread processes side by side, resumable at every record.

Tasks (the scoring models) come first, since many cells wait for each; then the cells. Victims of one attacker seed
share their never-poisoned twin, which is purified once and judged on each of their triggered test sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from itertools import product

from prune_env.baselines.cells import RECORDS, Cell, Settings, build_cell_task, plan, run_cell
from prune_env.baselines.grid import Grid, TaskUnit, grid_records, left_of
from prune_env.baselines.locks import sole
from prune_env.baselines.workers import one_by_one, side_by_side, worker_pool
from prune_env.cache import writable
from prune_env.engine.device import resolve_device, resolve_dtype
from prune_env.errors import ConfigError, InterruptedRunError, WorkerError
from prune_env.methods import get_method
from prune_env.records import Record, read_records
from prune_env.tensorboard import log_missing
from prune_env.threads import threads
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.protocols import fingerprint
from prune_env.victims.store import Victim, open_victim

__all__ = ["Grid", "Report", "run"]
"""What callers need, the grid's type included."""

LOCK = ".lock"

Unit = TaskUnit | Cell

Report = Callable[[str, int, int], None]
"""(what was finished, or comes first; steps done, earlier ones too; steps in all)"""


def run(grid: Grid, settings: Settings, jobs: int = 1, report: Report | None = None) -> list[Record]:
    """Runs what is missing of a grid and returns the grid's records, old and new.

    Args:
        grid: What is compared.
        settings: What is held fixed; records go to `settings.out / "records.jsonl"`.
        jobs: Processes side by side, one thread each; 1 runs in this process, with one thread too: the number of
            threads decides the last bits of a sum.
        report: Called before the first scoring model or cell that is missing, and after each.

    Raises:
        PruneEnvError: Bad names or settings, before anything runs; or a cell's failure, after the others are kept.
        InterruptedRunError: Ctrl-C; what was finished is kept.
        WorkerError: A process was killed; likewise.
        OutputError: Another benchmark is writing to the same folder.
    """
    victims = checked(grid, settings)
    with sole(settings.out / LOCK, f"benchmark is writing to {settings.out}", "--out"):
        _run_missing(grid, settings, victims, jobs, report)
        records = grid_records(grid, settings, victims)
        log_missing(records, read_records(settings.out / RECORDS), settings.out)
    return records


def _run_missing(grid: Grid, settings: Settings, victims: dict[str, Victim], jobs: int, report: Report | None) -> None:
    left = left_of(grid, settings, victims)
    done = left.done
    waiting: list[Unit] = [*left.tasks, *left.cells]
    if report is not None and waiting:
        report(f"next is {_named(waiting[0], victims)}", done, left.total)
    try:
        for label in _execute(left.tasks, left.cells, settings, jobs):
            done += 1
            if report is not None:
                report(label, done, left.total)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted after {done} of {left.total} steps; finished cells are in {settings.out / RECORDS}, "
            "run the same command again to go on"
        ) from None
    except BrokenProcessPool as error:
        raise WorkerError(
            f"a process was killed after {done} of {left.total} steps, for want of memory perhaps; finished cells are "
            f"in {settings.out / RECORDS}, run the same command again, with fewer jobs"
        ) from error


def _named(unit: Unit, victims: dict[str, Victim]) -> str:
    if isinstance(unit, TaskUnit):
        return f"scoring model of {victims[unit.victim].name} ({unit.role}), seed {unit.seed}"
    return f"{unit.method} on {', '.join(victims[name].name for name in unit.victims)}, seed {unit.seed}"


def checked(grid: Grid, settings: Settings) -> dict[str, Victim]:
    """Returns the grid's victims, after checking all that can be checked before hours of work; one twice is kept once.

    Raises:
        ConfigError: Two victims of one name.
        PruneEnvError: An unknown name, a setting out of range, a device or data that is not there, a folder that
            cannot be written.
    """
    for method in grid.methods:
        get_method(method)
    resolve_device(settings.device)
    resolve_dtype(settings.dtype)
    victims = _distinct({name: open_victim(name) for name in grid.victims})
    for victim in victims.values():
        fingerprint(settings.protocol_of(victim), settings.data)
        for method, rate in product(grid.methods, grid.learning_rates):
            plan(victim, "victim", Cell((), method, 0, rate), settings)
    writable(settings.out)
    return victims


def _distinct(victims: dict[str, Victim]) -> dict[str, Victim]:
    """Drops a victim that came under a second path, and refuses another one of the same name."""
    kept: dict[str, str] = {}
    found = {}
    for place, victim in victims.items():
        first = kept.setdefault(victim.name, place)
        if first == place:
            found[place] = victim
        elif victims[first].manifest.sha256 != victim.manifest.sha256:
            raise ConfigError(
                f"expected victims of different names, got two called {victim.name!r}: {first} and {place}; bench them "
                "one at a time with an --out each, or build one under another name"
            )
    return found


def run_unit(unit: Unit, settings: Settings) -> str:
    """Does one unit of work and returns what to call it; runs in a process of its own."""
    names = (unit.victim,) if isinstance(unit, TaskUnit) else unit.victims
    victims = {name: open_victim(name) for name in names}
    if isinstance(unit, TaskUnit):
        victim = victims[unit.victim]
        suspect = victim.suspect if unit.role == "victim" else open_diagnosis(victim).twin
        if suspect is not None:
            build_cell_task(suspect, victim, unit.seed, settings)
    else:
        log_missing(run_cell(unit, settings), read_records(settings.out / RECORDS), settings.out)
    return _named(unit, victims)


def _execute(tasks: Sequence[TaskUnit], cells: Sequence[Cell], settings: Settings, jobs: int) -> Iterator[str]:
    """Runs the tasks, then the cells that have theirs, and yields each unit's label as it finishes.

    Raises:
        PruneEnvError: The first unit's that failed, after all others are done.
    """
    failed: dict[Unit, BaseException] = {}
    work = partial(run_unit, settings=settings)
    widest = max(len(tasks), len(cells))
    if jobs == 1 or widest < 2:
        with threads(1):
            yield from one_by_one(tasks, work, failed)
            yield from one_by_one(runnable(cells, failed), work, failed)
    else:
        with worker_pool(min(jobs, widest)) as pool:
            yield from side_by_side(pool, tasks, work, failed)
            yield from side_by_side(pool, runnable(cells, failed), work, failed)
    for error in failed.values():
        raise error


def runnable(cells: Sequence[Cell], failed: Iterable[Unit]) -> list[Cell]:
    """Returns the cells without the victims whose scoring models failed; a failed twin takes its whole cell along."""
    lost = {(unit.victim, unit.role, unit.seed) for unit in failed if isinstance(unit, TaskUnit)}
    left = []
    for cell in cells:
        victims = tuple(name for name in cell.victims if (name, "victim", cell.seed) not in lost)
        if victims and (cell.victims[0], "twin", cell.seed) not in lost:
            left.append(replace(cell, victims=victims))
    return left
