"""`prune-env compare`: learned agents, scripts and searchers at the same number of evaluations."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.cli.arguments import cores, split
from prune_env.cli.compare_plan import print_plan
from prune_env.cli.terminal import console, long_work
from prune_env.comparison import CONTESTANTS
from prune_env.errors import ConfigError

if TYPE_CHECKING:
    from prune_env.comparison.cells import Settings
    from prune_env.comparison.plan import Plan
    from prune_env.comparison.trials import Trial

HELP = "compare learned agents, scripts and searchers at equal budgets of evaluations"

SEARCHERS = ("random", "greedy", "annealing", "evolution", "scripts")
ONE_EACH = (
    "script-gradient",
    "script-layer-wise",
    "script-bayesian",
    "script-anp",
    "script-pure",
    "script-epsilon-greedy",
)
LEARNERS = ("linear", "linear-slots", "ppo", "ppo-mlp", "maskable-ppo", "a2c", "dqn")
TRAINED = ("trained-linear", "trained-ppo", "trained-maskable-ppo")

DEFAULTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "tabular": ((*SEARCHERS, *LEARNERS), ("50", "200", "1000", "5000"), "10"),
    "family": ((*SEARCHERS, *ONE_EACH, *TRAINED), ("episode",), "10"),
    "real": (("random", "annealing", "evolution", "scripts", "trained-ppo"), ("20", "200"), "3"),
}
"""Experiment -> contestants, budgets, number of seeds."""

TRAIN_STEPS = "400000"
"""Environment steps of a training before the comparison, as `prune_env.agents.family` has it."""

EPISODE = "episode"
"""As a budget: as many evaluations as one episode may use."""

_EXAMPLES = """\
examples:
  prune-env compare --experiment tabular --victims tiny-syntactic --budgets 50,200 --seeds 3 --out runs/first
  prune-env compare --experiment tabular --out runs/tabular --jobs 8
  prune-env compare --experiment family --out runs/family
  prune-env compare --experiment real --victims victims/hiddenkiller-minilm --data data --out runs/real
  prune-env compare --experiment real --victims tiny-style --contestants random,scripts --budgets 5,20 --seeds 1 \\
    --fine-tune --out runs/live
  prune-env compare --show runs/tabular/trials.jsonl runs/family/trials.jsonl --out report --update README.md
A second run with the same --out does only what is missing, after Ctrl-C or a crash too. --dry-run says what that is.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is compared, what is held fixed, and where it goes."""
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--experiment", choices=sorted(DEFAULTS), help="tabular: trained and judged on each twin; family: trained on "
        "some victims, judged on others; real: the same, judged on live victims")  # fmt: skip
    add("--show", nargs="+", type=Path, metavar="TRIALS", help="run nothing, report finished trials")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of trials, trained agents and the report")
    add("--victims", nargs="+", default=[], metavar="V", help="twins, sets of twins or, for real, folders "
        "(default: the embedded twins, for family its test set)")  # fmt: skip
    add("--contestants", nargs="+", default=[], metavar="C", help=f"among {', '.join(CONTESTANTS)} (default: the "
        "experiment's)")  # fmt: skip
    add("--budgets", nargs="+", default=[], metavar="N", help=f"evaluations; {EPISODE!r} is one a head and one more "
        "(default: the experiment's)")  # fmt: skip
    add("--seeds", metavar="N", help="how many, from 0 (default: the experiment's)")
    add("--train-on", default="family-train", metavar="SET", help="twins that agents are trained on before "
        "(default: %(default)s)")  # fmt: skip
    add("--train-steps", default=TRAIN_STEPS, metavar="N", help="environment steps of that training "
        "(default: %(default)s)")  # fmt: skip
    add(
        "--on-violation",
        default="terminate",
        help="rule of the agents' environment, in training and judgement alike (default: %(default)s)",
    )
    add("--data", metavar="DIR", help="data folder of victims on real data (default: PRUNE_ENV_DATA)")
    add("--device", default="cpu", help="where masks of live victims are evaluated: cpu, cuda, cuda:N (default: cpu)")
    add("--dtype", default="float32", help="arithmetic of the search on live victims, float32 or bfloat16; what is "
        "found is judged in float32 (default: float32)")  # fmt: skip
    add("--fine-tune", action="store_true", help="with real alone: carry each found mask through the whole "
        "defence, a fine-tuning a mask, and report what remains of the backdoor, a diagnosis")  # fmt: skip
    add("--jobs", metavar="N", help="one-thread processes side by side (default: the number of cores)")
    add("--dry-run", action="store_true", help="say what is compared, what is missing and about how long it takes, "
        "and run nothing")  # fmt: skip
    add("--update", type=Path, metavar="README", help="write the report between this file's markers")
    add("--json", action="store_true", help="print the rows as JSON and nothing else")


def run(args: argparse.Namespace) -> int:
    """Runs what is missing, then reports; 0 when everything is there."""
    if (args.experiment is None) == (args.show is None):
        got = "none" if args.show is None else "both"
        raise ConfigError(f"expected one of --experiment and --show, got {got}; name an experiment to run it")
    if args.show is not None:
        _refuse_what_runs(args)
        from prune_env.comparison.trials import load

        return _report(load(args.show), args)
    with long_work("looking at what is there") as report:
        from prune_env.comparison.run import run as run_plan

        plan, settings = plan_of(args), settings_of(args)
        remedy = "leave it out for one a core"
        jobs = cores() if args.jobs is None else _count(args.jobs, "--jobs to be at least one process", remedy)
        if args.dry_run:
            print_plan(plan, settings, jobs)
            return 0
        trials = run_plan(plan, settings, jobs, report)
    return _report(trials, args)


def _refuse_what_runs(args: argparse.Namespace) -> None:
    """Refuses, beside --show, what says how something runs: nothing does.

    Raises:
        ConfigError: Such an option.
    """
    asked = {"--victims": args.victims, "--contestants": args.contestants, "--budgets": args.budgets}
    asked |= {"--seeds": args.seeds, "--fine-tune": args.fine_tune, "--dry-run": args.dry_run, "--jobs": args.jobs}
    given = [name for name, value in asked.items() if value]
    if given:
        raise ConfigError(f"expected --show alone to report finished trials, got {', '.join(given)} too; leave it out")


def plan_of(args: argparse.Namespace) -> Plan:
    """Returns the experiment that the arguments describe.

    Raises:
        ConfigError: A budget or number of seeds that is none, or victims that are missing.
    """
    from prune_env.comparison.plan import Plan

    contestants, budgets, seeds = DEFAULTS[args.experiment]
    asked = split(args.budgets) or list(budgets)
    expected = f"--budgets to be whole numbers of at least one evaluation, or {EPISODE!r}"
    several = "--seeds to be how many seeds, a whole number of at least one"
    return Plan(
        args.experiment,
        victims_of(args.experiment, split(args.victims)),
        tuple(split(args.contestants) or contestants),
        tuple(None if text == EPISODE else _count(text, expected, "such as --budgets 50,200") for text in asked),
        tuple(range(_count(args.seeds or seeds, several, "--seeds 3 runs the seeds 0, 1 and 2"))),
    )


def victims_of(experiment: str, asked: list[str]) -> tuple[str, ...]:
    """Returns the victims of an experiment: those asked for, sets of twins spelled out, or its own.

    Raises:
        ConfigError: None.
    """
    from prune_env.tabular.registry import SPLITS, list_twins

    names = asked or {"tabular": ["embedded"], "family": ["family-test"], "real": []}[experiment]
    found = [one for name in names for one in (list_twins(name) if name in SPLITS else [name])]
    if not found:
        raise ConfigError(f"expected victims for the experiment {experiment}, got none; name them with --victims")
    return tuple(dict.fromkeys(found))


def settings_of(args: argparse.Namespace) -> Settings:
    """Returns what the arguments hold fixed.

    Raises:
        ConfigError: A number of steps that is none.
    """
    from prune_env.comparison.cells import Settings

    wanted = "--train-steps to be a whole number of at least one"
    steps = _count(args.train_steps, wanted, f"{TRAIN_STEPS} is the default")
    settings = Settings(args.out, args.data, args.train_on, steps)
    return replace(settings, mode=args.on_violation, device=args.device, dtype=args.dtype, fine_tune=args.fine_tune)


def _report(trials: list[Trial], args: argparse.Namespace) -> int:
    from prune_env.comparison.remaining import remainders
    from prune_env.comparison.report import by_experiment, markdown, update_readme, write
    from prune_env.comparison.rows import rows_of

    paths = write(trials, args.out)
    changed = update_readme(args.update, trials) if args.update is not None else False
    if args.json:
        rows = {name: [vars(row) for row in rows_of(group)] for name, group in by_experiment(trials).items()}
        defended = [vars(one) for group in by_experiment(trials).values() for one in remainders(group)]
        found = {"rows": rows, "defended": defended, "files": [str(path) for path in paths]}
        print(json.dumps(found, indent=2, allow_nan=False))  # noqa: T201
        return 0
    text = [markdown(trials), "\n".join(["Written:", *map(str, paths)])]
    if args.update is not None:
        text.append(f"{args.update}: {'written' if changed else 'already up to date'}")
    console().print("\n\n".join(text), markup=False, highlight=False, soft_wrap=True)
    return 0


def _count(text: str, expected: str, remedy: str) -> int:
    """Reads a whole number of at least one; else the error says what was expected, and what to do."""
    found = int(text) if text.isdecimal() and text.isascii() else 0
    if found < 1:
        raise ConfigError(f"expected {expected}, got {text!r}; {remedy}")
    return found
