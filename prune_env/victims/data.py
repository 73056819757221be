"""Labelled sentences: reading untidy files with errors that name the line, and writing tidy ones.

The published files differ in header names, column order, line endings and spacing, and do not escape quotes, so they
are read here, line by line, and handed on as a `datasets.Dataset` where one is wanted.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

TEXT_COLUMNS = ("sentence", "sentences", "text", "content")
LABEL_COLUMNS = ("label", "labels")

Row: TypeAlias = tuple[int, object, object]
"""Line number, text and label, as they were read."""


@dataclass(frozen=True)
class Sentences:
    """Labelled sentences, in the order of their source.

    Attributes:
        texts: One string a sentence, N of them, none of them empty.
        labels: One class index >= 0 a sentence, N of them.
        skipped_empty: Empty sentences that the source had and that are left out.

    Raises:
        DataError: Texts and labels that do not belong together, an empty text, or a label that is no class index.
    """

    texts: tuple[str, ...]
    labels: tuple[int, ...]
    skipped_empty: int = 0

    def __post_init__(self) -> None:
        """Checks that every sentence has its label, and stores plain tuples and integers, which JSON can hold."""
        if len(self.texts) != len(self.labels):
            raise DataError(
                f"expected one label a sentence, got {len(self.texts)} sentences, {len(self.labels)} labels; "
                "give two sequences of one length"
            )
        for position, row in enumerate(zip(self.texts, self.labels, strict=True)):
            _check_row(position, *row)
        object.__setattr__(self, "texts", tuple(self.texts))
        object.__setattr__(self, "labels", tuple(map(int, self.labels)))

    def __len__(self) -> int:
        """Returns the number of sentences."""
        return len(self.texts)

    def take(self, index: Iterable[int] | NDArray[np.integer]) -> Sentences:
        """Returns the sentences at these positions, in this order."""
        chosen = [int(i) for i in index]
        return Sentences(tuple(self.texts[i] for i in chosen), tuple(self.labels[i] for i in chosen))

    def where(self, label: int) -> Sentences:
        """Returns the sentences of one class."""
        return self.take(i for i, other in enumerate(self.labels) if other == label)

    def excluding(self, label: int) -> Sentences:
        """Returns the sentences of every other class."""
        return self.take(i for i, other in enumerate(self.labels) if other != label)

    def relabelled(self, label: int) -> Sentences:
        """Returns the same sentences, all of one class."""
        return Sentences(self.texts, (label,) * len(self))

    def __add__(self, other: Sentences) -> Sentences:
        """Returns these sentences followed by the others."""
        return Sentences(self.texts + other.texts, self.labels + other.labels, self.skipped_empty + other.skipped_empty)

    def sha256(self) -> str:
        """Returns the hash of texts and labels, independent of the file format."""
        digest = hashlib.sha256()
        for row in zip(self.texts, self.labels, strict=True):
            # As JSON, so that a line break inside a text cannot pass for the next sentence.
            digest.update(json.dumps(row).encode() + b"\n")
        return digest.hexdigest()

    def to_dataset(self) -> Dataset:
        """Returns a `datasets.Dataset` with the columns `sentence` and `label`."""
        from datasets import Dataset

        return Dataset.from_dict({"sentence": list(self.texts), "label": list(self.labels)})

    @classmethod
    def from_dataset(cls, dataset: Dataset, labels: int = 2) -> Sentences:
        """Reads a `datasets.Dataset` with a text column and an integer label column.

        Raises:
            DataError: No such columns, or a label outside 0..labels-1; the message names the row.
        """
        text, label = _columns(list(dataset.column_names), "the dataset")
        rows = zip(dataset[text], dataset[label], strict=True)
        return _collect(((i, t, c) for i, (t, c) in enumerate(rows)), "dataset row ", labels)


def read_sentences(path: Path, labels: int = 2) -> Sentences:
    """Reads labelled sentences from .tsv, .csv, .jsonl, .jsonl.gz, or a folder written by `Dataset.save_to_disk`.

    Args:
        path: The file or folder. Tables need a header that names a text column (sentence, sentences, text, content)
            and a label column (label, labels), in any order and with any spaces; tab-separated cells are not quoted.
        labels: Number of classes; labels are 0..labels-1.

    Raises:
        DataError: A missing or damaged file, no usable header, a row without both cells, or a label that is no class.
    """
    if (path / "dataset_info.json").is_file():
        return _saved_dataset(path, labels)
    if (path / "dataset_dict.json").is_file():
        raise DataError(f"expected one split, got the folder {path} of several; give the folder of one of them")
    if not path.is_file():
        raise DataError(f"expected a file of labelled sentences at {path}, found none; check the path")
    readers = {".tsv": _tsv_rows, ".csv": _csv_rows, ".jsonl": _jsonl_rows, ".jsonl.gz": _jsonl_rows}
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if suffix not in readers:
        raise DataError(f"expected a .tsv, .csv, .jsonl or .jsonl.gz file, got {path.name}; convert it or rename it")
    try:
        return _collect(readers[suffix](path), f"{path}:", labels)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file ({error}); restore it") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it") from error


def write_jsonl(sentences: Sentences, path: Path) -> None:
    """Writes one JSON object a line, with `sentence` and `label`; compressed, without a date, if it is named .gz."""
    rows = zip(sentences.texts, sentences.labels, strict=True)
    lines = [json.dumps({"sentence": t, "label": c}, ensure_ascii=False) + "\n" for t, c in rows]
    content = "".join(lines).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _saved_dataset(path: Path, labels: int) -> Sentences:
    from datasets import Dataset

    try:
        dataset = Dataset.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as a saved dataset: {error}; save it again with Dataset.save_to_disk"
        ) from error
    return Sentences.from_dataset(dataset, labels)


def _check_row(position: int, text: object, label: object) -> None:
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"expected text in sentence {position}, got {text!r}; leave empty sentences out")
    if isinstance(label, bool) or not isinstance(label, int | np.integer) or label < 0:
        raise DataError(f"expected a class index >= 0 for sentence {position}, got {label!r}; number classes from 0")


def _collect(rows: Iterable[Row], where: str, labels: int) -> Sentences:
    texts: list[str] = []
    classes: list[int] = []
    skipped = 0
    for line, text, label in rows:
        name = str(label).strip()
        if not (name.isascii() and name.isdecimal()) or int(name) >= labels:
            raise DataError(f"{where}{line}: expected a label from 0 to {labels - 1}, got {name!r}; correct that line")
        if not isinstance(text, str) or not _is_unicode(text):
            raise DataError(f"{where}{line}: expected a sentence as text, got {text!r}; correct that line")
        if not text.strip():
            skipped += 1
            continue
        texts.append(text.strip())
        classes.append(int(name))
    if not texts:
        raise DataError(f"{where.rstrip(': ')} holds no sentence; expected at least one labelled sentence")
    return Sentences(tuple(texts), tuple(classes), skipped)


def _is_unicode(text: str) -> bool:
    """False for half a surrogate pair, which JSON can spell and no file can hold."""
    return not any("\ud800" <= character <= "\udfff" for character in text) if not text.isascii() else True


def _columns(header: Sequence[str], where: str) -> tuple[str, str]:
    names = {name.strip().lower(): name for name in header}
    text = next((names[name] for name in TEXT_COLUMNS if name in names), None)
    label = next((names[name] for name in LABEL_COLUMNS if name in names), None)
    if text is None or label is None:
        raise DataError(
            f"{where}: expected a header with a text column ({', '.join(TEXT_COLUMNS)}) and a label column "
            f"({', '.join(LABEL_COLUMNS)}), got {[name.strip() for name in header]}; add or rename the header"
        )
    return text, label


def _table_rows(rows: Iterator[tuple[int, list[str]]], path: Path) -> Iterator[Row]:
    _, header = next(rows, (1, []))
    text, label = (header.index(name) for name in _columns(header, f"{path}:1"))
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise DataError(f"{path}:{line}: expected {len(header)} cells, got {len(cells)}; correct that line")
        yield line, cells[text], cells[label]


def _tsv_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = ((i, line.rstrip("\r\n").split("\t")) for i, line in enumerate(file, 1))
        yield from _table_rows(lines, path)


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        # Strict, since a quote that is never closed would otherwise swallow the rest of the file as one cell.
        reader = csv.reader(file, strict=True)
        try:
            yield from _table_rows(((reader.line_num, cells) for cells in reader), path)
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: malformed CSV ({error}); correct that line") from error


def _jsonl_rows(path: Path) -> Iterator[Row]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise DataError(f"{path}:{number}: expected a JSON object, got {error}; correct that line") from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{path}:{number}: expected a JSON object, got {type(row).__name__}; write one object a line"
                )
            text, label = _columns(list(row), f"{path}:{number}")
            yield number, row[text], row[label]
