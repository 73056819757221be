"""Where built things are kept between runs: the user's cache folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from prune_env.errors import OutputError

CACHE_VARIABLE = "PRUNE_ENV_CACHE"


def cache_folder() -> Path:
    """Returns PRUNE_ENV_CACHE, else `prune-env` below XDG_CACHE_HOME, else `~/.cache/prune-env`."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prune-env"


def writable(folder: Path) -> Path:
    """Creates a folder and proves that it can be written to, before hours of work.

    Raises:
        OutputError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A name of its own, since processes side by side probe the same folder.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".write-probe-"):
            return folder
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"expected to be able to write to {folder}, got: {reason}; choose another folder") from error


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file with LF line ends in one step: a reader sees the old content or the new, never half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
