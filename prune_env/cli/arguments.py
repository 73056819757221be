"""Arguments that several commands share: lists, numbers, the accuracy to hold, cores."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from prune_env.config import EnvConfig
from prune_env.errors import ConfigError, OutputError

_Item = TypeVar("_Item")


def add_constraint(parser: argparse.ArgumentParser, otherwise: str) -> None:
    """Adds --threshold and --max-accuracy-drop, of which one may be given."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--threshold", type=float, metavar="T", help=f"validation accuracy a mask has to reach (default: {otherwise})"
    )
    group.add_argument(
        "--max-accuracy-drop",
        type=float,
        metavar="D",
        help="the same, as the accuracy a mask may lose: 0.02 is two points",
    )


def constraint_of(args: argparse.Namespace) -> dict[str, float]:
    """Returns the constraint that was given, checked; {} for none.

    Raises:
        ThresholdError: Outside its range.
    """
    given = {name: getattr(args, name) for name in ("threshold", "max_accuracy_drop")}
    found = {name: value for name, value in given.items() if value is not None}
    if found:
        EnvConfig(**found)
    return found


def split(words: Iterable[str]) -> list[str]:
    """Splits words at commas: "a,b c" and "a b c" are the same list. Repetitions are dropped, order is kept."""
    return list(dict.fromkeys(part for word in words for part in word.split(",") if part))


def numbers(words: Iterable[str], kind: Callable[[str], _Item], what: str, example: str) -> list[_Item]:
    """Reads a list of numbers.

    Raises:
        ConfigError: One that is none, or an empty list.
    """
    found = []
    for word in split(words):
        try:
            found.append(kind(word))
        except ValueError as error:
            raise ConfigError(f"expected {what} such as {example}, got {word!r}; correct that number") from error
    if not found:
        raise ConfigError(f"expected {what} such as {example}, got none; give at least one")
    return found


def whole(text: str) -> int:
    """Reads a whole number >= 0; raises ValueError for another text."""
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def cores() -> int:
    """Returns how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def empty_folder(folder: Path) -> Path:
    """Returns a writable folder that is new or empty, checked before any work.

    Raises:
        OutputError: It holds something, or cannot be written to.
    """
    from prune_env.cache import writable

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(
            f"expected a new or empty folder for the result, {folder} holds something; choose another --out"
        )
    return writable(folder)
