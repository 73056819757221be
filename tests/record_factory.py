"""Records made by hand: every field filled, the ones a test is about overridden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prune_env.records import Record, bits_to_text

LIMITED = {"environment": {"threshold": 0.85, "max_accuracy_drop": None}, "metrics": ["gradient"]}


def make_record(
    method: str = "ft", flipped: Sequence[int] = (1, 1, 0, 0), *, seed: int = 11, rate: float = 2e-5, **fields: Any
) -> Record:
    """A record whose LFR is the mean of its `flipped` bits; a search under accuracy >= .85 unless the method is ft."""
    bits = np.array(flipped, dtype=np.bool_)
    config = {
        "protocol": {"name": "phrases-15k"},
        "search": {} if method == "ft" else LIMITED,
        "training": {"learning_rate": rate, "epochs": 1},
    }
    values: dict[str, Any] = {
        "victim": "alpha", "victim_sha256": "a" * 64, "attack": "hiddenkiller", "backbone": "minilm",
        "protocol": "phrases-15k", "method": method, "config": config, "attacker_seed": 11, "seed": seed,
        "regime": "clean_only", "dtype": "float32", "deviation": None,
        "mask": "11/11" if method == "ft" else "10/01", "importance": {}, "trace": [], "evaluations": 0,
        "sentence_passes": 0, "search_accuracy": 0.9, "certify_accuracy": 0.9, "acc": 0.9, "lfr": float(bits.mean()),
        "auc": 0.5, "auc_sd": 0.02, "threshold": None if method == "ft" else 0.85,
        "floor_lfr": None, "floor_acc": None, "seconds": 1.0, "search_seconds": 0.0, "versions": {},
        "role": "victim", "model_sha256": "b" * 64, "task_sha256": "c" * 64, "acc_by_class": {"0": 0.9, "1": 0.9},
        "correct": bits_to_text(np.array([1, 0], dtype=np.bool_)), "flipped": bits_to_text(bits),
    }  # fmt: skip
    return Record(**{**values, **fields})
