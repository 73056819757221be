"""`prune-env replay`: checks records against their masks, their bits, their twins and, on demand, a new fine-tuning."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from prune_env.cli.terminal import progress

if TYPE_CHECKING:
    from prune_env.replay import Replay

HELP = "recompute the accuracies in records from their masks, and fail on a mismatch"

_EXAMPLES = """\
checked by computing again: each mask's accuracy on search and certify, in the trace too; evaluations, sentence passes
  and the threshold.
checked for agreement: ACC, each class's ACC and LFR with the stored bit of each test sentence and with the victim's
  test set; the floor with the twin's record of the same cell, if it is among the records given.
taken on trust unless --refit is given: that the recorded fine-tuning gives these bits, and AUC. --refit fine-tunes
  again with the recorded mask (minutes a record on real data). With the same libraries, processor, device and task the
  result must be equal; elsewhere what differs is reported.
examples:
  prune-env replay runs/first/records.jsonl
  prune-env replay runs/first/records.jsonl --refit
  prune-env replay baselines/results/*.jsonl --victim victims/hiddenkiller-minilm --data data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the records, and where victims and data are."""
    parser.epilog = _EXAMPLES
    parser.add_argument("records", type=Path, nargs="+", metavar="RECORDS", help="records.jsonl of a bench")
    parser.add_argument("--victim", nargs="+", default=[], metavar="V", help="folders of victims that are not embedded")
    parser.add_argument("--data", metavar="DIR", help="data folder of victims on real data (default: PRUNE_ENV_DATA)")
    parser.add_argument("--refit", action="store_true", help="fine-tune again and compare ACC, LFR, AUC and every bit")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, cuda:N (default: cpu)")


def run(args: argparse.Namespace) -> int:
    """Replays every record; 0 when all numbers are right, an error that names each that is not."""
    from prune_env.engine.device import resolve_device
    from prune_env.replay import load, replay_all

    resolve_device(args.device)
    records = load(args.records)
    with progress(to_go=False) as bar:
        shown = bar.add_task("records", total=len(records))

        def report(label: str, done: int, _total: int) -> None:
            bar.update(shown, completed=done, description=label)

        replays = replay_all(records, args.victim, args.data, device=args.device, again=args.refit, report=report)
    Console().print(summary(replays, args.refit), markup=False, highlight=False)
    return 0


def summary(replays: Sequence[Replay], refitted: bool) -> str:
    """Says what was checked, how exactly, and what was not."""
    numbers, exact = sum(one.numbers for one in replays), sum(one.exact for one in replays)
    rebuilt = sum(not one.same_task for one in replays)
    again = ", fine-tuned again," if refitted else ""
    words = [
        f"{len(replays)} records replayed{again}: all {numbers} numbers are right, {exact} records to the last bit."
    ]
    if exact < len(replays):
        words.append(
            f"{len(replays) - exact} were made with other libraries, on another processor or task: two sentences of a "
            "split may differ there."
        )
    if rebuilt:
        words.append(f"The tasks of {rebuilt} records were rebuilt here and differ in content from the recorded ones.")
    lines = [" ".join(words)]
    for what, count in Counter(what for one in replays for what in one.unchecked).items():
        lines.append(f"Not checked in {count} records: {what}.")
    lines += [f"{one.name}, not refused: {', '.join(map(str, one.drift))}." for one in replays if one.drift]
    return "\n".join(lines)
