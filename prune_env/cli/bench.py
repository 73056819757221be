"""`prune-env bench`: victims x methods x seeds x rates, and the table that comes of them."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.cli.arguments import add_constraint, constraint_of, cores, numbers, split, whole
from prune_env.cli.terminal import console, long_work
from prune_env.errors import ConfigError

if TYPE_CHECKING:
    from prune_env.baselines.benchmark import Grid
    from prune_env.baselines.cells import Settings
    from prune_env.records import Record

HELP = "compare methods on victims: a table of ACC and LFR, with records, logs and head maps"

METHODS = ("ft", "random", "gradient", "epsilon-greedy")
SEEDS = ("11", "12")
HEAD_MAPS = "head_maps"

_EXAMPLES = """\
examples:
  prune-env bench --out runs/first
  prune-env bench --victim tiny-syntactic tiny-style --methods ft,gradient --seeds 11,12,13 --out runs/tiny
  prune-env bench --victim victims/hiddenkiller-minilm --data data --learning-rates 2e-5,1e-4 --out runs/real
A second run with the same --out does only what is missing, after Ctrl-C or a crash too.
"""


@dataclass(frozen=True)
class Result:
    """What a run leaves behind: its records, and the head maps drawn of them."""

    records: list[Record]
    settings: Settings
    head_maps: list[Path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the grid, what it holds fixed, and how it is run."""
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add(
        "--victim",
        nargs="+",
        default=[],
        metavar="V",
        help="embedded names or folders (default: every embedded victim)",
    )
    add("--methods", nargs="+", default=list(METHODS), metavar="M", help=f"methods (default: {','.join(METHODS)})")
    add("--seeds", nargs="+", default=list(SEEDS), metavar="N", help=f"defender's seeds (default: {','.join(SEEDS)})")
    add(
        "--learning-rates",
        nargs="+",
        metavar="R",
        help="rates of the final fine-tuning, such as 2e-5,1e-4 (default: the protocol's own)",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="folder of records, logs and head maps")
    add("--protocol", metavar="P", help="the defender's data and fine-tuning (default: each victim's own)")
    add("--data", metavar="DIR", help="data folder of victims on real data (default: PRUNE_ENV_DATA)")
    add_constraint(parser, "what each victim's manifest recommends")
    add("--jobs", metavar="N", help="one-thread processes side by side (default: the number of cores)")
    add("--device", default="cpu", help="where masks are evaluated: cpu, cuda, cuda:N (default: cpu)")
    add("--dtype", default="float32", help="arithmetic of the search: float32 or bfloat16 (default: float32)")
    add("--json", action="store_true", help="print the result as JSON and nothing else")


def run(args: argparse.Namespace) -> int:
    """Runs what is missing, then prints the table; 0 when everything is there."""
    with long_work("loading torch and transformers"):
        from prune_env.baselines import benchmark

        grid, settings = _grid(args), _settings(args)
    jobs = cores() if args.jobs is None else numbers([args.jobs], whole, "a number of processes", "2")[0]
    if jobs < 1:
        raise ConfigError(f"expected at least one process, got --jobs {jobs}; leave it out for one a core")
    with long_work("looking at what is there") as report:
        records = benchmark.run(grid, settings, jobs, report)
        result = Result(records, settings, _save_head_maps(records, settings.out))
    (_print_json if args.json else _print)(result)
    return 0


def _grid(args: argparse.Namespace) -> Grid:
    from prune_env.baselines.benchmark import Grid
    from prune_env.methods import get_method
    from prune_env.victims.store import embedded_names

    methods = tuple(split(args.methods))
    for method in methods:
        get_method(method)
    rates: tuple[float | None, ...] = (None,)
    if args.learning_rates is not None:
        rates = tuple(numbers(args.learning_rates, float, "learning rates", "2e-5,1e-4"))
    victims = tuple(split(args.victim) or embedded_names())
    if not victims or not methods:
        raise ConfigError(
            f"expected victims and methods, got {len(victims)} and {len(methods)}; name at least one each"
        )
    return Grid(victims, methods, tuple(numbers(args.seeds, whole, "seeds", "11,12")), rates)


def _settings(args: argparse.Namespace) -> Settings:
    from prune_env.baselines.cells import Settings

    constraint = tuple(constraint_of(args).items())
    return Settings(args.out, args.protocol, args.data, constraint, args.device, args.dtype)


def _save_head_maps(records: list[Record], out: Path) -> list[Path]:
    """Draws every mask that prunes something, once for all rates."""
    from prune_env.records import read_records
    from prune_env.render import save_head_map
    from prune_env.tensorboard import head_map, names, picture_name

    pictures = names(read_records(out / "records.jsonl"), picture_name)
    paths: dict[Path, Record] = {}
    for record in _masked(records):
        paths.setdefault(out / HEAD_MAPS / f"{pictures.get(record.key, picture_name(record))}.png", record)
    return [save_head_map(head_map(record), path) for path, record in paths.items()]


def _masked(records: list[Record]) -> list[Record]:
    return [record for record in records if record.role == "victim" and "0" in record.mask]


def _print(result: Result) -> None:
    from prune_env.baselines.report import terminal
    from prune_env.baselines.tables.document import make_document
    from prune_env.render import head_map_text
    from prune_env.tensorboard import FOLDER, head_map

    to, out = console(), result.settings.out
    show = to.print
    show(terminal(make_document(result.records), to.width))
    for record in _shown(result.records):
        show(f"\n{head_map_text(head_map(record))}", markup=False, highlight=False)
    show(
        f"\nRecords:     {out / 'records.jsonl'} (check them with `prune-env replay`)\n"
        f"TensorBoard: tensorboard --logdir {out / FOLDER}\n"
        f"Head maps:   {out / HEAD_MAPS} ({len(result.head_maps)} pictures)",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _shown(records: list[Record]) -> list[Record]:
    """Returns one pruned record a victim: of a strategy or our own if there is one, of the lowest seed."""
    from prune_env.methods import kind_of

    later = ("baseline", "control")
    shown: dict[str, Record] = {}
    for record in sorted(_masked(records), key=lambda one: (one.victim, kind_of(one.method) in later, one.seed)):
        shown.setdefault(record.victim, record)
    return list(shown.values())


def _print_json(result: Result) -> None:
    from prune_env.baselines.tables.document import as_json, make_document
    from prune_env.tensorboard import FOLDER

    out = result.settings.out
    content = {
        **as_json(make_document(result.records)),
        "records": str(out / "records.jsonl"),
        "tensorboard": str(out / FOLDER),
        "head_maps": [str(path) for path in result.head_maps],
    }
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))  # noqa: T201
