"""Importance metrics kept on disk: what one process has scored, the next one reads.

On a model of BERT's size two of the metrics take minutes, and every process that makes an environment would pay them
again. What is kept is found again only by the same task, metric, seed, sentences, device, threads, libraries and code
of this package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from prune_env.cache import CACHE_VARIABLE, cache_folder, writable
from prune_env.errors import IntegrityError, ManifestError, OutputError
from prune_env.machine import versions
from prune_env.types import HeadScores
from prune_env.victims.manifest import read_fields, write_json

SCHEMA = 1
FOLDER = "importance"
"""Of the cache folder."""

FIELDS = ("schema", "about", "metric", "scores")


@dataclass(frozen=True)
class ImportanceCache:
    """Scores of one task's model on one machine, a JSON file a metric.

    Attributes:
        task: SHA-256 of the defender's task.
        seed: The task's seed, from which those of the metrics follow.
        sentences: Training sentences that are scored on.
        layers: Of the model.
        heads: In each layer.
        device: Where the scores are computed.
    """

    task: str
    seed: int
    sentences: int
    layers: int
    heads: int
    device: str = "cpu"

    def read(self, metrics: Iterable[str]) -> dict[str, HeadScores]:
        """Returns the scores, float32 (layers, heads), of those of the metrics that are kept.

        Raises:
            IntegrityError: A file that is damaged, or holds something else.
        """
        about = self._about()
        paths = {name: _path(about, name) for name in metrics}
        return {name: self._read(path, about, name) for name, path in paths.items() if path.is_file()}

    def write(self, found: Mapping[str, HeadScores]) -> None:
        """Keeps scores, each file in one step; what is not finite is not kept.

        Raises:
            OutputError: The cache folder cannot be written to.
        """
        about = self._about()
        for name, scores in found.items():
            if not np.isfinite(scores).all():
                continue
            path = _path(about, name)
            try:
                writable(path.parent)
                write_json(path, {"schema": SCHEMA, "about": about, "metric": name, "scores": scores.tolist()})
            except (OSError, OutputError) as error:
                raise OutputError(
                    f"expected to be able to write {path}, got: {error}; make room, or set {CACHE_VARIABLE}"
                ) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes that would score the same model waiting, until what is scored here has been kept.

        Where the cache folder cannot be written to, nothing will be kept, and nobody waits.
        """
        try:
            folder = writable(cache_folder() / FOLDER)
        except OutputError:
            yield
            return
        with FileLock(folder / f".{self.task[:24]}-{self.device.replace(':', '-')}.lock"):
            yield

    def _about(self) -> dict[str, Any]:
        """Returns what is part of the key, as JSON values."""
        return {
            "task_sha256": self.task,
            "seed": self.seed,
            "sentences": self.sentences,
            "threads": torch.get_num_threads(),
            "versions": versions(self.device),
        }

    def _read(self, path: Path, about: dict[str, Any], metric: str) -> HeadScores:
        remedy = "delete that file, and they are computed again"
        try:
            content = read_fields(path, SCHEMA, list(FIELDS), "a metric's scores")
        except ManifestError as error:
            raise IntegrityError(f"expected scores of {metric} in {path}, got: {error}; {remedy}") from error
        scores = _as_scores(content["scores"], (self.layers, self.heads))
        if scores is None or content["metric"] != metric or content["about"] != about:
            raise IntegrityError(
                f"expected finite scores of {metric} for {self.layers} x {self.heads} heads in {path}, got something "
                f"else; {remedy}"
            )
        return scores


def _path(about: Mapping[str, Any], metric: str) -> Path:
    """Returns where a metric's scores are kept."""
    key = hashlib.sha256(json.dumps([about, metric], sort_keys=True).encode()).hexdigest()
    return cache_folder() / FOLDER / f"{metric}-{key[:24]}.json"


def _as_scores(values: Any, shape: tuple[int, int]) -> HeadScores | None:
    """Returns rows of numbers as float32, or None where they are none, not finite, or of another shape."""
    rows = values if isinstance(values, list) else []
    if not all(isinstance(row, list) and all(type(one) is float for one in row) for row in rows):
        return None
    if [len(row) for row in rows] != [shape[1]] * shape[0]:
        return None
    with np.errstate(over="ignore"):
        scores = np.array(rows, dtype=np.float32)
    return scores if bool(np.isfinite(scores).all()) else None
