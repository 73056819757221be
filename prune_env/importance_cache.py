"""Importance metrics kept on disk: what one process has scored, the next one reads.

On a model of BERT's size two of the metrics take minutes, and every process that makes an environment would pay them
again. What is kept is found again only by the same task, metric, seed, sentences, device, threads, libraries and code
of this package: anything that could change a bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prune_env.cache import cache_folder, writable
from prune_env.errors import IntegrityError
from prune_env.machine import versions
from prune_env.types import HeadScores
from prune_env.victims.manifest import read_fields, write_json

SCHEMA = 1
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
            IntegrityError: A file that holds something else.
            ManifestError: A file that is damaged.
        """
        return {name: self._read(name) for name in metrics if self._path(name).is_file()}

    def write(self, found: Mapping[str, HeadScores]) -> None:
        """Keeps scores, each file in one step; a second process that scored the same writes the same.

        Raises:
            OutputError: The cache folder cannot be written to.
        """
        if found:
            writable(self._folder)
        for name, scores in found.items():
            content = {"schema": SCHEMA, "about": self._about, "metric": name, "scores": scores.tolist()}
            write_json(self._path(name), content)

    @property
    def _about(self) -> dict[str, Any]:
        """Everything that could change a bit, as JSON values."""
        return {
            "task_sha256": self.task,
            "seed": self.seed,
            "sentences": self.sentences,
            "threads": torch.get_num_threads(),
            "versions": versions(self.device),
        }

    @property
    def _folder(self) -> Path:
        return cache_folder() / "importance"

    def _path(self, metric: str) -> Path:
        key = hashlib.sha256(json.dumps([self._about, metric], sort_keys=True).encode()).hexdigest()
        return self._folder / f"{metric}-{key[:24]}.json"

    def _read(self, metric: str) -> HeadScores:
        path = self._path(metric)
        content = read_fields(path, SCHEMA, list(FIELDS), "a metric's scores")
        scores = _as_scores(content["scores"])
        belongs = content["metric"] == metric and content["about"] == self._about
        if scores is None or scores.shape != (self.layers, self.heads) or not belongs:
            raise IntegrityError(
                f"expected finite scores of {metric} for {self.layers} x {self.heads} heads in {path}, got something "
                "else; delete that file, and they are computed again"
            )
        return scores


def _as_scores(values: Any) -> HeadScores | None:
    """Returns a list of rows as float32, or None where it is none or not finite."""
    try:
        scores = np.array(values, dtype=np.float32)
    except (TypeError, ValueError):
        return None
    return scores if scores.ndim == 2 and bool(np.isfinite(scores).all()) else None
