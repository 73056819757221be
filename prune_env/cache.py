"""Where built things are kept between runs: the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from prune_env.errors import OutputError

CACHE_VARIABLE = "PRUNE_ENV_CACHE"


def cache_folder() -> Path:
    """Returns PRUNE_ENV_CACHE, else `prune-env` below XDG_CACHE_HOME, else `~/.cache/prune-env`."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prune-env"


def writable(folder: Path) -> Path:
    """Creates a folder and proves that it can be written to, before hours of work.

    Raises:
        OutputError: It cannot.
    """
    probe = folder / ".write-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("", encoding="utf-8")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"expected to be able to write to {folder}, got: {reason}; choose another folder") from error
    return folder
