"""Where figures go: PNG, SVG and CSV files, and a page that shows them with what they say."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from prune_env.baselines.figures import FIGURES
from prune_env.baselines.figures.drawing import Cell, Picture
from prune_env.baselines.figures.style import styled
from prune_env.cache import write_text
from prune_env.errors import OutputError

PAGE = "figures.md"
_HEAD = "# Figures\n\nDrawn by `prune-env figures`; the numbers of each picture are in the CSV file of its name.\n"
_SECTION = re.compile(r"^## (\S+)$", re.MULTILINE)


def save(picture: Picture, out: Path, dpi: int = 150) -> list[Path]:
    """Writes a picture as NAME.png and NAME.svg and its numbers as NAME.csv.

    Raises:
        OutputError: A file cannot be written.
    """
    paths = [out / f"{picture.name}{suffix}" for suffix in (".png", ".svg", ".csv")]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with styled():
            picture.figure.savefig(paths[0], dpi=dpi, format="png")
            # Without a date, the same numbers give the same file.
            picture.figure.savefig(paths[1], format="svg", metadata={"Date": None})
        write_text(paths[2], table_text(picture.columns, picture.rows))
    except OSError as error:
        raise OutputError(f"expected to write {paths[0]}, got {error}; give a folder you may write to") from error
    return paths


def table_text(columns: Iterable[str], rows: Iterable[tuple[Cell, ...]]) -> str:
    """Returns a table as CSV with a header; numbers with six significant digits, None as an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_plain(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def section(figure: str, pictures: Iterable[Picture]) -> str:
    """Returns a figure's part of the page: each picture, what it says, how to read it."""
    parts = [f"## {figure}"]
    for picture in pictures:
        files = f"[SVG]({picture.name}.svg), [numbers]({picture.name}.csv)"
        parts += [f"![{picture.title}]({picture.name}.png)", f"**{picture.title}.** {' '.join(picture.says)}"]
        parts.append(f"{picture.caption} ({files})")
    return "\n\n".join(parts) + "\n"


def update_page(out: Path, sections: dict[str, str]) -> Path:
    """Writes figures.md: these sections, and those of earlier runs that are not drawn again."""
    path = out / PAGE
    try:
        known = _sections(path.read_text(encoding="utf-8")) if path.is_file() else {}
        merged = {**known, **sections}
        names = [*(name for name in FIGURES if name in merged), *sorted(set(merged) - set(FIGURES))]
        write_text(path, "\n".join([_HEAD, *(merged[name] for name in names)]))
    except OSError as error:
        raise OutputError(f"expected to write {path}, got {error}; give a folder you may write to") from error
    return path


def _sections(text: str) -> dict[str, str]:
    starts = list(_SECTION.finditer(text))
    ends = [*(match.start() for match in starts[1:]), len(text)]
    return {match[1]: text[match.start() : end].rstrip("\n") + "\n" for match, end in zip(starts, ends, strict=True)}


def _plain(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)
