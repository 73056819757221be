"""The twins that ship, by name and by set; reading them needs NumPy alone."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from prune_env.errors import UnknownNameError
from prune_env.tabular.twin import SUFFIX, TabularTwin, read_header

TWINS = Path(__file__).resolve().parent.parent / "assets" / "tabular"
"""Folder of the files that ship."""

SPLITS = ("embedded", "family-train", "family-test")
"""Sets of twins: those of the embedded victims, and a family of victims to train and to be judged on."""


def list_twins(split: str | None = None, folder: Path = TWINS) -> list[str]:
    """Returns the names of the twins in a folder, sorted; of one set, if it is named.

    Raises:
        UnknownNameError: No such set.
        IntegrityError: A file that is no twin, or has changed.
        ManifestError: A twin of another version.
    """
    if split is not None and split not in SPLITS:
        raise UnknownNameError("set of twins", split, SPLITS)
    found = _splits(folder)
    return [name for name, its in found.items() if split in (None, its)]


def get_twin(name: str, folder: Path = TWINS) -> TabularTwin:
    """Returns a twin by its name in a folder, or by the path of its file; a process reads each file once.

    Raises:
        UnknownNameError: No such twin; the message names the nearest.
        IntegrityError: A file that is not there, is no twin, or has changed.
        ManifestError: A twin of another version.
    """
    path = Path(name).expanduser()
    if path.suffix != SUFFIX:
        path = folder / f"{name}{SUFFIX}"
        if not path.is_file():
            raise UnknownNameError("tabular victim", name, [*_splits(folder), *SPLITS[1:]])
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _load(path, stamp)


@lru_cache(maxsize=128)
def _load(path: Path, stamp: int) -> TabularTwin:
    """Reads a file; its time of change makes a rebuilt one another."""
    return TabularTwin.load(path)


def _splits(folder: Path) -> dict[str, str]:
    """Returns the set of each twin in a folder by its name, sorted."""
    return {path.stem: _split_of(path, path.stat().st_mtime_ns) for path in sorted(folder.glob(f"*{SUFFIX}"))}


@lru_cache(maxsize=1024)
def _split_of(path: Path, stamp: int) -> str:
    return str(read_header(path)[0]["meta"]["split"])
