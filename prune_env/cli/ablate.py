"""`prune-env ablate`: what the agents' parts are worth, each left out or changed by itself, over seeds."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.cli.arguments import cores, numbers, split, whole
from prune_env.cli.terminal import console, long_work
from prune_env.errors import ConfigError

if TYPE_CHECKING:
    from prune_env.agents.ablation_records import Ablation
    from prune_env.comparison.ablation_run import Plan

HELP = "train an agent without its parts: action bias, masks, kappa, heads a step; needs prune-env[contrib]"

SEEDS = "10"
STEPS = "20000"

_EXAMPLES = """\
examples:
  prune-env ablate --victim tiny-style --seeds 3 --variants reference,no-action-bias --out runs/bias
  prune-env ablate --victim tiny-style tiny-syntactic --jobs 8 --out runs/ablations
  prune-env ablate --victim tiny-style --out runs/ablations --dry-run
  prune-env ablate --show runs/ablations/ablations.jsonl --update README.md
A second run with the same --out does only what is missing, after Ctrl-C or a crash too. --dry-run says what that is.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is varied, on which victims, how often, and where it goes."""
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--victim", nargs="+", default=[], metavar="V", help="tabular twins, see prune-env tabular list")
    add("--variants", nargs="+", default=[], metavar="NAME", help="what is varied; differences want the reference "
        "among them (default: all of prune_env.agents.ablations)")  # fmt: skip
    add("--seeds", default=SEEDS, metavar="N", help="how many, from 0 (default: %(default)s)")
    add("--steps", default=STEPS, metavar="N", help="environment steps of each training (default: %(default)s)")
    add("--jobs", metavar="N", help="one-thread processes side by side (default: the number of cores)")
    add("--out", type=Path, metavar="DIR", help="folder of the trainings and of ablations.jsonl")
    add("--show", nargs="+", type=Path, metavar="FILE", help="run nothing, report finished ablations")
    add("--dry-run", action="store_true", help="say what is missing, and run nothing")
    add("--update", type=Path, metavar="README", help="write the report between this file's markers")
    add("--json", action="store_true", help="print the rows as JSON and nothing else")


def run(args: argparse.Namespace) -> int:
    """Runs what is missing, then reports; 0 when everything is there."""
    if (args.out is None) == (args.show is None):
        raise ConfigError("expected one of --out and --show, got both or none; give --out DIR to run ablations")
    if args.show is not None:
        from prune_env.agents.ablation_records import load

        return _report(load(args.show), args)
    with long_work("loading torch and stable-baselines3") as report:
        from prune_env.comparison.ablation_run import run as run_plan

        plan = plan_of(args)
        if args.dry_run:
            return _say_missing(plan, args.out)
        jobs = cores() if args.jobs is None else _whole(args.jobs, "a number of processes")
        if jobs < 1:
            raise ConfigError(f"expected at least one process, got --jobs {jobs}; leave it out for one a core")
        records = run_plan(plan, args.out, jobs, report)
    return _report(records, args)


def plan_of(args: argparse.Namespace) -> Plan:
    """Returns the ablations that the arguments describe.

    Raises:
        ConfigError: A number that is none, or no victim.
        UnknownNameError: A victim or a variant that is not there.
    """
    from prune_env.agents.ablations import VARIANTS
    from prune_env.comparison.ablation_run import Plan

    victims = split(args.victim)
    if not victims:
        raise ConfigError("expected --victim with at least one tabular twin, got none; tiny-style is one")
    seeds = range(_whole(args.seeds, "a number of seeds"))
    variants = split(args.variants) or list(VARIANTS)
    return Plan(tuple(victims), tuple(seeds), tuple(variants), _whole(args.steps, "a number of steps"))


def _say_missing(plan: Plan, out: Path) -> int:
    from prune_env.comparison.ablation_run import missing

    left = missing(plan, out)
    console().print(
        f"{len(left.found)} of {len(plan.cells)} trainings are there; {len(left.cells)} to run, with {left.steps:,} "
        "environment steps",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _report(records: list[Ablation], args: argparse.Namespace) -> int:
    from prune_env.comparison.ablation_report import markdown, rows_of, update_readme

    changed = update_readme(args.update, records) if args.update is not None else False
    if args.json:
        rows = [{**asdict(row), "outcome": row.outcome} for row in rows_of(records)]
        print(json.dumps({"rows": rows}, indent=2, allow_nan=False))  # noqa: T201
        return 0
    text = [markdown(records)]
    if args.update is not None:
        text.append(f"{args.update}: {'written' if changed else 'already up to date'}")
    console().print("\n\n".join(text), markup=False, highlight=False, soft_wrap=True)
    return 0


def _whole(text: str, what: str) -> int:
    return numbers([text], whole, what, "10")[0]
