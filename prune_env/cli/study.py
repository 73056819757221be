"""`prune-env study`: hundreds of masks fine-tuned, against what was known of them beforehand."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from prune_env.cli.arguments import cores, numbers, split, whole
from prune_env.cli.terminal import progress
from prune_env.errors import ConfigError

HELP = "fine-tune hundreds of masks of tiny victims, and correlate their LFR with what a search sees"

VICTIMS = ("tiny-syntactic", "tiny-style")
SEEDS = ("11", "12", "13")
MASKS = "512"

_Result = TypeVar("_Result")

_EXAMPLES = """\
examples:
  prune-env study --out runs/study
  prune-env study --victim tiny-style --masks 32 --seeds 11 --out runs/small
  prune-env study --out runs/study --ship tables
  prune-env study --out runs/study --check 24
  prune-env study --report
A second run with the same --out does only what is missing, after Ctrl-C or a crash too.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is studied, and what is made of it."""
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--victim", nargs="+", default=list(VICTIMS), metavar="V", help=f"tiny victims (default: {','.join(VICTIMS)})")
    add("--masks", default=MASKS, metavar="N", help=f"masks, the full mask among them (default: {MASKS})")
    add("--seeds", nargs="+", default=list(SEEDS), metavar="N", help=f"defender's seeds (default: {','.join(SEEDS)})")
    add("--out", type=Path, metavar="DIR", help="folder of the finished parts")
    add("--jobs", metavar="N", help="one-thread processes side by side (default: the number of cores)")
    add("--ship", type=Path, metavar="DIR", help="write the tables of what is finished in --out to this folder; no run")
    add("--check", metavar="N", help="fine-tune N finished masks one by one as well, and compare; exits with 1 "
        "if they disagree; no other run")  # fmt: skip
    add("--report", action="store_true", help="print the correlations as Markdown; no run")
    add("--table", type=Path, metavar="DIR", help="folder of the tables to report on (default: those that ship)")
    add("--save", type=Path, metavar="FILE", help="also write the report to this file")


def run(args: argparse.Namespace) -> int:
    """Runs what is missing, or ships, or reports; 0 when it is done, 1 when a check finds that stacks disagree."""
    if args.report:
        return _report(args)
    if args.out is None:
        raise ConfigError("expected --out DIR for the parts of the study, got none; or give --report")
    from prune_env.baselines.study.parts import Study
    from prune_env.baselines.study.run import run as run_study

    (masks,) = numbers([args.masks], whole, "a number of masks", MASKS)
    seeds = tuple(numbers(args.seeds, whole, "seeds", "11,12"))
    study = Study(tuple(split(args.victim)), seeds, masks, args.out)
    if args.ship is not None:
        from prune_env.baselines.study.table import ship

        for path in ship(study, args.ship):
            print(path)  # noqa: T201
        return 0
    if args.check is not None:
        from prune_env.baselines.study.agreement import compare, sentence

        (count,) = numbers([args.check], whole, "a number of masks", "24")
        found = _with_progress("masks", lambda report: compare(study, count, report))
        print(sentence(found))  # noqa: T201
        return 0 if all(one.holds for one in found) else 1
    jobs = cores() if args.jobs is None else numbers([args.jobs], whole, "a number of processes", "2")[0]
    if jobs < 1:
        raise ConfigError(f"expected at least one process, got --jobs {jobs}; leave it out for one a core")
    _with_progress("parts", lambda report: run_study(study, jobs, report))
    return 0


def _with_progress(what: str, work: Callable[[Callable[[str, int, int], None]], _Result]) -> _Result:
    """Shows what is done and the time to go; in a log, a line for each piece."""
    with progress() as bar:
        shown = bar.add_task(what, total=None)

        def report(label: str, done: int, total: int) -> None:
            bar.update(shown, completed=done, total=total, description=label)
            if not bar.console.is_terminal:
                left = bar.tasks[0].time_remaining
                to_go = "" if left is None else f", {left / 60:.0f} minutes to go"
                bar.console.print(f"{done} of {total}: {label}{to_go}", highlight=False, soft_wrap=True)

        return work(report)


def _report(args: argparse.Namespace) -> int:
    from prune_env.baselines.study.report import markdown, shipped
    from prune_env.baselines.study.table import read_tables
    from prune_env.cache import write_text

    text = markdown(shipped() if args.table is None else read_tables(args.table))
    if args.save is not None:
        write_text(args.save, text)
    print(text, end="")  # noqa: T201
    return 0
