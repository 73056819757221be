"""`prune-env replay`: recomputes the accuracies of records from their masks."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

HELP = "recompute the accuracies in records from their masks, and fail on a mismatch"

_EXAMPLES = """\
examples:
  prune-env replay runs/first/records.jsonl
  prune-env replay baselines/results/*.jsonl --victim victims/hiddenkiller-minilm --data data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the records, and where victims and data are."""
    parser.epilog = _EXAMPLES
    parser.add_argument("records", type=Path, nargs="+", metavar="RECORDS", help="records.jsonl of a bench")
    parser.add_argument("--victim", nargs="+", default=[], metavar="V", help="folders of victims that are not embedded")
    parser.add_argument("--data", metavar="DIR", help="data folder of victims on real data (default: PRUNE_ENV_DATA)")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, cuda:N (default: cpu)")


def run(args: argparse.Namespace) -> int:
    """Replays every record; 0 when all numbers are right, an error that names each that is not."""
    from prune_env.engine.device import resolve_device
    from prune_env.replay import load, replay_all

    resolve_device(args.device)
    records = load(args.records)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("records", total=len(records))

        def report(label: str, done: int, _total: int) -> None:
            bar.update(shown, completed=done, description=label)

        replays = replay_all(records, args.victim, args.data, device=args.device, report=report)
    numbers = sum(one.numbers for one in replays)
    exact = sum(one.exact for one in replays)
    rebuilt = sum(not one.same_task for one in replays)
    words = [f"{len(replays)} records replayed: all {numbers} numbers are right, {exact} records to the last bit."]
    if exact < len(replays):
        words.append(
            f"{len(replays) - exact} were made with other libraries, on another processor or task: two sentences of a "
            "split may differ there."
        )
    if rebuilt:
        words.append(f"The tasks of {rebuilt} records were rebuilt here and differ in content from the recorded ones.")
    Console().print(" ".join(words), markup=False, highlight=False)
    return 0
