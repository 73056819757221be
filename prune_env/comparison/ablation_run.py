"""Ablations: every variant, victim and seed as a training, in one-thread processes, resumable at each checkpoint.

A seed's trainings come together: what an interrupted run leaves are whole seeds of all variants, and they compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from prune_env.agents.ablation_records import Ablation, read_ablations
from prune_env.agents.ablations import RECORDS, VARIANTS, Cell, run_cell
from prune_env.agents.training import Training
from prune_env.baselines.locks import sole
from prune_env.baselines.workers import one_by_one, side_by_side, worker_pool
from prune_env.cache import writable
from prune_env.errors import ConfigError, InterruptedRunError, WorkerError
from prune_env.tabular.registry import get_twin
from prune_env.threads import threads

LOCK = ".lock"

Report = Callable[[str, int, int], None]
"""(what was finished, or comes first; trainings done, earlier ones too; trainings in all)"""


@dataclass(frozen=True)
class Plan:
    """Which ablations.

    Attributes:
        victims: Tabular twins, by name or file.
        seeds: Of trainings and judgements.
        variants: Names of `VARIANTS`.
        steps: Environment steps of each training.
    """

    victims: tuple[str, ...]
    seeds: tuple[int, ...]
    variants: tuple[str, ...] = tuple(VARIANTS)
    steps: int = Training.steps

    def __post_init__(self) -> None:
        """Checks names and numbers."""
        for what in ("victims", "seeds", "variants"):
            if not getattr(self, what):
                raise ConfigError(f"expected at least one of {what}, got none; name one")
        names = [get_twin(victim).name for victim in self.victims]
        if len(set(names)) < len(names):
            raise ConfigError(f"expected victims with names of their own, got {', '.join(names)}; run them apart")
        for variant in self.variants:
            _ = Cell(variant, self.victims[0], self.seeds[0], self.steps).training

    @property
    def cells(self) -> list[Cell]:
        """Every training, seed by seed."""
        every = product(self.seeds, self.victims, self.variants)
        return [Cell(variant, victim, seed, self.steps) for seed, victim, variant in every]


@dataclass(frozen=True)
class Missing:
    """What is left of a plan.

    Attributes:
        cells: Trainings without a record.
        found: The records of the others.
    """

    cells: list[Cell]
    found: list[Ablation]

    @property
    def steps(self) -> int:
        """Environment steps of what is left."""
        return sum(cell.training.whole_steps for cell in self.cells)


def missing(plan: Plan, out: Path) -> Missing:
    """Looks up what a folder holds already of a plan.

    Raises:
        RecordError: Malformed records.
    """
    known = {record.identity: record for record in read_ablations(out / RECORDS)}
    identities = {cell: cell.training.identity for cell in plan.cells}
    return Missing(
        [cell for cell, identity in identities.items() if identity not in known],
        [known[identity] for identity in identities.values() if identity in known],
    )


def run(plan: Plan, out: Path, jobs: int = 1, report: Report | None = None) -> list[Ablation]:
    """Runs what is missing of a plan and returns the plan's records, old and new.

    Args:
        plan: Which ablations.
        out: Folder of the trainings and of `ablations.jsonl`.
        jobs: Processes side by side, one thread each; 1 runs in this one.
        report: Called before the first missing training, and after each.

    Raises:
        PruneEnvError: A training's failure, after the others are kept.
        InterruptedRunError: Ctrl-C; what was finished is kept.
        WorkerError: A process was killed; likewise.
        OutputError: Another run is writing to the same folder.
    """
    with sole(writable(out) / LOCK, f"run of ablations is writing to {out}", "--out"):
        _run_missing(missing(plan, out), out, jobs, report)
        return missing(plan, out).found


def _run_missing(left: Missing, out: Path, jobs: int, report: Report | None) -> None:
    done, total = len(left.found), len(left.found) + len(left.cells)
    kept = f"finished trainings are in {out / RECORDS}, run the same command again to go on"
    if report is not None and left.cells:
        report(f"next is {named(left.cells[0])}", done, total)
    try:
        for label in _execute(left.cells, out, jobs):
            done += 1
            if report is not None:
                report(label, done, total)
    except KeyboardInterrupt:
        raise InterruptedRunError(f"interrupted after {done} of {total} trainings; {kept}") from None
    except BrokenProcessPool as error:
        raise WorkerError(
            f"a process was killed after {done} of {total} trainings, for want of memory perhaps; {kept}, with fewer "
            "jobs"
        ) from error


def _execute(cells: Sequence[Cell], out: Path, jobs: int) -> Iterator[str]:
    failed: dict[Cell, BaseException] = {}
    work = partial(run_named, out=out)
    if jobs == 1 or len(cells) < 2:
        with threads(1):
            yield from one_by_one(cells, work, failed)
    else:
        with worker_pool(min(jobs, len(cells))) as pool:
            yield from side_by_side(pool, cells, work, failed)
    for error in failed.values():
        raise error


def run_named(cell: Cell, out: Path) -> str:
    """Runs one training and returns what to call it; runs in a process of its own."""
    run_cell(cell, out)
    return named(cell)


def named(cell: Cell) -> str:
    """Returns a training in words."""
    return f"{cell.variant} on {get_twin(cell.victim).name}, seed {cell.seed}"
