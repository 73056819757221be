"""What commands share of the terminal: the console of a result, and the columns of a progress bar."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LOG_WIDTH = 120
"""Columns of a table that is written to a file or a pipe."""

_DAY = 24 * 3600.0


def console() -> Console:
    """Returns the console of the output stream, wide enough for tables where that is no terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=LOG_WIDTH)


def progress(to_go: bool = True) -> Progress:
    """Returns a bar that vanishes when it is done, on the error stream: what the other one gets is the result.

    Args:
        to_go: Whether to show the time to go, judged by the speed of the last day: steps take minutes or more.
    """
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [TimeElapsedColumn(), TextColumn("elapsed")]
    columns += [TimeRemainingColumn(), TextColumn("to go")] if to_go else []
    return Progress(*columns, console=Console(stderr=True), speed_estimate_period=_DAY, transient=True)
