"""`prune-env rebuild`: makes the embedded victims again and holds them against the ones that ship."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from prune_env.errors import IntegrityError, UnknownNameError

HELP = "build the embedded victims again, and check ACC, LFR and floor against the ones that ship"

_EXAMPLES = """\
examples:
  prune-env rebuild --out runs/rebuilt
  prune-env rebuild tiny-syntactic --out runs/rebuilt
A victim takes some minutes on one core; an interrupted one goes on at its last finished epoch, a finished one is
only compared. To ship what was built, copy its folder to prune_env/assets.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the names and the folder."""
    parser.epilog = _EXAMPLES
    parser.add_argument("names", nargs="*", metavar="NAME", help="embedded victims (default: all)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that gets a folder a victim")


def run(args: argparse.Namespace) -> int:
    """Builds and compares; 0 when every rate is the manifest's within 0.03.

    Raises:
        UnknownNameError: No embedded victim of that name.
        IntegrityError: A rate that differs.
    """
    from prune_env.victims.manifest import MANIFEST, Manifest
    from prune_env.victims.store import open_victim
    from prune_env.victims.tiny import RATES, TINY, build_tiny, compare

    names = args.names or list(TINY)
    for name in names:
        if name not in TINY:
            raise UnknownNameError("embedded victim", name, TINY)
    table = Table("victim", *RATES, title="rebuilt (shipped)")
    problems = []
    with Progress(console=Console(stderr=True)) as bar:
        for name in names:
            shown = bar.add_task(name, total=None)

            def report(part: str, done: int, total: int, *, name: str = name, shown: TaskID = shown) -> None:
                bar.update(shown, completed=done, total=total, description=f"{name}: {part}")

            folder = args.out / name
            built = folder / MANIFEST
            rebuilt = Manifest.read(folder) if built.exists() else build_tiny(name, folder, on_step=report).manifest
            shipped = open_victim(name).manifest
            problems += compare(rebuilt, shipped)
            rates = (f"{rebuilt.measured[rate]:.3f} ({shipped.measured[rate]:.3f})" for rate in RATES)
            table.add_row(name, *rates)
    Console().print(table)
    if problems:
        raise IntegrityError(f"{'; '.join(problems)}; the recipe or a library has changed, see the manifests")
    return 0
