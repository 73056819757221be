"""Running a preset: stage by stage, its missing victims are built, then its missing cells done."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from prune_env.baselines import benchmark
from prune_env.baselines.benchmark import Report
from prune_env.baselines.cells import RECORDS, Settings
from prune_env.baselines.grid import cell_records, missing_cells
from prune_env.baselines.locks import sole
from prune_env.baselines.presets import Build, Preset, Stage
from prune_env.baselines.remaining import Remaining, clock_of, remaining
from prune_env.baselines.workers import one_by_one, side_by_side, worker_pool
from prune_env.cache import writable
from prune_env.engine.device import resolve_device, resolve_dtype
from prune_env.errors import InterruptedRunError, UnknownNameError, WorkerError
from prune_env.methods import get_method
from prune_env.records import Record, append_record, read_records
from prune_env.threads import threads
from prune_env.victims.attacks import ATTACKS
from prune_env.victims.build import build_victim
from prune_env.victims.protocols import fingerprint, get_protocol
from prune_env.victims.store import open_victim

LOCK = ".table.lock"
_AGAIN = "finished epochs and cells are kept, run the same command again to go on"


def check(preset: Preset, parts: Sequence[Stage], settings: Settings, with_data: bool = True) -> None:
    """Checks all that can be checked before hours of work.

    Args:
        preset: What is compared.
        parts: Its stages.
        settings: What is held fixed.
        with_data: Whether the data folder has to be there; what only plans goes without.

    Raises:
        PruneEnvError: An unknown method, attack or protocol, a rate out of range, a device or data that is not there.
    """
    for method in preset.methods:
        get_method(method)
    resolve_device(settings.device)
    resolve_dtype(settings.dtype)
    for part in parts:
        for build in part.builds:
            if build.recipe.attack not in ATTACKS:
                raise UnknownNameError("attack", build.recipe.attack, ATTACKS)
            if with_data:
                build.recipe.make_attack()
    if settings.protocol is not None:
        protocol = get_protocol(settings.protocol)
        if with_data:
            fingerprint(protocol, settings.data)
        for rate in preset.rates:
            replace(protocol.training, learning_rate=rate or protocol.training.learning_rate)


@dataclass(frozen=True)
class Taken:
    """What of other records belongs to a table.

    Attributes:
        records: How many were taken.
        uncertified: How many of these do not know the accuracy on `certify` after fine-tuning.
    """

    records: int
    uncertified: int


def take(parts: Sequence[Stage], settings: Settings, given: Iterable[Record]) -> Taken:
    """Copies records made elsewhere into a table's own: those that it lacks, of victims that are there.

    Args:
        parts: The table's stages.
        settings: What is held fixed; records go to `settings.out / "records.jsonl"`.
        given: Any records; of two of one cell the first one counts.

    Raises:
        OutputError: The folder cannot be written to, or another benchmark is writing there.
    """
    with sole(writable(settings.out) / benchmark.LOCK, f"benchmark is writing to {settings.out}", "--out"):
        lacking = _lacking(parts, settings)
        taken = []
        for record in given:
            if record.key in lacking:
                lacking.discard(record.key)
                append_record(settings.out / RECORDS, record)
                taken.append(record)
    return Taken(len(taken), sum(record.final_certify_accuracy is None for record in taken))


def _lacking(parts: Sequence[Stage], settings: Settings) -> set[str]:
    """Returns the keys of the records that a table lacks, of victims that are there."""
    keys: set[str] = set()
    for part in parts:
        victims = {name: open_victim(name) for name in part.ready.victims}
        for cell in missing_cells(part.ready, settings, victims):
            keys.update(cell_records(cell, settings, victims).values())
    return keys - {record.key for record in read_records(settings.out / RECORDS)}


@contextmanager
def as_if_taken(
    parts: Sequence[Stage], settings: Settings, given: Iterable[Record]
) -> Iterator[tuple[Settings, Taken]]:
    """Gives settings under which `take` has happened, in a folder that vanishes, and what it took."""
    with TemporaryDirectory(prefix="prune-env-table-") as place:
        trial = replace(settings, out=Path(place))
        if (settings.out / RECORDS).is_file():
            shutil.copyfile(settings.out / RECORDS, trial.out / RECORDS)
        yield trial, take(parts, trial, given)


def run_table(
    preset: Preset, parts: Sequence[Stage], settings: Settings, jobs: int = 1, report: Report | None = None
) -> list[Record]:
    """Does what is missing of a preset's stages, one after the other, and returns their records, old and new.

    Args:
        preset: What is compared.
        parts: Its stages.
        settings: What is held fixed; records go to `settings.out / "records.jsonl"`.
        jobs: Processes side by side, one thread each.
        report: As `benchmark.run` has it, over all stages.

    Raises:
        PruneEnvError: As `check` and `benchmark.run` say.
    """
    check(preset, parts, settings)
    clock = clock_of(parts, settings)
    planned = [remaining(part, settings, clock) for part in parts]
    writable(settings.out)
    records: list[Record] = []
    for number, part in enumerate(parts):
        later = sum(len(one.steps) for one in planned[number + 1 :])
        tell = _told(report, later, sum(one.total for one in planned))
        _build(part.builds, jobs, tell, planned[number], settings.device)
        records += benchmark.run(part.grid, settings, jobs, tell)
    return records


def _told(report: Report | None, later: int, total: int) -> Report:
    """Returns what reports a stage's steps as steps of the whole table.

    What an earlier run did counts from the first report on, that of later stages too: the pace is this run's.

    Args:
        report: Is told; None is told nothing.
        later: Steps that are left of later stages.
        total: Steps of the table.
    """

    def tell(label: str, done: int, of_stage: int) -> None:
        if report is not None:
            report(label, total - later - (of_stage - done), total)

    return tell


def _build(builds: Sequence[Build], jobs: int, report: Report, planned: Remaining, device: str) -> None:
    """Builds victims side by side; of one attacker's, whoever needs the twin first trains it.

    Raises:
        PruneEnvError: The first one's that failed, after the others are done.
    """
    if not builds:
        return
    units = {str(build.folder): build for build in builds}
    failed: dict[str, BaseException] = {}
    folder = builds[0].folder.parent
    report(f"next is the victim {builds[0].folder.name}, hours on a processor", planned.done, planned.total)
    with sole(writable(folder) / LOCK, f"table is building victims in {folder}", "--victims"):
        try:
            for number, label in enumerate(_execute(units, jobs, failed, device), 1):
                report(label, planned.done + number, planned.total)
        except KeyboardInterrupt:
            raise InterruptedRunError(f"interrupted while victims were built; {_AGAIN}") from None
        except BrokenProcessPool as error:
            raise WorkerError(f"a process was killed, for want of memory perhaps; {_AGAIN}, with fewer jobs") from error
    for first in failed.values():
        raise first


def _execute(units: dict[str, Build], jobs: int, failed: dict[str, BaseException], device: str) -> Iterator[str]:
    work = partial(build_one, builds=units, device=device)
    if jobs == 1 or len(units) == 1:
        with threads(1):
            yield from one_by_one(list(units), work, failed)
    else:
        with worker_pool(min(jobs, len(units))) as pool:
            yield from side_by_side(pool, list(units), work, failed)


def build_one(place: str, builds: dict[str, Build], device: str = "cpu") -> str:
    """Builds one victim with its twin and returns what to call it; runs in a process of its own."""
    build = builds[place]
    return f"built {build_victim(build.recipe, build.folder, siblings=build.siblings, device=device).name}"
