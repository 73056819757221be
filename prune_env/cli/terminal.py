"""What commands share of the terminal: the console of a result, and the columns of a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

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


@contextmanager
def long_work(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Says at once what is being done, since loading alone takes seconds, and gives what reports steps.

    Steps that are done at the first report were done by an earlier run: that is said, and they tell nothing of the time
    to go, which is judged by what follows.

    Args:
        title: What is done before the first report.
    """
    bar = progress()
    plain, begun = not bar.console.is_terminal, False
    # Where there is no terminal a bar would leave an empty line.
    with nullcontext() if plain else bar:
        if plain:
            bar.console.print(f"{title} ...", highlight=False)
        tell = step_report(bar, title)

        def report(label: str, done: int, total: int) -> None:
            nonlocal begun
            earlier = f"{done} of {total} done already" if done and not begun else ""
            begun = True
            if earlier and plain:
                bar.console.print(earlier, highlight=False)
            tell(f"{earlier}; {label}" if earlier and not plain else label, done, total)

        yield report


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
