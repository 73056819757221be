"""The study's parts on disk: what each has to be of, so that parts of two studies are never mixed.

A part says which masks it holds, of which victim and by which protocol. Parts written before they also named the
study's size are known by their masks: those are drawn anew and compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from prune_env.baselines.study.masks import chunks, study_masks
from prune_env.cache import writable
from prune_env.errors import ConfigError, OutputError, PruneEnvError, RecordError
from prune_env.types import mask_from_text, mask_to_text
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import open_victim

CHUNK = 8
"""Masks that are fine-tuned together: more of them are no faster, and are lost together when the run is stopped."""

BEFOREHAND = "beforehand"

LOCK = ".lock"


@dataclass(frozen=True)
class Study:
    """What is studied.

    Attributes:
        victims: Names or folders.
        seeds: Defender's seeds, in the order of the work.
        masks: How many, the full mask among them.
        chunk: Masks that are fine-tuned together.
        out: Folder of the parts.
    """

    victims: tuple[str, ...]
    seeds: tuple[int, ...]
    masks: int
    out: Path
    chunk: int = CHUNK

    def __post_init__(self) -> None:
        """Checks that there is something to do."""
        if not self.victims or not self.seeds or self.masks < 1 or self.chunk < 1:
            raise ConfigError(
                f"expected victims, seeds, and at least one mask a study and a chunk, got {len(self.victims)} victims, "
                f"{len(self.seeds)} seeds, {self.masks} masks and chunks of {self.chunk}"
            )

    @property
    def size(self) -> dict[str, int]:
        """What a part says of the study it belongs to."""
        return {"masks": self.masks, "chunk": self.chunk}


@dataclass(frozen=True)
class Part:
    """A piece of work, and a file: a chunk's outcomes, or (`chunk` None) what is known before any fine-tuning."""

    victim: str
    seed: int
    chunk: int | None

    @property
    def file(self) -> str:
        """Its path below the study's folder."""
        name = BEFOREHAND if self.chunk is None else f"chunk-{self.chunk:03d}"
        return f"{Path(self.victim).name}-s{self.seed}/{name}.json"

    def __str__(self) -> str:
        """Says what it is, on one line."""
        what = "beforehand" if self.chunk is None else f"chunk {self.chunk + 1}"
        return f"{Path(self.victim).name}, seed {self.seed}, {what}"


def parts(study: Study) -> list[Part]:
    """Returns every part in the order of the work."""
    count = -(-study.masks // study.chunk)
    return [
        Part(victim, seed, chunk) for seed in study.seeds for victim in study.victims for chunk in (None, *range(count))
    ]


def read_part(study: Study, part: Part) -> dict[str, Any] | None:
    """Returns a finished part's content, None where it is missing.

    Raises:
        RecordError: A file that is no part, or one of another study, victim or protocol.
    """
    path = study.out / part.file
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        layers, heads = mask_from_text(content["masks"][0]).shape
        if not {"victim_sha256", "protocol"} <= set(content):
            raise ValueError("no victim or no protocol")
        if part.chunk is not None and len(content["outcomes"]) != len(content["masks"]):
            raise ValueError("a mask without an outcome")
    except (ValueError, KeyError, IndexError, TypeError, PruneEnvError) as error:
        raise RecordError(
            f"expected a part of a study in {path}, got something else; delete it and run again"
        ) from error
    check_settings(part, path, content)
    size = content.get("study", study.size)
    if size != study.size or content["masks"] != _masks_of(study, part, layers, heads):
        came = f"{size['masks']} masks in chunks of {size['chunk']}" if size != study.size else "other masks"
        raise RecordError(
            f"expected a part of a study of {study.masks} masks in chunks of {study.chunk} in {path}, got one of "
            f"{came}; give that study's --masks, or another --out"
        )
    return content


def check_settings(part: Part, path: Path, found: dict[str, Any]) -> None:
    """Checks that a file is of the victim and the protocol as they are now.

    Raises:
        RecordError: It is not.
    """
    for name, value in settings_now(part.victim).items():
        if found[name] != value:
            what = "victim" if name == "victim_sha256" else "protocol"
            raise RecordError(
                f"expected {path} to be of {part.victim}'s {what} as it is now, got another; delete the folder of that "
                "file and run again, or choose another --out"
            )


@cache
def settings_now(victim: str) -> dict[str, Any]:
    """Returns what outcomes depend on beside masks and seed, as JSON values."""
    manifest = open_victim(victim).manifest
    protocol: dict[str, Any] = json.loads(json.dumps(get_protocol(manifest.protocol).to_json()))
    return {"victim_sha256": manifest.sha256, "protocol": protocol}


@cache
def _texts(count: int, chunk: int, layers: int, heads: int) -> tuple[list[str], list[list[str]]]:
    """Returns a study's masks, and those of each chunk."""
    masks = study_masks(count, layers, heads)
    texts = [mask_to_text(mask) for mask in masks]
    return texts, [[texts[place] for place in places] for places in chunks(masks, chunk)]


def _masks_of(study: Study, part: Part, layers: int, heads: int) -> list[str]:
    if study.masks > (2**heads - 1) ** layers:
        return []
    every, chunked = _texts(study.masks, study.chunk, layers, heads)
    return every if part.chunk is None else chunked[part.chunk]


@contextmanager
def sole(out: Path, lock: str, what: str) -> Iterator[None]:
    """Keeps a second one of a kind out of a study's folder; the system opens the lock of a process that ends.

    Args:
        out: The folder, which is made.
        lock: The lock's file in it.
        what: What there may be one of, for the message.

    Raises:
        OutputError: Another one is at it, or the folder cannot be written to.
    """
    held = FileLock(writable(out) / lock)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"another {what} is at work in {out}; wait until it ends, or choose another --out") from error
    try:
        yield
    finally:
        held.release()
