"""Running a preset: stage by stage, its missing victims are built, then its missing cells done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from filelock import FileLock, Timeout

from prune_env.baselines import benchmark
from prune_env.baselines.benchmark import Report
from prune_env.baselines.cells import Settings
from prune_env.baselines.presets import Build, Preset, Stage
from prune_env.baselines.remaining import clock_of, remaining
from prune_env.baselines.workers import one_by_one, side_by_side, worker_pool
from prune_env.cache import writable
from prune_env.engine.device import resolve_device, resolve_dtype
from prune_env.errors import InterruptedRunError, OutputError, WorkerError
from prune_env.methods import get_method
from prune_env.records import Record
from prune_env.threads import threads
from prune_env.victims.build import build_victim
from prune_env.victims.protocols import fingerprint, get_protocol

LOCK = ".table.lock"
_AGAIN = "finished epochs and cells are kept, run the same command again to go on"


def check(preset: Preset, parts: Sequence[Stage], settings: Settings) -> None:
    """Checks all that can be checked before hours of work.

    Raises:
        PruneEnvError: An unknown method or protocol, a rate out of range, a device or data that is not there.
    """
    for method in preset.methods:
        get_method(method)
    resolve_device(settings.device)
    resolve_dtype(settings.dtype)
    for part in parts:
        for build in part.builds:
            build.recipe.make_attack()
    if settings.protocol is not None:
        protocol = get_protocol(settings.protocol)
        fingerprint(protocol, settings.data)
        for rate in preset.rates:
            replace(protocol.training, learning_rate=rate or protocol.training.learning_rate)


def run_table(
    preset: Preset, parts: Sequence[Stage], settings: Settings, jobs: int = 1, report: Report | None = None
) -> list[Record]:
    """Does what is missing of a preset's stages, one after the other, and returns their records, old and new.

    Args:
        preset: What is compared.
        parts: Its stages.
        settings: What is held fixed; records go to `settings.out / "records.jsonl"`.
        jobs: Processes side by side, one thread each.
        report: Called with (what was finished, steps done, steps in all) over all stages.

    Raises:
        PruneEnvError: As `check` and `benchmark.run` say.
    """
    check(preset, parts, settings)
    clock = clock_of(parts, settings)
    counts = [len(remaining(part, settings, clock)) for part in parts]
    writable(settings.out)
    records: list[Record] = []
    for number, part in enumerate(parts):
        tell = _told(report, sum(counts[:number]), sum(counts))
        _build(part.builds, jobs, tell)
        records += benchmark.run(
            part.grid, settings, jobs, _told(report, sum(counts[:number]) + len(part.builds), sum(counts))
        )
    return records


def _told(report: Report | None, before: int, total: int) -> Report:
    """Returns what reports a stage's steps as steps of the whole table."""

    def tell(label: str, done: int, _: int) -> None:
        if report is not None:
            report(label, before + done, total)

    return tell


def _build(builds: Sequence[Build], jobs: int, report: Report) -> None:
    """Builds victims side by side; of one attacker's, whoever needs the twin first trains it.

    Raises:
        PruneEnvError: The first one's that failed, after the others are done.
    """
    if not builds:
        return
    units = {str(build.folder): build for build in builds}
    failed: dict[str, BaseException] = {}
    with _sole(builds[0]):
        try:
            for number, label in enumerate(_execute(units, jobs, failed), 1):
                report(label, number, len(builds))
        except KeyboardInterrupt:
            raise InterruptedRunError(f"interrupted while victims were built; {_AGAIN}") from None
        except BrokenProcessPool as error:
            raise WorkerError(f"a process was killed, for want of memory perhaps; {_AGAIN}, with fewer jobs") from error
    for first in failed.values():
        raise first


def _execute(units: dict[str, Build], jobs: int, failed: dict[str, BaseException]) -> Iterator[str]:
    work = partial(build_one, builds=units)
    if jobs == 1 or len(units) == 1:
        with threads(1):
            yield from one_by_one(list(units), work, failed)
    else:
        with worker_pool(min(jobs, len(units))) as pool:
            yield from side_by_side(pool, list(units), work, failed)


def build_one(place: str, builds: dict[str, Build]) -> str:
    """Builds one victim with its twin and returns what to call it; runs in a process of its own."""
    build = builds[place]
    return f"built {build_victim(build.recipe, build.folder, siblings=build.siblings).name}"


@contextmanager
def _sole(build: Build) -> Iterator[None]:
    """Keeps a second table from building in the same folder of victims.

    Raises:
        OutputError: Another one is at it.
    """
    folder = writable(build.folder.parent)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f"another table is building victims in {folder}; wait until it has, or choose another --victims"
        ) from error
    try:
        yield
    finally:
        lock.release()
