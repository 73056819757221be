"""What a figure is: a request goes in, pictures come out, each with its numbers and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float | None
"""One entry of a table of numbers; None where there is none."""


def _silent(_stage: str) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class Request:
    """What figures are drawn from.

    Attributes:
        records: Victims' and twins' records; of two of one cell the later one counts.
        out: Folder of pictures, and of what was computed for them.
        victims: Folders of victims that are not embedded, for figures that look into models.
        data: Data folder of victims on real data; PRUNE_ENV_DATA if None.
        method: Whose purified model `embeddings` shows.
        seed: The defender's seed that `embeddings` shows; None takes the lowest there is.
        learning_rate: Rate of the final fine-tuning; None takes the one with most records, of several the lowest.
        study: Table of the mask study; None takes the one that ships.
        device: Where models are evaluated.
        fine_tune: Whether `path` fine-tunes masks along the paths of embedded victims, a few seconds each.
        report: Called with what is being done, before each long step.
    """

    records: Sequence[Record]
    out: Path
    victims: tuple[str, ...] = ()
    data: str | None = None
    method: str = "gradient"
    seed: int | None = None
    learning_rate: float | None = None
    study: Path | None = None
    device: str = "cpu"
    fine_tune: bool = True
    report: Callable[[str], None] = _silent


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture with the numbers in it.

    Attributes:
        name: File name without suffix.
        title: What it shows, in a few words.
        figure: Drawn, not yet saved.
        columns: Names of the columns of its table.
        rows: The numbers drawn, one tuple a mark; rates in [0, 1].
        says: One or two sentences, made of the numbers.
        caption: How to read it: n, what error bars are, what was left out.
    """

    name: str
    title: str
    figure: Figure
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    says: tuple[str, ...]
    caption: str


@dataclass(frozen=True)
class Drawing:
    """A registered figure.

    Attributes:
        name: As registered.
        summary: One line for `--help`.
        draw: Makes the pictures; raises `FigureError` where the records do not have what it shows.
    """

    name: str
    summary: str
    draw: Callable[[Request], list[Picture]]
