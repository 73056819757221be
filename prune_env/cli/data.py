"""`prune-env data`: downloads the public data sets, and checks what is there."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from prune_env.errors import IntegrityError
from prune_env.victims.download import Source, check, fetch, read_sources

HELP = "download the real data sets, or check what is there"

_EXAMPLES = """\
examples:
  prune-env data fetch data
  prune-env data fetch data --mirror http://localhost:8000
  prune-env data verify data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `fetch DIR [--mirror URL]` and `verify DIR`."""
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fetching = actions.add_parser("fetch", help="download what is not there yet, and check every SHA-256")
    verifying = actions.add_parser("verify", help="check the SHA-256 of every file")
    for action in (fetching, verifying):
        action.add_argument("folder", type=Path, metavar="DIR", help="the data folder")
    fetching.add_argument(
        "--mirror",
        metavar="URL",
        help="a server of <repository>/<commit>/<path> to use instead of GitHub",
    )


def run(args: argparse.Namespace) -> int:
    """Fetches or verifies; 0 when every file is as it should be."""
    if args.action == "fetch":
        _fetch(args.folder, args.mirror)
    else:
        _verify(args.folder)
    return 0


def _fetch(folder: Path, mirror: str | None) -> None:
    sources = read_sources()
    done: dict[str, int] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("data", total=sum(source.bytes for source in sources))

        def report(source: Source, count: int) -> None:
            done[source.file] = count
            bar.update(task, completed=sum(done.values()), description=source.file)

        fetched = fetch(folder, mirror, sources=sources, progress=report)
        bar.update(task, description="data")
    kept = len(sources) - len(fetched)
    console.print(f"{len(fetched)} files downloaded, {kept} were there; all {len(sources)} have the right SHA-256.")
    console.print(f"Use them with `--data {folder}`, or once for all with PRUNE_ENV_DATA={folder.resolve()}")


def _verify(folder: Path) -> None:
    sources = read_sources()
    problems = [problem for _, problem in check(folder, sources) if problem is not None]
    if problems:
        more = f" (and {len(problems) - 1} more of {len(sources)} files)" if len(problems) > 1 else ""
        raise IntegrityError(f"{problems[0]}{more}; run `prune-env data fetch {folder}` to get what is missing")
    Console().print(f"All {len(sources)} files in {folder} have the right SHA-256.")
