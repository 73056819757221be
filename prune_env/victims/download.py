"""Downloads the public data sets: each file at one commit, checked against its SHA-256, resumable.

What is downloaded stands in `sources.tsv` beside this file. Nothing is ever overwritten: a file that is there with
another hash is reported, since it may be the user's own.
"""

from __future__ import annotations

import csv
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from prune_env.errors import ConfigError, DownloadError, IntegrityError, OutputError

GITHUB = "https://raw.githubusercontent.com"
"""Serves a public repository's file as <GITHUB>/<repository>/<commit>/<path>; a mirror has the same layout."""

_CHUNK = 1 << 16
_ATTEMPTS = 3

Progress = Callable[["Source", int], None]
"""Called with a source and how many of its bytes are there."""


@dataclass(frozen=True)
class Source:
    """One public file: where it comes from, where it goes, and what it must be.

    Attributes:
        file: Path inside the data folder, with forward slashes.
        repository: `owner/name` on GitHub.
        commit: The commit, 40 hexadecimal digits.
        path: Path inside the repository; may contain spaces.
        sha256: SHA-256 of the content, hexadecimal.
        bytes: Size of the content.
    """

    file: str
    repository: str
    commit: str
    path: str
    sha256: str
    bytes: int

    def url(self, mirror: str | None = None) -> str:
        """Returns where the file is served; `mirror` replaces the public server."""
        return f"{(mirror or GITHUB).rstrip('/')}/{self.repository}/{self.commit}/{quote(self.path)}"


def read_sources() -> tuple[Source, ...]:
    """Returns every source of `sources.tsv`, in the file's order."""
    with Path(__file__).with_name("sources.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return tuple(Source(bytes=int(row.pop("bytes")), **row) for row in rows)


def fetch(
    folder: Path,
    mirror: str | None = None,
    *,
    sources: Iterable[Source] | None = None,
    progress: Progress | None = None,
    pause: float = 1.0,
) -> tuple[Source, ...]:
    """Downloads what is not yet in `folder`; a second call goes on where the first one ended.

    Args:
        folder: The data folder; made when absent.
        mirror: An http(s) address that serves <repository>/<commit>/<path>; None for GitHub.
        sources: What to download; None for everything in `sources.tsv`.
        progress: Told about every chunk that arrives.
        pause: Seconds before the second attempt at a file; doubled for the third.

    Returns:
        The sources that were downloaded now; the others were there already.

    Raises:
        ConfigError: `mirror` is no http(s) address.
        OutputError: `folder` cannot be written.
        IntegrityError: A file is there already, with another content.
        DownloadError: A file is not there, was cut off in every attempt, or has another content.
    """
    if mirror is not None and urlsplit(mirror).scheme not in {"http", "https"}:
        raise ConfigError(
            f"expected a mirror such as https://example.org/data, got {mirror!r}; give an http(s) address"
        )
    report = progress or _silent
    missing = []
    for source, problem in check(folder, read_sources() if sources is None else sources):
        if problem is None:
            report(source, source.bytes)
        elif (folder / source.file).exists():
            raise IntegrityError(f"{problem}; move the file away, then fetch again")
        else:
            missing.append(source)
    for source in missing:
        _fetch_one(source, _prepare(folder / source.file), source.url(mirror), report, pause)
    return tuple(missing)


def check(folder: Path, sources: Iterable[Source]) -> Iterator[tuple[Source, str | None]]:
    """Yields each source with what is wrong with its file in `folder`, None where nothing is."""
    for source in sources:
        path = folder / source.file
        if not path.is_file():
            yield source, f"{path} is missing" if not path.exists() else f"{path} is not a file"
        elif (found := _sha256(path)) != source.sha256:
            yield source, f"{path}: expected SHA-256 {source.sha256}, got {found}"
        else:
            yield source, None


def _prepare(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.part").open("ab"):
            return path
    except OSError as error:
        raise OutputError(
            f"expected a folder that can be written, got {path.parent} ({error.strerror}); choose another"
        ) from error


def _fetch_one(source: Source, path: Path, url: str, report: Progress, pause: float) -> None:
    """Downloads into `<path>.part`, and gives it its name once the content is right."""
    part = path.with_name(f"{path.name}.part")
    failure = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        fresh = part.stat().st_size == 0
        try:
            _receive(source, part, url, report)
        except (OSError, http.client.HTTPException) as error:
            failure = str(error) or type(error).__name__
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                break
            continue
        found = _sha256(part)
        if found == source.sha256:
            part.replace(path)
            return
        # Emptied, since what was kept of an earlier, damaged download would spoil every later attempt.
        os.truncate(part, 0)
        failure = f"content with SHA-256 {found}"
        if fresh:
            break
    raise DownloadError(
        f"{source.file}: expected {source.bytes} bytes with SHA-256 {source.sha256} from {url}, got {failure}; "
        "check the connection or the mirror, then run the same command again: finished files are kept"
    )


def _receive(source: Source, part: Path, url: str, report: Progress) -> None:
    """Appends what `part` still lacks, or starts again where the server ignores the range asked for."""
    count = part.stat().st_size
    if count == source.bytes:
        return
    if count > source.bytes:
        os.truncate(part, 0)
        count = 0
    request = urllib.request.Request(url, headers={"User-Agent": "prune-env"})
    if count:
        request.add_header("Range", f"bytes={count}-")
    with urllib.request.urlopen(request, timeout=60) as response, part.open("ab") as file:
        if not str(response.headers.get("Content-Range")).startswith(f"bytes {count}-"):
            file.truncate(0)
            count = 0
        while count <= source.bytes and (chunk := response.read(_CHUNK)):
            file.write(chunk)
            count += len(chunk)
            report(source, count)
    if count < source.bytes:
        raise ConnectionError(f"{count} bytes before the connection ended")


def _silent(_source: Source, _count: int) -> None:
    """Reports no progress."""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
