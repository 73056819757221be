"""What commands share of the terminal: the console of a result, and the columns of a progress bar."""

from __future__ import annotations

from collections.abc import Callable

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


def step_report(bar: Progress, title: str) -> Callable[[str, int, int], None]:
    """Returns what shows (what was finished, steps done, steps in all): on the bar, or in lines where there is none."""
    shown = bar.add_task(title, total=None)

    def report(label: str, done: int, total: int) -> None:
        bar.update(shown, completed=done, total=total, description=label)
        if not bar.console.is_terminal:
            bar.console.print(f"{done} of {total}: {label}", highlight=False, soft_wrap=True)

    return report


def duration(seconds: float | None) -> str:
    """Writes a time as people do, in two units at most: 40 s, 12 min, 3 h 20 min, 2 d 5 h; "?" for none."""
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, rest = divmod(round(minutes / 60), 24)
    return f"{days} d {rest} h" if rest else f"{days} d"
