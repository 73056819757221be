"""Records: one replayable result a line, appended whole, so that a killed run loses only what was under way."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import MaskError, OutputError, RecordError
from prune_env.record_form import problem
from prune_env.types import mask_from_text

SCHEMA = 1
ROLES = ("victim", "twin")
RATES = (
    "search_accuracy", "certify_accuracy", "acc", "lfr", "auc", "floor_lfr", "floor_acc", "final_certify_accuracy",
    "oracle_dev_lfr",
)  # fmt: skip
UNKNOWN = ("floor_lfr", "floor_acc", "final_certify_accuracy", "oracle_dev_lfr")
"""Rates that may be None."""

LATER = frozenset({"final_certify_accuracy", "recovery_sentences", "oracle_dev_lfr"})
"""Fields that older records do not have."""


@dataclass(frozen=True)
class Record:
    """One method on one model with one seed: what was chosen, on what evidence, and what came of it.

    Rates are in [0, 1]. `role` tells whose model was purified: the victim's, or its never-poisoned twin's, whose LFR
    is the matched floor of the victim's record with the same method, configuration and seed.

    Attributes:
        victim: The victim's name, for a twin too.
        victim_sha256: The victim's identity.
        attack: Its attack.
        backbone: Its encoder before the attack.
        protocol: The defender's protocol, by name.
        method: Row of the table.
        config: Everything that decides the result: protocol, environment, importance, fine-tuning.
        attacker_seed: Seed of the victim.
        seed: Seed of the defender.
        regime: Information the method used: clean_only, proxy, reference or oracle.
        dtype: Arithmetic of the search.
        deviation: What that arithmetic changes against float32 for the final mask; None in float32.
        mask: Final head mask as text, 1 = kept, a slash between layers.
        importance: The first metric's scores that the search saw, (layers, heads) by metric; empty without a search.
        trace: Steps of the search: each attempted mask, its accuracy, the mask kept.
        evaluations: Distinct masks asked for.
        sentence_passes: Sentences sent through the model for importance and search.
        search_accuracy: Accuracy of the final mask on `search`, before the last fine-tuning.
        threshold: Accuracy that the search had to hold on `search`; None where nothing held it.
        certify_accuracy: The same on `certify`, which no search sees.
        acc: Clean test accuracy of the purified model.
        lfr: Share of triggered non-target test sentences it classifies as the target.
        auc: Triggered target against triggered non-target sentences.
        auc_sd: Standard error of AUC over the sentences (DeLong).
        floor_lfr: LFR of the twin after the same method; None where there is no twin, and for the twin itself.
        floor_acc: ACC of the twin after the same method.
        seconds: Wall time of search and fine-tuning, on the machine that did them.
        search_seconds: The search's part of it; a second rate reuses the search, time included. Importance that an
            earlier process has kept takes none.
        versions: Libraries.
        role: "victim" or "twin".
        model_sha256: The model that was purified.
        task_sha256: The defender's task.
        acc_by_class: Recall of each class on the clean test.
        correct: Which clean test sentences are right, bits as hexadecimal text.
        flipped: Which triggered non-target sentences go to the target, likewise.
        final_certify_accuracy: Of the purified model on `certify`: clean accuracy that a defender can see, and by which
            a rate may be chosen. None in records made before it was measured.
        recovery_sentences: Sentences that went through training to make the purified model, over all stages, epochs and
            members; importance and search are in `sentence_passes`. None in records made before it was counted.
        oracle_dev_lfr: LFR of the purified model on triggered VALIDATION sentences: what the developer of a defence may
            choose by, so that the test set decides nothing. None in records made before it was measured.
        schema: Version of this format.
    """

    victim: str
    victim_sha256: str
    attack: str
    backbone: str
    protocol: str
    method: str
    config: dict[str, Any]
    attacker_seed: int
    seed: int
    regime: str
    dtype: str
    deviation: dict[str, float] | None
    mask: str
    importance: dict[str, list[list[float]]]
    trace: list[dict[str, Any]]
    evaluations: int
    sentence_passes: int
    search_accuracy: float
    certify_accuracy: float
    threshold: float | None
    acc: float
    lfr: float
    auc: float
    auc_sd: float
    floor_lfr: float | None
    floor_acc: float | None
    seconds: float
    search_seconds: float
    versions: dict[str, str]
    role: str
    model_sha256: str
    task_sha256: str
    acc_by_class: dict[str, float]
    correct: str
    flipped: str
    final_certify_accuracy: float | None = None
    recovery_sentences: int | None = None
    oracle_dev_lfr: float | None = None
    schema: int = field(default=SCHEMA)

    def __post_init__(self) -> None:
        """Checks what a reader relies on."""
        if self.schema != SCHEMA:
            raise RecordError(f"expected a record of schema {SCHEMA}, got {self.schema!r}; run the bench again")
        if self.role not in ROLES:
            raise RecordError(f"expected a role among {', '.join(ROLES)}, got {self.role!r}")
        try:
            mask_from_text(self.mask)
        except MaskError as error:
            raise RecordError(f"{error} in the record of {self.victim}") from error
        for name in RATES:
            value = getattr(self, name)
            if value is None and name in UNKNOWN:
                continue
            if not isinstance(value, int | float) or not (math.isfinite(value) and 0.0 <= value <= 1.0):
                raise RecordError(f"expected {name} in [0, 1], got {value!r} in the record of {self.victim}")
        if self.recovery_sentences is not None and self.recovery_sentences < 0:
            raise RecordError(f"expected recovery_sentences >= 0, got {self.recovery_sentences} for {self.victim}")

    @property
    def key(self) -> str:
        """What makes two records the same cell."""
        return cell_key(self.victim_sha256, self.role, self.method, self.config, self.seed)

    @property
    def heads_kept(self) -> int:
        """Heads that the mask keeps."""
        return self.mask.count("1")


def cell_key(victim_sha256: str, role: str, method: str, config: dict[str, Any], seed: int) -> str:
    """Returns the identity of a cell as canonical JSON text."""
    return json.dumps([victim_sha256, role, method, config, seed], sort_keys=True)


def append_record(path: Path, record: Record) -> None:
    """Appends a record, see `append_line`."""
    append_line(path, asdict(record))


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Appends one line of JSON and flushes it to the disk; a torn line before it is closed first.

    Raises:
        OutputError: The file cannot be written.
    """
    line = (json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            rest = b"\n" + line if torn else line
            # One write as a rule: only a full disk or a quota takes less of a line than it was given.
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OutputError(f"cannot append to {path}: {error.strerror}; free space or choose another --out") from error


def read_records(path: Path) -> list[Record]:
    """Reads every whole record; a line that is no JSON was cut off by a kill and is left out: its cell runs again.

    Raises:
        RecordError: A line that is JSON but no record, or a record of another schema; the message names file and line.
    """
    return [_from_json(content, where) for where, content in read_lines(path)]


def read_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields (file and line, JSON value) of every line that is JSON; nothing where there is no file."""
    if not path.is_file():
        return
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            # A cut within a character leaves bytes that are no UTF-8, and no JSON either once they are replaced.
            content = json.loads(line.decode("utf-8", errors="replace"))
        except ValueError:
            continue
        yield f"{path}:{number}", content


def _from_json(content: Any, where: str) -> Record:
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise RecordError(f"{where}: expected a record of schema {SCHEMA}, got {found!r}; run the bench again")
    off = ", ".join(sorted((set(content) ^ set(_kinds())) - (LATER - set(content))))
    if off:
        raise RecordError(f"{where}: fields missing or unknown: {off}; run the bench again")
    wrong = problem(content, {name: kind for name, kind in _kinds().items() if name in content})
    if wrong is not None:
        raise RecordError(f"{where}: {wrong}; run the bench again")
    try:
        bits_from_text(content["correct"]), bits_from_text(content["flipped"])
        return Record(**content)
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error


@cache
def _kinds() -> dict[str, Any]:
    """Returns each field's type."""
    return get_type_hints(Record)


def bits_to_text(bits: NDArray[np.bool_]) -> str:
    """Writes (N,) booleans as "N:hex"."""
    return f"{len(bits)}:{np.packbits(bits).tobytes().hex()}"


def bits_from_text(text: str) -> NDArray[np.bool_]:
    """Reads what `bits_to_text` wrote.

    Raises:
        RecordError: Another form.
    """
    count, _, digits = text.partition(":")
    try:
        size, packed = int(count), np.frombuffer(bytes.fromhex(digits), dtype=np.uint8)
        if not 8 * (len(packed) - 1) < size <= 8 * len(packed):
            raise ValueError(f"{size} bits in {len(packed)} bytes")
        return np.unpackbits(packed, count=size).astype(np.bool_)
    except ValueError as error:
        raise RecordError(f"expected bits such as '3:a0', got {text[:20]!r}") from error


def only(records: Iterable[Record], role: str) -> list[Record]:
    """Returns the records of one role."""
    return [record for record in records if record.role == role]
