"""The twins that ship, by name and by set; reading them needs NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from prune_env.errors import ConfigError, PruneEnvError, UnknownNameError
from prune_env.tabular.twin import SUFFIX, TabularTwin, read_header

TWINS = Path(__file__).resolve().parent.parent / "assets" / "tabular"
"""Folder of the files that ship."""

SPLITS = ("embedded", "family-train", "family-test")
"""Sets of twins: those of the embedded victims, and a family of victims to train and to be judged on."""

_READABLE = 12
"""Names that an error lists."""


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
        ConfigError: The name of a set.
        IntegrityError: A file that is not there, is no twin, or has changed.
        ManifestError: A twin of another version.
    """
    path = Path(name).expanduser()
    if path.suffix != SUFFIX:
        path = folder / f"{name}{SUFFIX}"
        if not path.is_file():
            raise _unknown(name, folder)
    return _load(_File.of(path))


def _unknown(name: str, folder: Path) -> PruneEnvError:
    """Returns the error of a name that no twin has; of many twins it lists the embedded ones alone."""
    known = _splits(folder)
    if name in SPLITS:
        return ConfigError(
            f"expected one twin, got the set {name!r}; name one of its {list(known.values()).count(name)} twins"
        )
    # Who asks may take sets, too, as the environment does.
    names = {*known, *known.values()}
    return UnknownNameError("tabular victim", name, names, None if len(names) <= _READABLE else _in_words(known))


def _in_words(known: Mapping[str, str]) -> str:
    """Returns many twins, the set of each by its name, in words."""
    few = [name for name, split in known.items() if split == SPLITS[0]]
    sets = sorted({*known.values()})
    rest = f"{len(known) - len(few)} others in the sets {', '.join(sets)}; `prune-env tabular list` lists them"
    return ", ".join([*few, f"and {rest}"])


def _splits(folder: Path) -> dict[str, str]:
    """Returns the set of each twin in a folder by its name, sorted."""
    return {path.stem: _header(_File.of(path))["meta"]["split"] for path in sorted(folder.glob(f"*{SUFFIX}"))}


def common_grid(folder: Path = TWINS) -> tuple[int, int]:
    """Returns the (layers, heads) that hold every twin in a folder: spaces are then the same in training and test."""
    headers = [_header(_File.of(path)) for path in folder.glob(f"*{SUFFIX}")]
    return max(header["layers"] for header in headers), max(header["heads"] for header in headers)


@dataclass(frozen=True)
class _File:
    """A file as it was at some time: a rebuilt one is another."""

    path: Path
    changed: int

    @classmethod
    def of(cls, path: Path) -> _File:
        return cls(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=128)
def _load(file: _File) -> TabularTwin:
    return TabularTwin.load(file.path)


@lru_cache(maxsize=1024)
def _header(file: _File) -> dict[str, Any]:
    return read_header(file.path)[0]
