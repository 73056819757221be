"""A report in short: in a terminal, and in the README between its markers, with the numbers of `prune-env report`.

python -m prune_env.baselines.report baselines/results --update README.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from prune_env.baselines.tables.columns import Table, compact_legend
from prune_env.baselines.tables.document import Document, make_document, markdown_table
from prune_env.errors import PruneEnvError, RecordError
from prune_env.markers import write_between
from prune_env.records import Record, read_records

START, END = "<!-- table:start -->", "<!-- table:end -->"

POINTS = ("ACC", "LFR", "AUC", "floor")
"""Columns whose intervals a terminal has no room for; those of the outcome stay."""

BARE = "ACC, LFR, AUC and floor have intervals too: in the files of `prune-env report`."

WIDE = 120
"""Columns of a terminal in which an interval stands beside its estimate, and not below it."""

MORE = "Each contrast, what the rate removes by itself, and costs: `prune-env report` on the same records."


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


def terminal(document: Document, width: int) -> Group:
    """Returns the first paragraph, a short table a scene and its legend, for `rich.console.Console.print`."""
    parts: list[Text | RichTable] = [Text(document.verdict[0])]
    parts += [_rich_table(table, width) for table in document.compact]
    legend = Text(compact_legend(document.compact, BARE), style="dim")
    return Group(*(line for part in parts for line in (part, Text())), legend)


def _rich_table(table: Table, width: int) -> RichTable:
    shown = RichTable(title=Text(table.title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for index, name in enumerate(table.columns):
        shown.add_column(name, justify="left" if index < table.words else "right", overflow="fold")
    for cells in table.rows:
        short = [
            cell.partition(" [")[0] if name in POINTS else cell if width >= WIDE else cell.replace(" [", "\n[")
            for name, cell in zip(table.columns, cells, strict=True)
        ]
        shown.add_row(*map(Text, short))
    return shown


def markdown(document: Document) -> str:
    """Returns the first paragraph, the primary contrasts, a short table a scene and its legend as Markdown."""
    primary = "\n".join(f"- {line}" for line in document.primary)
    tables = [markdown_table(table, heading=True) for table in document.compact]
    parts = [document.verdict[0], primary, *tables, f"{compact_legend(document.compact)} {MORE}"]
    return "\n\n".join(filter(None, parts))


def update_readme(readme: Path, records: Iterable[Record]) -> bool:
    """Writes the short report between the README's markers.

    Returns:
        Whether the file changed.

    Raises:
        OutputError: No README, or one without the two markers.
        RecordError: Records that do not fit together.
    """
    return write_between(readme, (START, END), markdown(make_document(records)))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the short report of records, or writes it into a README; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m prune_env.baselines.report", description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path, nargs="+", help="records.jsonl files, or folders of .jsonl files")
    parser.add_argument("--update", type=Path, metavar="README", help="write the tables between this file's markers")
    args = parser.parse_args(argv)
    try:
        records = load(args.records)
        if args.update is not None:
            changed = update_readme(args.update, records)
            sys.stdout.write(f"{args.update}: {'written' if changed else 'already up to date'}\n")
            return 0
        document = make_document(records)
    except PruneEnvError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    console = Console()
    console.print(terminal(document, console.width))
    return 0


if __name__ == "__main__":
    sys.exit(main())
