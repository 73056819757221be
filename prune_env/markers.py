"""Text that a program keeps up to date inside a file that people write: it stands between two marker lines."""

from __future__ import annotations

from pathlib import Path

from prune_env.errors import OutputError


def write_between(path: Path, markers: tuple[str, str], text: str) -> bool:
    """Writes a text between the two lines of a file that mark its place, and returns whether the file changed.

    Raises:
        OutputError: No such file, or one without the two markers.
    """
    head, start, old, end, tail = between(path, markers)
    new = f"\n{text}\n"
    if new != old:
        path.write_text(f"{head}{start}{new}{end}{tail}", encoding="utf-8", newline="\n")
    return new != old


def between(path: Path, markers: tuple[str, str]) -> tuple[str, str, str, str, str]:
    """Returns a file's text before the first marker, that marker, what is between, the second marker, and the rest.

    Raises:
        OutputError: No such file, or one without the two markers.
    """
    try:
        old = path.read_text(encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}; give the path of the README") from error
    head, start, rest = old.partition(markers[0])
    inner, end, tail = rest.partition(markers[1])
    if not start or not end:
        raise OutputError(
            f"expected the lines {markers[0]} and {markers[1]} in {path}; put them where the text belongs"
        )
    return head, start, inner, end, tail
