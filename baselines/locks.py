"""One writer a folder: a lock that the system opens when its process ends, however it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from prune_env.errors import OutputError


@contextmanager
def sole(lock: Path, doing: str, flag: str) -> Iterator[None]:
    """Keeps a second one from working in the same folder.

    Args:
        lock: File that is held while the body runs.
        doing: What a second one would do, after "another": "benchmark is writing to runs/x".
        flag: The option that names the folder.

    Raises:
        OutputError: Another one is at it.
    """
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"another {doing}; wait until it ends, or choose another {flag}") from error
    try:
        yield
    finally:
        held.release()
