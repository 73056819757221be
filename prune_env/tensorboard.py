"""TensorBoard logs of records: the search step by step, what came of it, and the head map as an image."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from prune_env.records import Record
from prune_env.render import HeadMap, head_map_array
from prune_env.types import mask_from_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
OUTCOME = ("search_accuracy", "certify_accuracy", "acc", "evaluations", "seconds")
ORACLE = ("lfr", "auc", "floor_lfr")
"""Measured on triggered sentences: diagnosis, never seen by the search."""


def run_name(record: Record) -> str:
    """Returns the run's folder below the log folder where nothing else claims it: victim, role, method, rate, seed."""
    rate = record.config["training"]["learning_rate"]
    return f"{safe(record.victim)}/{record.role}/{safe(record.method)}-lr{rate:g}-seed{record.seed}"


def picture_name(record: Record) -> str:
    """Returns the same for the picture of its mask, which all rates share."""
    return f"{safe(record.victim)}/{safe(record.method)}-seed{record.seed}"


def safe(name: str) -> str:
    """Returns a name as one component of a path: letters, digits, ".", "_" and "-", no dot in front."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def names(records: Iterable[Record], plain: Callable[[Record], str]) -> dict[str, str]:
    """Returns a name for each record's key: of several settings with one plain name the later ones carry a hash.

    Args:
        records: All of a folder's, in the order they were written: it decides who keeps the plain name.
        plain: `run_name` or `picture_name`.
    """
    owners: dict[str, str] = {}
    found = {}
    for record in records:
        name, settings = plain(record), _settings(record)
        digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
        found[record.key] = name if owners.setdefault(name, settings) == settings else f"{name}-{digest}"
    return found


def _settings(record: Record) -> str:
    """Returns what tells records of one name apart: the victim's version, protocol, constraint, arithmetic."""
    config = {name: record.config[name] for name in ("protocol", "search")}
    training = {**record.config["training"], "learning_rate": None}
    return json.dumps([record.victim, record.victim_sha256, config, training, record.dtype], sort_keys=True)


def log_missing(records: Iterable[Record], known: Iterable[Record], out: Path) -> None:
    """Writes the runs of those records that have none yet.

    Args:
        records: What is to be logged.
        known: All records of the folder, in the order they were written.
        out: The benchmark's folder.
    """
    folders = names(known, run_name)
    for record in records:
        folder = out / FOLDER / folders.get(record.key, run_name(record))
        if not folder.is_dir():
            log_record(record, folder)


def log_record(record: Record, folder: Path) -> None:
    """Writes one record's run, whole or not at all: a kill leaves no folder that looks finished."""
    from torch.utils.tensorboard import SummaryWriter

    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".part-", ignore_cleanup_errors=True) as part:
        with SummaryWriter(str(Path(part) / "run")) as writer:
            _write(record, writer)
        with suppress(OSError):
            # It is there: another process was as fast, with the same content.
            (Path(part) / "run").rename(folder)


def _write(record: Record, writer: SummaryWriter) -> None:
    for step, entry in enumerate(record.trace, 1):
        mask = mask_from_text(entry["mask"])
        writer.add_scalar("search/accuracy", entry["accuracy"], step)
        writer.add_scalar("search/attempted_accuracy", entry["attempted_accuracy"], step)
        writer.add_scalar("search/pruned_fraction", 1.0 - float(mask.mean()), step)
    for prefix, fields in (("outcome", OUTCOME), ("oracle", ORACLE)):
        for name in fields:
            value = getattr(record, name)
            if value is not None:
                writer.add_scalar(f"{prefix}/{name}", value, 0)
    writer.add_image("head_map", head_map_array(head_map(record)), 0, dataformats="HWC")


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
