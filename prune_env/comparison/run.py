"""The comparison: every contestant, victim, budget and seed as a cell, in one-thread processes, resumable at each.

Agents that are trained on other victims come first; then the cells, dear ones before cheap ones, so that no process is
left alone with a long one at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from prune_env.baselines.locks import sole
from prune_env.baselines.workers import one_by_one, side_by_side, worker_pool
from prune_env.cache import writable
from prune_env.comparison.cells import TRIALS, Cell, Preparation, Settings, run_cell
from prune_env.comparison.contestant import get_contestant
from prune_env.comparison.plan import Missing, Plan, check, missing
from prune_env.comparison.trials import Trial
from prune_env.errors import InterruptedRunError, WorkerError
from prune_env.threads import threads

LOCK = ".lock"

Unit = Preparation | Cell

Report = Callable[[str, int, int], None]
"""(what was finished, or comes first; steps done, earlier ones too; steps in all)"""


def run(plan: Plan, settings: Settings, jobs: int = 1, report: Report | None = None) -> list[Trial]:
    """Runs what is missing of a plan and returns the plan's trials, old and new.

    Args:
        plan: What is compared.
        settings: What is held fixed; trials go to `settings.out / "trials.jsonl"`.
        jobs: Processes side by side, one thread each; 1 runs in this one.
        report: Called before the first missing step, and after each.

    Raises:
        PruneEnvError: Bad names or settings, before anything runs; or a cell's failure, after the others are kept.
        InterruptedRunError: Ctrl-C; what was finished is kept.
        WorkerError: A process was killed; likewise.
        OutputError: Another comparison is writing to the same folder.
    """
    check(plan, settings)
    writable(settings.out)
    with sole(settings.out / LOCK, f"comparison is writing to {settings.out}", "--out"):
        _run_missing(missing(plan, settings), settings, jobs, report)
        return missing(plan, settings).trials


def _run_missing(left: Missing, settings: Settings, jobs: int, report: Report | None) -> None:
    done = left.done
    waiting: list[Unit] = [*left.preparations, *left.cells, *left.searched]
    total = done + len(waiting)
    if report is not None and waiting:
        report(f"next is {named(waiting[0])}", done, total)
    try:
        for label in _execute(left, settings, jobs):
            done += 1
            if report is not None:
                report(label, done, total)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted after {done} of {total} steps; finished cells are in {settings.out / TRIALS}, "
            "run the same command again to go on"
        ) from None
    except BrokenProcessPool as error:
        raise WorkerError(
            f"a process was killed after {done} of {total} steps, for want of memory perhaps; finished cells are in "
            f"{settings.out / TRIALS}, run the same command again, with fewer jobs"
        ) from error


def _execute(left: Missing, settings: Settings, jobs: int) -> Iterator[str]:
    failed: dict[Unit, BaseException] = {}
    work = partial(run_unit, settings=settings)
    stages: Sequence[Callable[[], Sequence[Unit]]] = (
        lambda: left.preparations,
        lambda: [cell for cell in left.cells if Preparation(cell.contestant, cell.seed) not in failed] + left.searched,
    )
    widest = max(len(left.preparations), len(left.cells) + len(left.searched))
    if jobs == 1 or widest < 2:
        with threads(1):
            for stage in stages:
                yield from one_by_one(stage(), work, failed)
    else:
        with worker_pool(min(jobs, widest)) as pool:
            for stage in stages:
                yield from side_by_side(pool, stage(), work, failed)
    for error in failed.values():
        raise error


def run_unit(unit: Unit, settings: Settings) -> str:
    """Does one unit of work and returns what to call it; runs in a process of its own."""
    if isinstance(unit, Preparation):
        get_contestant(unit.contestant).prepare(unit.seed, settings.before)
    else:
        run_cell(unit, settings)
    return named(unit)


def named(unit: Unit) -> str:
    """Returns a unit in words."""
    if isinstance(unit, Preparation):
        return f"training of {unit.contestant}, seed {unit.seed}"
    amount = "one episode's" if unit.budget is None else str(unit.budget)
    return f"{unit.contestant} on {unit.victim}, {amount} evaluations, seed {unit.seed}"
