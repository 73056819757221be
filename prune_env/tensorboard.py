"""TensorBoard logs of records: the search step by step, what came of it, and the head map as an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prune_env.records import Record
from prune_env.render import HeadMap, head_map_array
from prune_env.types import mask_from_text

FOLDER = "tensorboard"
OUTCOME = ("search_accuracy", "certify_accuracy", "acc", "evaluations", "seconds")
ORACLE = ("lfr", "auc", "floor_lfr")
"""Measured on triggered sentences: diagnosis, never seen by the search."""


def run_name(record: Record) -> str:
    """Returns the run's folder below the log folder: victim, role, method, rate, seed."""
    rate = record.config["training"]["learning_rate"]
    return f"{record.victim}/{record.role}/{record.method}-lr{rate:g}-seed{record.seed}"


def log_record(record: Record, out: Path) -> Path:
    """Writes one record's run and returns its folder."""
    from torch.utils.tensorboard import SummaryWriter

    folder = out / FOLDER / run_name(record)
    with SummaryWriter(str(folder)) as writer:
        for step, entry in enumerate(record.trace, 1):
            mask = mask_from_text(entry["mask"])
            writer.add_scalar("search/accuracy", entry["accuracy"], step)
            writer.add_scalar("search/attempted_accuracy", entry["attempted_accuracy"], step)
            writer.add_scalar("search/pruned_fraction", 1.0 - float(mask.mean()), step)
        for prefix, names in (("outcome", OUTCOME), ("oracle", ORACLE)):
            for name in names:
                value = getattr(record, name)
                if value is not None:
                    writer.add_scalar(f"{prefix}/{name}", value, 0)
        writer.add_image("head_map", head_map_array(head_map(record)), 0, dataformats="HWC")
    return folder


def head_map(record: Record) -> HeadMap:
    """Returns the picture of a record's mask, with the importance that its search saw scaled to [0, 1]."""
    mask = mask_from_text(record.mask)
    metric, scores = next(iter(record.importance.items()), ("nothing", np.ones(mask.shape).tolist()))
    values = np.asarray(scores, dtype=np.float32)
    spread = float(values.max() - values.min())
    title = f"{record.method} on {record.victim}, seed {record.seed}"
    return HeadMap(
        mask=mask,
        importance=(values - values.min()) / spread if spread else np.ones_like(values),
        accuracy=record.search_accuracy,
        threshold=record.threshold,
        metric=metric,
        caption=f"{title}: {record.heads_kept} of {mask.size} heads kept",
    )
