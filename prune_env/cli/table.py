"""`prune-env table`: the paper's table by one command, resumable at every cell."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune_env.cli.arguments import cores, numbers, split, whole
from prune_env.cli.table_plan import Order, print_plan
from prune_env.cli.terminal import console, long_work
from prune_env.errors import ConfigError

if TYPE_CHECKING:
    from prune_env.baselines.cells import Settings
    from prune_env.baselines.presets import Preset
    from prune_env.baselines.table_run import Taken
    from prune_env.records import Record

HELP = "run the paper's table: every method, its controls and matched floors, on embedded or real victims"

PRESETS = ("paper-embedded", "paper")

_REAL = {
    "--victims": "victims",
    "--attacks": "attacks",
    "--backbone": "backbone",
    "--attacker-seeds": "attackers",
    "--data": "data",
}
"""Arguments of victims on real data alone, by flag."""

_EXAMPLES = """\
examples:
  prune-env table --preset paper-embedded --out runs/embedded
  prune-env table --preset paper-embedded --methods ft,gradient,random-third --seeds 11 --out runs/small
  prune-env table --preset paper --victims victims --data data --out runs/paper --dry-run
  prune-env table --preset paper --victims victims --data data --out runs/paper
  prune-env table --preset paper --victims victims --data data --out runs/paper --from baselines/results/minilm.jsonl
  prune-env table --preset paper --attacker-seeds 11,12,13 --methods all --victims victims --data data --out runs/paper
  prune-env table --preset paper --attacks hiddenkiller --attacker-seeds 11,12,13 --rates 2e-5 \\
    --protocol phrases-200 --methods ft,random-third,restart --victims victims --data data --out runs/paper

`paper` goes attacker by attacker: builds the victims that --victims lacks (hours each), then runs their cells. The
defender's seed is the attacker's unless --seeds gives others. A second run with the same --out does only what is
missing, after Ctrl-C or a crash too; --dry-run says what that is, what it needs and about how long it takes.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the preset, what may be changed of it, and how it is run."""
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--preset", required=True, choices=PRESETS, help="which table")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of records, logs and the report")
    add("--methods", nargs="+", default=[], metavar="M", help="methods, or `all` (default: all for paper-embedded; the "
        "primary ones for paper, where `all` is without as-released ones)")  # fmt: skip
    add("--seeds", nargs="+", metavar="N", help="defender's seeds (default: 11 to 15; for paper, each attacker's own)")
    add("--rates", nargs="+", metavar="R", help="rates of the final fine-tuning (default: the protocol's own; for "
        "paper, 2e-5,1e-4)")  # fmt: skip
    add("--protocol", metavar="P", help="the defender's data and fine-tuning, such as phrases, phrases-15k, sentences "
        "(default: each victim's own; for paper, phrases-15k)")  # fmt: skip
    add("--from", dest="given", nargs="+", type=Path, default=[], metavar="FILE", help="records made elsewhere: those "
        "that belong to this table are copied to --out first, and their cells not run again")  # fmt: skip
    add("--dry-run", action="store_true", help="list what is missing and about how long it takes, and do nothing")
    add("--jobs", metavar="N", help="one-thread processes side by side (default: the number of cores)")
    add("--device", default="cpu", help="where victims are built and cells computed: cpu, cuda, cuda:N (default: cpu)")
    group = parser.add_argument_group("victims of the preset paper")
    add = group.add_argument
    add("--victims", type=Path, metavar="DIR", help="folder of victims; missing ones are built there, named "
        "ATTACK-BACKBONE-sSEED")  # fmt: skip
    add("--attacks", nargs="+", metavar="A", help="attacks (default: hiddenkiller,stylebkd-poetry)")
    add("--backbone", metavar="B", help="what attackers start from: minilm, a Hugging Face id, a folder (default: "
        "minilm)")  # fmt: skip
    add("--attacker-seeds", dest="attackers", nargs="+", metavar="N", help="attacker's seeds (default: 11 to 16)")
    add("--data", metavar="DIR", help="data folder (default: PRUNE_ENV_DATA)")


def run(args: argparse.Namespace) -> int:
    """Does what is missing and prints the report, or says what is missing; 0 when that is done."""
    with long_work("loading torch and transformers"):
        order = _ordered(args)
        from prune_env.baselines.table_run import check, run_table, take
    preset, parts, settings = order.preset, order.parts, order.settings
    if args.dry_run:
        return _dry_run(order, args.given)
    if order.given:
        check(preset, parts, settings)
        _print_taken(take(parts, settings, order.given), args.given, "were taken")
    with long_work("looking at what is there") as report:
        records = run_table(preset, parts, settings, order.jobs, report)
    _print_report(records, settings)
    return 0


def _ordered(args: argparse.Namespace) -> Order:
    from prune_env.baselines.cells import Settings
    from prune_env.baselines.presets import stages

    jobs = cores() if args.jobs is None else numbers([args.jobs], whole, "a number of processes", "2")[0]
    if jobs < 1:
        raise ConfigError(f"expected at least one process, got --jobs {jobs}; leave it out for one a core")
    preset = preset_of(args)
    parts = stages(preset, args.victims, args.data)
    settings = Settings(args.out, preset.protocol, args.data, device=args.device)
    return Order(preset, parts, settings, _records_of(args.given), jobs)


def _dry_run(order: Order, files: Sequence[Path]) -> int:
    """Says what is missing, how long it takes and what it needs; wants no data and writes nothing."""
    from prune_env.baselines.needs import needs
    from prune_env.baselines.remaining import clock_of, remaining
    from prune_env.baselines.table_run import as_if_taken, check

    check(order.preset, order.parts, order.settings, with_data=False)
    with long_work("looking at what is there"), as_if_taken(order.parts, order.settings, order.given) as (trial, taken):
        clock = clock_of(order.parts, trial)
        left = [remaining(part, trial, clock) for part in order.parts]
        wanted = needs(order.parts, left, trial)
    print_plan(order, left, wanted)
    _print_taken(taken, files, "would be taken")
    return 0


def _records_of(files: Sequence[Path]) -> list[Record]:
    """Reads the records of all files.

    Raises:
        ConfigError: A file that is not there.
        RecordError: One that holds something else.
    """
    from prune_env.records import read_records

    for file in files:
        if not file.is_file():
            found = "a folder; give a file in it" if file.is_dir() else "none; check the path, or leave --from out"
            raise ConfigError(f"expected a file of records, such as records.jsonl, at --from {file}, found {found}")
    return [record for file in files for record in read_records(file)]


def _print_taken(taken: Taken, files: Sequence[Path], what: str) -> None:
    if not files:
        return
    words = f"{taken.records} records {what} from {', '.join(map(str, files))}"
    if taken.uncertified:
        words += (
            f"; {taken.uncertified} of them do not know the accuracy on certify after fine-tuning, by which the rate "
            "is chosen"
        )
    console().print(f"{words}.", markup=False, highlight=False, soft_wrap=True)


def preset_of(args: argparse.Namespace) -> Preset:
    """Returns the preset with what the arguments change of it.

    Raises:
        ConfigError: An argument that the preset has no use for.
    """
    from prune_env.baselines.presets import get_preset, selected

    preset = get_preset(args.preset)
    if preset.victims:
        given = [flag for flag, name in _REAL.items() if getattr(args, name) is not None]
        if given:
            raise ConfigError(
                f"preset {preset.name!r} has embedded victims, which leaves nothing to say for {given[0]}; leave it "
                "out, or take --preset paper"
            )
    changes: dict[str, Any] = {"methods": selected(split(args.methods), preset.methods, bool(preset.victims))}
    if args.seeds is not None:
        changes["seeds"] = tuple(numbers(args.seeds, whole, "seeds", "11,12"))
    if args.rates is not None:
        changes["rates"] = tuple(numbers(args.rates, float, "learning rates", "2e-5,1e-4"))
    if args.attackers is not None:
        changes["attackers"] = tuple(numbers(args.attackers, whole, "attacker's seeds", "11,12"))
    if args.attacks is not None:
        changes["attacks"] = tuple(split(args.attacks))
    changes |= {name: getattr(args, name) for name in ("protocol", "backbone") if getattr(args, name) is not None}
    return replace(preset, **changes)


def _print_report(records: list[Record], settings: Settings) -> None:
    from prune_env.baselines.tables.document import make_document, write
    from prune_env.cli.report import DRAWS, show_document

    document = make_document(records, 0, DRAWS)
    show_document(document, write(document, settings.out))
    show = console().print
    show(f"{settings.out / 'records.jsonl'} (check them with `prune-env replay`)", highlight=False, soft_wrap=True)
