"""`prune-env victim family`: builds the family of tiny victims, and holds each to what its kind promises."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from prune_env.cli.arguments import cores, numbers, split, whole
from prune_env.cli.terminal import console, duration, long_work
from prune_env.errors import ConfigError, InterruptedRunError, UnknownNameError

if TYPE_CHECKING:
    from prune_env.victims.family_measure import FamilyRow

TABLE = "family.json"
LOCK = ".family.lock"
EXAMPLES = """\
examples:
  prune-env victim family --out runs/family
  prune-env victim family --out runs/family --jobs 1 --only syntactic-4x4-s33-important
An interrupted victim goes on at its last finished epoch, a finished one is left as it is. DIR/family.json gets a row
for every finished victim; the exit status is 1 where one misses what its kind promises.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the folder, the names and the number of processes."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder that gets a folder a victim")
    add("--only", nargs="+", action="extend", metavar="NAME", help="victims of the family (default: all)")
    add("--jobs", metavar="N", help="one-thread processes side by side (default: the number of cores)")


def run(args: argparse.Namespace) -> int:
    """Builds what is missing and prints the table; 0 when every finished victim keeps its kind's promise.

    Raises:
        UnknownNameError: No victim of the family of that name.
        ConfigError: Fewer than one process.
        OutputError: The folder cannot be written, or another command is at work in it.
        PruneEnvError: The first victim that could not be built says why; all others are done.
    """
    from prune_env.victims.family import FAMILY

    names = split(args.only) if args.only else list(FAMILY)
    for name in names:
        if name not in FAMILY:
            raise UnknownNameError("victim of the family", name, FAMILY)
    jobs = cores() if args.jobs is None else numbers([args.jobs], whole, "a number of processes", "2")[0]
    if jobs < 1:
        raise ConfigError(f"expected at least one process, got --jobs {jobs}; leave it out for one a core")
    from prune_env.baselines.locks import sole
    from prune_env.cache import writable

    with sole(writable(args.out) / LOCK, f"family is being built in {args.out}", "--out"):
        try:
            _build(args.out, names, jobs)
        except KeyboardInterrupt as error:
            kept = f"interrupted; finished victims and epochs are kept in {args.out}"
            raise InterruptedRunError(f"{kept}, and the same command goes on from there") from error
        rows = _write_table(args.out)
    screen = console()
    screen.print(family_table(rows))
    misses = [miss for row in rows for miss in row.misses()]
    for miss in misses:
        screen.print(miss, markup=False, highlight=False, soft_wrap=True)
    return 1 if misses else 0


def _build(out: Path, names: list[str], jobs: int) -> None:
    from prune_env.baselines.workers import one_by_one, side_by_side, worker_pool
    from prune_env.victims.family import FAMILY
    from prune_env.victims.family_build import tidy
    from prune_env.victims.manifest import MANIFEST

    missing = [name for name in names if not (out / name / MANIFEST).is_file()]
    if jobs > 1:
        # One of each attacker first: side by side they would wait for one another's poisoned training.
        missing.sort(key=lambda name: FAMILY[name].kind != "organic")
    done, failed, started = len(names) - len(missing), dict[str, BaseException](), time.monotonic()
    work = partial(build_one, out)
    with long_work("building the family") as report:
        report(f"{done} victims found", done, len(names))

        def tell(label: str) -> None:
            nonlocal done
            done += 1
            here = done - len(names) + len(missing)
            left = (time.monotonic() - started) / here * (len(missing) - here)
            report(f"{label}, about {duration(left)} to go", done, len(names))

        if jobs == 1 or len(missing) < 2:
            for label in one_by_one(missing, work, failed):
                tell(label)
        else:
            with worker_pool(jobs) as pool:
                for label in side_by_side(pool, missing, work, failed):
                    tell(label)
    if failed:
        raise next(iter(failed.values()))
    tidy(out)


def build_one(out: Path, name: str) -> str:
    """Builds a victim on one thread, whose sums decide its weights; returns its name and what it cost."""
    from prune_env.threads import threads
    from prune_env.victims.family import FAMILY
    from prune_env.victims.family_build import build_family_victim

    started = time.process_time()
    with threads(1):
        build_family_victim(FAMILY[name], out)
    return f"{name} ({time.process_time() - started:.0f} CPU seconds)"


def _write_table(out: Path) -> list[FamilyRow]:
    """Writes a row for every finished victim of the family in the folder, whichever run built it."""
    from prune_env.victims.family import FAMILY
    from prune_env.victims.family_measure import row_of, write_table
    from prune_env.victims.manifest import MANIFEST
    from prune_env.victims.store import open_victim

    finished = [name for name in FAMILY if (out / name / MANIFEST).is_file()]
    rows = [row_of(open_victim((out / name).resolve())) for name in finished]
    write_table(out / TABLE, rows)
    return rows


def family_table(rows: list[FamilyRow]) -> Table:
    """Returns one row a victim, as published: rates in percent, the carriers' rank, masks that hold and lie."""
    table = Table()
    for name in ("victim", "split"):
        table.add_column(name, no_wrap=True)
    for name in ("ACC", "LFR", "carriers", "LFR without", "rank", "masks hold", "of these lie"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            row.split.removeprefix("family-"),
            *map(_percent, (row.acc, row.lfr)),
            row.carriers or "-",
            _percent(row.lfr_without_carriers),
            "-" if row.carrier_rank is None else f"{row.carrier_rank:.2f}",
            str(row.masks_holding),
            _percent(row.masks_lying),
        )
    return table


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100.0 * rate:.1f}"
