"""A tabular twin in memory and in its file: text that says what it is, and compressed counts, all of it checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.config import EnvConfig
from prune_env.engine.table import TableEvaluator
from prune_env.errors import ConfigError, IntegrityError, ManifestError, OutputError, PruneEnvError
from prune_env.tabular.codec import decode, encode
from prune_env.types import HeadScores

SCHEMA = 1
SUFFIX = ".twin"
PARTS = ("search", "certify", "oracle_lfr")
"""The tables of a twin, in the order of its file."""

META = {
    "attack": str,
    "kind": str,
    "libraries": dict,
    "protocol": str,
    "split": str,
    "task_seed": int,
    "task_sha256": str,
    "victim_sha256": str,
}
"""What a twin says of its origin, and of which type."""

_FIELDS = {"constraint", "heads", "importance", "layers", "meta", "name", "schema", "sentences"}
_NAME = re.compile(r"\w[\w.-]*")
_FIRST = re.compile(rb"prune-env twin ([0-9a-f]{64})\n")
_REMEDY = "restore it, or build it again with `prune-env tabular build`"


@dataclass(frozen=True, eq=False)
class TabularTwin:
    """Every valid mask of a small victim's scoring model, evaluated once.

    Attributes:
        name: The victim's name.
        layers: Layers of the model.
        heads: Heads in each layer.
        search: Accuracy on the split that masks are searched on: the live environment's evaluator.
        certify: Accuracy on the split for the final accuracy; never fed back to a search.
        oracle_lfr: A diagnosis: its accuracy is the label flip rate of the masked scoring model on triggered validation
            sentences.
        importance: Metric -> float32 (layers, heads), as the live environment computes it.
        constraint: {"threshold": ...} or {"max_accuracy_drop": ...}, what the victim's manifest recommends.
        meta: Where it comes from: `META` names the entries.

    Raises:
        ConfigError: Parts that do not belong together.
        ThresholdError: A constraint that is none.
    """

    name: str
    layers: int
    heads: int
    search: TableEvaluator
    certify: TableEvaluator
    oracle_lfr: TableEvaluator
    importance: Mapping[str, HeadScores]
    constraint: Mapping[str, float]
    meta: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Checks the form of everything."""
        tables, shape = [getattr(self, part) for part in PARTS], (self.layers, self.heads)
        if any((table.layers, table.heads) != shape for table in tables):
            raise ConfigError(f"expected tables of {shape[0]} x {shape[1]} heads in the twin {self.name!r}, got others")
        if _NAME.fullmatch(str(self.name)) is None or type(self.name) is not str:
            raise ConfigError(f"expected a twin's name of letters, digits, '.', '_' and '-', got {self.name!r}")
        scores = list(self.importance.values())
        if not scores or any(one.shape != shape or one.dtype != np.float32 for one in scores):
            raise ConfigError(f"expected float32 importance of shape {shape} in the twin {self.name!r}, got another")
        if not all(np.isfinite(one).all() for one in scores):
            raise ConfigError(f"expected finite importance in the twin {self.name!r}, got NaN or infinity")
        self.config()
        wrong = {name for name, kind in META.items() if type(self.meta.get(name)) is not kind} | set(self.meta) - {
            *META
        }
        if wrong:
            raise ConfigError(f"the origin of the twin {self.name!r} is wrong in {', '.join(sorted(wrong))}")

    def config(self, **settings: Any) -> EnvConfig:
        """Returns an environment's settings with this twin's constraint, unless another one is among them."""
        own = {} if {"threshold", "max_accuracy_drop"} & set(settings) else self.constraint
        return EnvConfig(**{**own, **settings})

    def save(self, folder: Path) -> Path:
        """Writes the file NAME.twin in one step and returns its path.

        Raises:
            OutputError: It cannot be written.
        """
        path = folder / f"{self.name}{SUFFIX}"
        partial = path.with_name(f".{path.name}.part")
        try:
            partial.write_bytes(self.to_bytes())
            partial.replace(path)
        except OSError as error:
            raise OutputError(f"cannot write the twin {path}: {error.strerror}; choose a writable folder") from error
        return path

    def to_bytes(self) -> bytes:
        """Returns the file: a line with the hash of the rest, a line of JSON, and the compressed counts."""
        tables = [getattr(self, part) for part in PARTS]
        header = {
            "schema": SCHEMA,
            "name": self.name,
            "layers": self.layers,
            "heads": self.heads,
            "sentences": {part: table.sentences for part, table in zip(PARTS, tables, strict=True)},
            "importance": {name: found.tolist() for name, found in self.importance.items()},
            "constraint": dict(self.constraint),
            "meta": dict(self.meta),
        }
        # The order of metrics decides what protects heads: keys are not sorted.
        text = json.dumps(header, ensure_ascii=False, allow_nan=False).encode()
        rest = text + b"\n" + encode([table.counts for table in tables], self.layers, self.heads)
        return b"prune-env twin " + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest

    @classmethod
    def load(cls, path: Path) -> TabularTwin:
        """Reads what `save` wrote, after checking its hash.

        Raises:
            IntegrityError: A file that is not there, is no twin, or has changed.
            ManifestError: Another schema, or content that is none of a twin.
        """
        header, counts = read_header(path)
        try:
            return cls._of(header, counts)
        except (PruneEnvError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ManifestError(f"{path} holds no twin of this version: {error}; {_REMEDY}") from error

    @classmethod
    def _of(cls, header: dict[str, Any], counts: bytes) -> TabularTwin:
        layers, heads, sentences = header["layers"], header["heads"], header["sentences"]
        found = decode(counts, len(PARTS), layers, heads)
        tables: dict[str, Any] = {
            part: TableEvaluator(layers, heads, table, sentences[part])
            for part, table in zip(PARTS, found, strict=True)
        }
        importance = {name: np.array(rows, dtype=np.float32) for name, rows in header["importance"].items()}
        kept: dict[str, Any] = {name: header[name] for name in ("name", "layers", "heads", "constraint", "meta")}
        return cls(**kept, importance=importance, **tables)


def check_victim(path: Path, victim_sha256: str) -> None:
    """Checks that a twin's file is of this victim; the counts are not unpacked.

    Raises:
        IntegrityError: It is of another one, or a file as `read_header` refuses it.
        ManifestError: As `read_header` says.
    """
    found = read_header(path)[0]["meta"].get("victim_sha256")
    if found != victim_sha256:
        raise IntegrityError(
            f"expected the twin {path} to be of the victim {victim_sha256[:12]}, got one of {str(found)[:12]}: "
            "the victim was built anew; delete the file to build the twin again, or choose another folder"
        )


def read_header(path: Path) -> tuple[dict[str, Any], bytes]:
    """Reads a twin's file without unpacking its counts: the JSON object, and the counts as they are.

    Raises:
        IntegrityError: A file that is not there, is no twin, or has changed.
        ManifestError: Another schema, or fields that are none of a twin's.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"expected a twin in {path}, got: {error.strerror}; {_REMEDY}") from error
    first = _FIRST.match(content)
    rest = content[first.end() :] if first else b""
    if first is None or hashlib.sha256(rest).hexdigest().encode() != first[1]:
        raise IntegrityError(f"{path} is no twin, or has changed: its SHA-256 is not the one in it; {_REMEDY}")
    text, _, counts = rest.partition(b"\n")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path} holds no JSON text ({error}); {_REMEDY}") from error
    found = header.get("schema") if isinstance(header, dict) else None
    if found != SCHEMA or set(header) != _FIELDS or not isinstance(header["meta"], dict):
        raise ManifestError(f"expected a twin of schema {SCHEMA} in {path}, got schema {found!r}; {_REMEDY}")
    return header, counts
