"""`prune-env tabular`: the twins with a known answer: list, build, check, score, and their Pareto fronts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from prune_env.cli.arguments import numbers, split, whole
from prune_env.cli.tabular_tables import TWINS_LEGEND, scores_tables, twins_table
from prune_env.cli.terminal import console, long_work
from prune_env.errors import ConfigError, InterruptedRunError, UnknownNameError
from prune_env.tabular.registry import SPLITS, TWINS, get_twin, list_twins

if TYPE_CHECKING:
    from prune_env.tabular.build import Source
    from prune_env.tabular.twin import TabularTwin

HELP = "tiny victims whose every mask is known: build and check their tables, exact optimum, scores, Pareto fronts"

MASKS = "200"
ROWS = ("16", "64", "256", "1024")
_NAMES = "twins, or sets of them: " + ", ".join(SPLITS)
_EXAMPLES = """\
examples:
  prune-env tabular list
  prune-env tabular scores tiny-syntactic
  prune-env tabular front --out runs/front
  prune-env tabular ACTION --help
"""
_EXAMPLES_OF = {
    "list": "examples:\n  prune-env tabular list\n  prune-env tabular list --twins runs/twins\n",
    "build": "examples:\n  prune-env tabular build tiny-syntactic --out runs/twins\n"
    "  prune-env tabular build --family runs/family --out runs/twins\n"
    "  prune-env tabular build --family runs/family style-3x4-s35-ffn --out runs/twins\n"
    "  prune-env tabular build runs/victims/mine --out runs/twins\n"
    "A 4 x 4 victim takes some minutes on one core. An interrupted one goes on at its last finished split; a finished\n"
    "one is left as it is, and refused if its victim was built anew. To ship twins, copy them to\n"
    "prune_env/assets/tabular and write the scores anew.\n",
    "check": "examples:\n  prune-env tabular check tiny-syntactic tiny-style\n"
    "  prune-env tabular check family-test --family runs/family --masks 50\n"
    "The exit status is 1 where a twin is not what the engine computes.\n",
    "scores": "examples:\n  prune-env tabular scores\n  prune-env tabular scores family-test\n"
    "  prune-env tabular scores --out prune_env/assets/tabular/scores.json\n"
    "  prune-env tabular scores --update README.md\n",
    "speed": "examples:\n  prune-env tabular speed\n  prune-env tabular speed family-train --num-envs 64,256\n",
    "front": "examples:\n  prune-env tabular front --out runs/front\n"
    "  prune-env tabular front tiny-syntactic --out runs/front\n",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions list, build, check, scores, speed and front."""
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str, names: str) -> argparse.ArgumentParser:
        style = argparse.RawDescriptionHelpFormatter
        full = f"{text[0].upper()}{text[1:]}."
        made = actions.add_parser(name, help=text, description=full, epilog=_EXAMPLES_OF[name], formatter_class=style)
        made.add_argument("names", nargs="*", metavar="NAME", help=names)
        if name not in ("build", "speed"):
            which = "folder of the twins (default: those that ship)"
            made.add_argument("--twins", type=Path, default=TWINS, metavar="DIR", help=which)
        return made

    action("list", "list the twins and where they come from", f"{_NAMES} (default: all)")
    victims = "victims by embedded name or folder, or by their names in --family (default: all of the family)"
    build = action("build", "evaluate every mask of victims", victims)
    check = action("check", "hold twins to the live engine on random masks", f"{_NAMES} (default: all)")
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that gets a file NAME.twin each")
    for one in (build, check):
        one.add_argument("--family", type=Path, metavar="DIR", help="folder that `victim family` has filled")
        one.add_argument("--data", metavar="DIR", help="data folder of victims on real data (default: PRUNE_ENV_DATA)")
    check.add_argument("--masks", default=MASKS, metavar="N", help=f"random masks a twin (default: {MASKS})")
    check.add_argument("--seed", default="0", metavar="N", help="of their draw (default: 0)")
    scores = action("scores", "print optimum, random play and scripts on each twin", f"{_NAMES} (default: all)")
    scores.add_argument("--out", type=Path, metavar="FILE", help="also write them to this file, as JSON")
    scores.add_argument("--update", type=Path, metavar="README", help="write the published scores' means over sets "
        "between this file's markers, and score nothing")  # fmt: skip
    speed = action("speed", "measure steps a second on one core", "a twin, or sets of them (default: tiny-syntactic)")
    speed.add_argument("--num-envs", nargs="+", default=list(ROWS), metavar="K", help="sub-environments of vector "
        f"environments (default: {','.join(ROWS)})")  # fmt: skip
    front = action("front", "draw the Pareto front of accuracy, size and LFR of each twin", f"{_NAMES} (default: all)")
    front.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the pictures and tables")


def run(args: argparse.Namespace) -> int:
    """Does what the action says; 0 when it succeeded, 1 when a check finds a difference."""
    actions = {"list": _list, "build": _build, "check": _check, "scores": _scores, "front": _front, "speed": _speed}
    return actions[args.action](args)


def _twins(args: argparse.Namespace) -> list[TabularTwin]:
    """Returns the twins that the arguments name: all of the folder for none.

    Raises:
        ConfigError: No twin among them.
        UnknownNameError: No such twin.
    """
    names: list[str] = []
    for name in split(args.names):
        names += list_twins(name, args.twins) if name in SPLITS else [name]
    found = [get_twin(name, args.twins) for name in dict.fromkeys(names or list_twins(None, args.twins))]
    if not found or (args.names and not names):
        raise ConfigError(f"expected twins in {args.twins}, got none of {args.names or 'any name'}; build them first")
    return found


def _list(args: argparse.Namespace) -> int:
    console().print(twins_table(_twins(args)))
    console().print(TWINS_LEGEND, highlight=False)
    return 0


def sources_of(names: list[str], family: Path | None) -> list[Source]:
    """Returns what to build: victims by name or folder, or those of a family's folder, as its table describes them.

    Raises:
        ConfigError: Neither names nor a family.
        ManifestError: A folder without the table of a family.
        UnknownNameError: No such victim in the family.
    """
    from prune_env.tabular.build import Source, read_family

    if family is None:
        if not names:
            raise ConfigError("expected victims to build twins of, got none; name some, or give --family DIR")
        return [Source(name) for name in names]
    known = {source.victim.rpartition("/")[2]: source for source in read_family(family)}
    for name in names:
        if name not in known:
            raise UnknownNameError("victim of the family", name, known)
    return [known[name] for name in names or known]


def _build(args: argparse.Namespace) -> int:
    from prune_env.cache import writable
    from prune_env.tabular.build import build_twin, clear_unfinished
    from prune_env.tabular.twin import SUFFIX, check_victim
    from prune_env.threads import threads
    from prune_env.victims.store import open_victim

    sources = sources_of(split(args.names), args.family)
    writable(args.out)
    try:
        for source in sources:
            victim = open_victim(source.victim)
            name = victim.name
            path = args.out / f"{name}{SUFFIX}"
            if path.is_file():
                check_victim(path, victim.manifest.sha256)
            else:
                with long_work(f"building the twin of {name}") as report, threads(1):
                    twin = build_twin(source, data=args.data, unfinished=args.out, report=report)
                    path = twin.save(args.out)
                clear_unfinished(name, args.out)
            print(f"{path}: {path.stat().st_size:,} bytes")  # noqa: T201
    except KeyboardInterrupt as error:
        kept = f"interrupted; finished twins and splits are kept in {args.out}"
        raise InterruptedRunError(f"{kept}, and the same command goes on from there") from error
    return 0


def _check(args: argparse.Namespace) -> int:
    from prune_env.tabular.check import differences

    (masks,) = numbers([args.masks], whole, "a number of masks", MASKS)
    (seed,) = numbers([args.seed], whole, "a seed", "0")
    found = []
    for twin in _twins(args):
        inside = args.family is not None and (args.family / twin.name).is_dir()
        victim = str(args.family / twin.name) if inside else twin.name
        wrong = differences(twin, victim, masks, seed, args.data)
        verdict = f"{len(wrong)} differences" if wrong else f"{masks} masks and the metrics are the engine's"
        print(f"{twin.name}: {verdict}")  # noqa: T201
        found += wrong
    for sentence in found:
        print(sentence)  # noqa: T201
    return 1 if found else 0


def _scores(args: argparse.Namespace) -> int:
    if args.update is not None:
        if args.names or args.out is not None or args.twins != TWINS:
            raise ConfigError(
                "expected --update alone, which scores nothing, got more; run the two one after the other"
            )
        return _publish(args.update)
    from prune_env.tabular.regret import LEGEND
    from prune_env.tabular.scores import sheet, write_scores

    twins = _twins(args)
    with long_work("scoring") as report:
        done = iter(range(len(twins)))
        content = sheet(twins, lambda name: report(name, next(done), len(twins)))
    if args.out is not None:
        write_scores(content, args.out)
    console().print(scores_tables(content), highlight=False)
    console().print(LEGEND, markup=False, highlight=False, soft_wrap=True)
    return 0


def _publish(path: Path) -> int:
    from prune_env.markers import write_between
    from prune_env.tabular.score_page import MARKERS, scores_markdown
    from prune_env.tabular.scores import read_scores

    changed = write_between(path, MARKERS, scores_markdown(read_scores()))
    print(f"{path}: {'written' if changed else 'already up to date'}")  # noqa: T201
    return 0


def _speed(args: argparse.Namespace) -> int:
    from prune_env.tabular.speed import single_speed, vector_speed

    counts = numbers(args.num_envs, whole, "numbers of sub-environments", "64,256")
    table = Table("victim", "environment", "steps a second", title="one step prunes one head; CPU time, best of three")
    for victim in split(args.names) or ["tiny-syntactic"]:
        table.add_row(victim, "single", f"{single_speed(victim):,.0f}")
        for count in counts:
            table.add_row("", f"vector, {count}", f"{vector_speed(victim, count):,.0f}")
    console().print(table)
    return 0


def _front(args: argparse.Namespace) -> int:
    from prune_env.tabular.front import front_of
    from prune_env.tabular.front_picture import save_front

    for twin in _twins(args):
        for path in save_front(twin.name, twin.meta["kind"], front_of(twin), args.out):
            print(path)  # noqa: T201
    return 0
