"""The table of a benchmark: in a terminal, in Markdown, as JSON, and in the README between its markers.

python -m prune_env.baselines.report baselines/results --update README.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from prune_env.baselines.noise import Noise
from prune_env.baselines.reading import reading
from prune_env.baselines.summary import REFERENCE, Row, Spread, rate_text, summarise
from prune_env.errors import PruneEnvError, RecordError
from prune_env.markers import write_between
from prune_env.metrics import Interval
from prune_env.records import Record, read_records

__all__ = [
    "Row", "as_json", "load", "main", "markdown_table", "reading", "rich_table", "summarise", "update_readme",
]  # fmt: skip

START, END = "<!-- table:start -->", "<!-- table:end -->"

COLUMNS = (
    "method", "rate", "heads kept", "evaluations", "ACC", "LFR", "AUC", "floor", "above floor", "removed", "seconds",
)  # fmt: skip

ONE_SEED = "°"
"""Marks noise over sentences where one seed has none over seeds."""

LEGEND = (
    f"Percent; mean ± standard deviation over seeds, or, marked {ONE_SEED}, one seed's standard error over test "
    "sentences (AUC: DeLong); in brackets 95 % intervals over test sentences (paired bootstrap "
    "of the mean over seeds), which cover neither the defender's seed nor the attacker: `prune-env report` gives "
    "intervals that do. Removed is blank where ft's LFR is not above its floor beyond noise."
)


def load(paths: Iterable[Path]) -> list[Record]:
    """Reads records from files, and from every .jsonl file of folders.

    Raises:
        RecordError: A path that is not there, no records in it, or malformed ones.
    """
    records: list[Record] = []
    for path in paths:
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        found = [record for file in files for record in read_records(file)]
        if not found:
            raise RecordError(f"expected records in {path}, found none; give the records.jsonl of a bench")
        records += found
    return records


def rich_table(rows: Sequence[Row]) -> Group:
    """Returns one table a victim, for `rich.console.Console.print`."""
    parts: list[Table | Text] = []
    for title, group in _by_victim(rows):
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)
        for name in COLUMNS:
            header = name.replace(" ", "\n").replace("evaluations", "evalu-\nations")
            table.add_column(header, justify="left" if name == "method" else "right")
        for cells in _cells(group):
            # Noise on a second line, or eleven columns would not fit a terminal.
            table.add_row(*(cell.replace(" ± ", "\n±").replace(" [", "\n[").replace(" (", "\n(") for cell in cells))
        parts.append(table)
    return Group(*parts, Text(LEGEND, style="dim"))


def markdown_table(rows: Sequence[Row]) -> str:
    """Returns one Markdown table a victim, each under its title, and the legend."""
    parts = []
    for title, group in _by_victim(rows):
        ruler = ("---", *("---:" for _ in COLUMNS[1:]))
        lines = (f"| {' | '.join(cells)} |" for cells in (COLUMNS, ruler, *_cells(group)))
        parts.append("\n".join([f"**{title}**", "", *lines]))
    return "\n\n".join([*parts, LEGEND])


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns the rows as JSON values; rates in [-1, 1], None where undefined."""
    names = [field.name for field in fields(Row) if field.name != "excess"]
    objects = []
    for row in rows:
        values = {name: _plain(getattr(row, name)) for name in names}
        objects.append({**values, "excess_by_seed": {str(seed): value for seed, value in row.by_seed.items()}})
    return objects


def _plain(value: Any) -> Any:
    """Returns a row's field as JSON values."""
    if isinstance(value, Spread | Interval | Noise):
        return asdict(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


def update_readme(readme: Path, records: Iterable[Record]) -> bool:
    """Writes the reading and the table between the README's markers.

    Returns:
        Whether the file changed.

    Raises:
        OutputError: No README, or one without the two markers.
    """
    rows = summarise(records)
    return write_between(readme, (START, END), f"{reading(rows)}\n\n{markdown_table(rows)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table of records, or writes it into a README; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m prune_env.baselines.report", description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path, nargs="+", help="records.jsonl files, or folders of .jsonl files")
    parser.add_argument("--update", type=Path, metavar="README", help="write the table between this file's markers")
    args = parser.parse_args(argv)
    try:
        records = load(args.records)
        if args.update is not None:
            changed = update_readme(args.update, records)
            sys.stdout.write(f"{args.update}: {'written' if changed else 'already up to date'}\n")
            return 0
        rows = summarise(records)
    except PruneEnvError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    Console().print(reading(rows), rich_table(rows), sep="\n\n", markup=False, highlight=False)
    return 0


def _by_victim(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Groups rows under one title for each victim and protocol."""
    groups = []
    for (victim, protocol), found in groupby(rows, key=lambda row: (row.victim, row.protocol)):
        group = list(found)
        seeds = sorted({seed for row in group for seed in row.seeds})
        noun = "seed" if len(seeds) == 1 else "seeds"
        attack = "" if group[0].attack in victim else f"attack {group[0].attack}, "
        groups.append((f"{victim} ({attack}protocol {protocol}, {noun} {', '.join(map(str, seeds))})", group))
    return groups


def _cells(group: Sequence[Row]) -> list[tuple[str, ...]]:
    names = [(row.method, row.learning_rate) for row in group]
    most = max(len(row.seeds) for row in group)
    return [
        (
            _name(row, ambiguous=names.count((row.method, row.learning_rate)) > 1, seeds=most),
            rate_text(row.learning_rate),
            _count(row.heads_kept, row.heads),
            _count(row.evaluations),
            _percent(row.acc, row.noise["acc"]),
            _percent(row.lfr, row.noise["lfr"]),
            _percent(row.auc, row.noise["auc"]),
            "" if row.floor is None else _percent(row.floor, row.noise["floor"]),
            _interval(row.above_floor),
            "reference" if row.method == REFERENCE else _interval(row.removed),
            _count(row.seconds),
        )
        for row in group
    ]


def _name(row: Row, ambiguous: bool, seeds: int) -> str:
    """Names a row, and whatever sets it apart from the rows around it."""
    notes = [row.regime] if row.regime != "clean_only" else []
    notes += [row.constraint] if ambiguous and row.constraint else []
    notes += [f"{len(row.seeds)} of {seeds} seeds"] if len(row.seeds) < seeds else []
    return f"{row.method} ({', '.join(notes)})" if notes else row.method


def _percent(spread: Spread, noise: Noise) -> str:
    """Writes a mean with its standard deviation over seeds; of one seed, with the marked standard error."""
    beside = f"{100 * noise.error:.1f}{ONE_SEED}" if spread.sd is None else f"{100 * spread.sd:.1f}"
    return f"{100 * spread.mean:.1f} ± {beside}"


def _count(spread: Spread, total: int | None = None) -> str:
    of = "" if total is None else f"/{total}"
    if not spread.sd:
        return f"{spread.mean:.0f}{of}"
    return f"{spread.mean:.1f}{of} ± {spread.sd:.1f}"


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    # Adding zero turns a negative zero into a positive one.
    value, low, high = (f"{round(100 * x, 1) + 0.0:.1f}" for x in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
