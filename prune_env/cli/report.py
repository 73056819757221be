"""`prune-env report`: the tables of finished records, as Markdown, CSV and one page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.cli.arguments import numbers, whole
from prune_env.cli.terminal import console
from prune_env.errors import ConfigError

if TYPE_CHECKING:
    from prune_env.baselines.tables.document import Document

HELP = "report records: tables by family of victims, contrasts and intervals, as Markdown, CSV and one page"

DRAWS = 2000

_EXAMPLES = """\
examples:
  prune-env report runs/first/records.jsonl --out runs/first/report
  prune-env report baselines/results --out report
  prune-env report runs/real/records.jsonl runs/style/records.jsonl --out report --json
Victims NAME-s11, NAME-s12, ... are one family NAME: attackers, over which the intervals are taken.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is reported, where to, and how intervals are drawn."""
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("records", type=Path, nargs="+", metavar="RECORDS", help="records.jsonl files, or folders of .jsonl files")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of report.md, report.csv and report.html")
    add("--draws", default=str(DRAWS), metavar="N", help="resamples of each interval (default: %(default)s)")
    add("--seed", default="0", metavar="N", help="of the resamples (default: %(default)s)")
    add("--json", action="store_true", help="print the report as JSON and nothing else")


def run(args: argparse.Namespace) -> int:
    """Writes the report, then shows its first paragraph and a short table; 0 when it is written."""
    from prune_env.baselines.report import load
    from prune_env.baselines.tables.document import as_json, make_document, write

    draws, seed = (numbers([text], whole, "a whole number", "2000")[0] for text in (args.draws, args.seed))
    if draws < 100:
        raise ConfigError(f"expected at least 100 resamples, got --draws {draws}; an interval needs that many")
    document = make_document(load(args.records), seed, draws)
    paths = write(document, args.out)
    if args.json:
        content = {**as_json(document), "files": [str(path) for path in paths]}
        print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))  # noqa: T201
    else:
        show_document(document, paths)
    return 0


def show_document(document: Document, paths: list[Path]) -> None:
    """Shows a report's first paragraph, the columns that fit a terminal, and where it was written."""
    from prune_env.baselines.report import terminal

    out = console()
    out.print(terminal(document, out.width))
    out.print("\n" + "\n".join(map(str, paths)), markup=False, highlight=False, soft_wrap=True)
