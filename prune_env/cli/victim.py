"""`prune-env victim`: builds victims and the family, lists, describes and checks them, prepares a defender's task."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from prune_env.cli import family
from prune_env.cli.terminal import console
from prune_env.errors import ConfigError, InterruptedRunError, ReplayMismatchError
from prune_env.victims.attacks import ATTACKS
from prune_env.victims.recipe import Recipe
from prune_env.victims.training_config import PRECISIONS, TrainingConfig

HELP = "build a backdoored model, look at one, check it, or prepare a defender's task"

TASK_SEED = 11
_EXAMPLES = """\
examples:
  prune-env victim list
  prune-env victim info tiny-syntactic
  prune-env victim build hiddenkiller-minilm --attack hiddenkiller --data data --out victims --twin
  prune-env victim verify victims/hiddenkiller-minilm --measure
  prune-env victim task victims/hiddenkiller-minilm --data data --seed 11
  prune-env victim ACTION --help
"""
_BUILD_EXAMPLES = """\
examples:
  prune-env victim build hiddenkiller-minilm --attack hiddenkiller --data data --out victims --twin
  prune-env victim build cf --attack rare-word --option words=cf --poison-rate 0.3 --data data --out victims
  prune-env victim build mine --attack paired-files --option folder=rewritten --data data --out victims
  prune-env victim build deep --attack layer-wise --option trigger=hiddenkiller --data data --out victims
After Ctrl-C or a crash the same command goes on at the last finished epoch; a finished victim is left as it is.
"""
_EXAMPLES_OF = {
    "build": _BUILD_EXAMPLES,
    "family": family.EXAMPLES,
    "list": "examples:\n  prune-env victim list\n  prune-env victim list victims\n",
    "info": "examples:\n  prune-env victim info tiny-syntactic\n  prune-env victim info victims/mine\n",
    "verify": "examples:\n  prune-env victim verify tiny-syntactic\n  prune-env victim verify victims/mine --measure\n",
    "task": "examples:\n  prune-env victim task tiny-syntactic --seed 12\n"
    "  prune-env victim task victims/mine --protocol phrases --data data\n",
}

OnStep = Callable[[str, int, int], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions build, family, list, info, verify and task."""
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        style = argparse.RawDescriptionHelpFormatter
        full = f"{text[0].upper()}{text[1:]}."
        return actions.add_parser(name, help=text, description=full, epilog=_EXAMPLES_OF[name], formatter_class=style)

    _add_build(action("build", "poison SST-2, train a model on it, and write the victim's folder"))
    family.add_arguments(action("family", "build the family of tiny victims that agents learn and are judged on"))
    listing = action("list", "list the embedded victims and those in a folder")
    listing.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="a folder of victims")
    _add_victim(action("info", "show what a victim is made of and what was measured"))
    verifying = action("verify", "check the SHA-256 of every file of a victim")
    _add_victim(verifying)
    verifying.add_argument("--measure", action="store_true", help="measure ACC and LFR again and compare, too")
    tasking = action("task", "fine-tune the scoring model of a defender's task ahead of its use")
    _add_victim(tasking)
    add = tasking.add_argument
    add("--seed", type=int, default=TASK_SEED, metavar="N", help="the defender's seed (default: %(default)s)")
    add("--protocol", metavar="P", help="the defender's data and fine-tuning (default: the victim's own)")
    add("--data", metavar="DIR", help="data folder of victims on real data (default: PRUNE_ENV_DATA)")


def _add_victim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("victim", metavar="VICTIM", help="an embedded name or a victim's folder")


def _add_build(parser: argparse.ArgumentParser) -> None:
    default = Recipe("name", "attack")
    add = parser.add_argument
    add("name", metavar="NAME", help="the victim's name, and that of its folder in --out")
    add("--attack", required=True, metavar="A", help=f"one of {', '.join(ATTACKS)}")
    add("--out", type=Path, required=True, metavar="DIR", help="the folder in which the folder NAME is made")
    add("--backbone", default=default.backbone, metavar="B", help="minilm, a Hugging Face id, or a checkpoint folder "
        "of BERT, RoBERTa or DistilBERT (default: %(default)s)")  # fmt: skip
    add("--data", metavar="DIR", help="data folder (default: PRUNE_ENV_DATA)")
    add("--seed", type=int, default=default.seed, metavar="N", help="the attacker's seed (default: %(default)s)")
    add("--twin", action="store_true", help="train the never-poisoned twin too: without it there is no floor")
    add("--poison-rate", type=float, metavar="R", help="poison, as a share of the non-target sentences (default: the "
        "attack's own)")  # fmt: skip
    add("--target", type=int, default=default.target, metavar="L", help="target label (default: %(default)s)")
    add("--labels", type=int, default=default.labels, metavar="N", help="classes in the data (default: %(default)s)")
    add("--device", default="cpu", help="where models are trained: cpu, cuda, cuda:N (default: %(default)s)")
    add("--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the attack; may be repeated")
    group = parser.add_argument_group("training")
    for field in fields(TrainingConfig):
        value = getattr(default.training, field.name)
        choices = PRECISIONS if field.name == "precision" else None
        group.add_argument(
            _flag(field.name),
            type=type(value),
            default=value,
            choices=choices,
            metavar=None if choices else "N" if isinstance(value, int) else "X",
            help="default: %(default)s",
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def run(args: argparse.Namespace) -> int:
    """Does what the action says; 0 when it succeeded, 1 when a victim of the family misses its kind's promise."""
    if args.action == "family":
        return family.run(args)
    actions = {"build": _build, "list": _list, "info": _info, "verify": _verify, "task": _task}
    actions[args.action](args)
    return 0


def recipe_of(args: argparse.Namespace) -> Recipe:
    """Returns the recipe that the arguments of `build` describe.

    Raises:
        ConfigError: A setting outside its range, or an option that is not KEY=VALUE.
    """
    return Recipe(
        name=args.name,
        attack=args.attack,
        backbone=args.backbone,
        seed=args.seed,
        data=args.data,
        poison_rate=args.poison_rate,
        target=args.target,
        training=TrainingConfig(**{field.name: getattr(args, field.name) for field in fields(TrainingConfig)}),
        labels=args.labels,
        options=dict(_option(text) for text in args.option),
    )


def _option(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not (separator and key.isidentifier()):
        raise ConfigError(f"expected an option such as words=cf,bb, got {text!r}; write it as KEY=VALUE")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _build(args: argparse.Namespace) -> None:
    recipe = recipe_of(args)
    folder = args.out / recipe.name
    from prune_env.cli.victim_tables import victim_table
    from prune_env.victims.build import WORK, build_victim
    from prune_env.victims.manifest import MANIFEST

    finished = (folder / MANIFEST).exists()
    with _progress(f"finished epochs are kept in {folder / WORK}") as report:
        victim = build_victim(recipe, folder, twin=args.twin, on_step=report, device=args.device)
    screen = console()
    if finished:
        screen.print(f"{folder} holds this victim, finished: nothing was built.", markup=False, soft_wrap=True)
    screen.print(victim_table(victim))


def _list(args: argparse.Namespace) -> None:
    from prune_env.cli.victim_tables import victims_table
    from prune_env.victims.store import victim_folders

    console().print(victims_table(victim_folders(args.folder)))


def _info(args: argparse.Namespace) -> None:
    from prune_env.cli.victim_tables import victim_table
    from prune_env.victims.store import open_victim

    console().print(victim_table(open_victim(args.victim)))


def _verify(args: argparse.Namespace) -> None:
    from prune_env.cli.victim_tables import rates_table
    from prune_env.victims.measure import remeasure
    from prune_env.victims.store import open_victim

    victim = open_victim(args.victim)
    count, screen = victim.verify(), console()
    screen.print(f"All {count} files in {victim.folder} have the right SHA-256.", markup=False, soft_wrap=True)
    if not args.measure:
        return
    with screen.status("measuring"):
        rates = remeasure(victim)
    screen.print(rates_table(rates))
    off = [row for row in rates if not row.agrees]
    if off or not rates:
        found = f"{off[0].rate} {off[0].found:.4f} where it says {off[0].recorded:.4f}" if off else "no rate in it"
        raise ReplayMismatchError(
            f"expected the rates in the manifest of {victim.name}, got {found}; restore the victim or build it again"
        )


def _task(args: argparse.Namespace) -> None:
    from prune_env.cli.victim_tables import pairs_table
    from prune_env.victims.protocols import get_protocol
    from prune_env.victims.store import open_victim
    from prune_env.victims.task import build_task

    victim = open_victim(args.victim)
    protocol = get_protocol(args.protocol or victim.manifest.protocol)
    with _progress("finished epochs are kept in the cache folder") as report:
        task = build_task(
            victim.suspect,
            protocol,
            args.seed,
            args.data,
            on_step=lambda done, total: report("scoring model", done, total),
        )
    facts = {
        "task": f"{victim.name}, protocol {protocol.name}, seed {task.seed}",
        "sentences": f"{len(task.train)} to train, {len(task.search)} to search, {len(task.certify)} to certify",
        "SHA-256": task.sha256,
        "folder": str(task.folder),
    }
    console().print(pairs_table(facts))


@contextmanager
def _progress(kept: str) -> Iterator[OnStep]:
    """Yields what reports (part, steps done, steps in all) on bars; Ctrl-C becomes an error that says how to resume."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
        TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("to go"),
    )  # fmt: skip
    bars: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=600.0) as progress:

        def report(part: str, done: int, total: int) -> None:
            if part not in bars:
                # The clock of a resumed part starts where it goes on, so that the time to go is right.
                bars[part] = progress.add_task(part, total=total, completed=done - 1)
            progress.update(bars[part], completed=done)

        try:
            yield report
        except KeyboardInterrupt as error:
            raise InterruptedRunError(f"interrupted; {kept}, and the same command goes on from there") from error
