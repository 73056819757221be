"""Figures that look into models: which victims and tasks records name, their metrics and masks, kept between runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.baselines.figures.drawing import Request
from prune_env.cache import writable
from prune_env.errors import FigureError
from prune_env.importance import METRICS
from prune_env.oracle import oracle_evaluator
from prune_env.records import Record, only
from prune_env.replay import protocol_of
from prune_env.scoring import Scoring, scoring_of
from prune_env.threads import threads
from prune_env.types import HeadScores, mask_from_text
from prune_env.victims.store import Victim, embedded_names, open_victim
from prune_env.victims.task import Task, build_task

FOLDER = "cache"
_VERSION = 1

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Defender:
    """One defender of one victim: what scores heads and evaluates masks.

    Attributes:
        victim: The victim.
        protocol: The defender's, as recorded.
        seed: The defender's.
    """

    victim: Victim
    protocol: dict[str, Any]
    seed: int

    @property
    def key(self) -> tuple[Any, ...]:
        """What decides its scoring model."""
        return self.victim.manifest.sha256, json.dumps(self.protocol, sort_keys=True), self.seed

    def task(self, request: Request) -> Task:
        """Opens the task, building its scoring model if it is not in the user's cache."""
        request.report(f"scoring model of {self.victim.name}, seed {self.seed}")
        protocol = protocol_of(self.protocol)
        with threads(1):
            return build_task(self.victim.suspect, protocol, self.seed, data=request.data, device=request.device)

    def scoring(self, request: Request) -> Scoring:
        """Returns the task's scoring, shared within the process."""
        return scoring_of(self.task(request), request.device)


def victims_at_hand(request: Request) -> dict[str, Victim]:
    """Returns the records' victims that are embedded or were given, by hash.

    Raises:
        FigureError: None of them is at hand.
    """
    wanted = {record.victim_sha256: record.victim for record in request.records}
    embedded = [name for name in embedded_names() if name in wanted.values()]
    every = [open_victim(name) for name in (*embedded, *request.victims)]
    found = {victim.manifest.sha256: victim for victim in every if victim.manifest.sha256 in wanted}
    if not found:
        raise FigureError(
            f"it looks into models, and the victims {', '.join(sorted(set(wanted.values())))} are not at hand; give "
            "their folders with --victim"
        )
    return found


def defenders(request: Request, victims: Mapping[str, Victim]) -> list[Defender]:
    """Returns the distinct defenders of these victims in the records, by victim and seed."""
    every = (defender_of(record, victims) for record in only(request.records, "victim"))
    found = {defender.key: defender for defender in every if defender is not None}
    return sorted(found.values(), key=lambda one: (one.victim.name, one.key[1], one.seed))


def defender_of(record: Record, victims: Mapping[str, Victim]) -> Defender | None:
    """Returns the defender of a record; None where its victim is not at hand."""
    victim = victims.get(record.victim_sha256)
    return None if victim is None else Defender(victim, record.config["protocol"], record.seed)


def importance(defender: Defender, request: Request, metrics: Sequence[str] = tuple(METRICS)) -> dict[str, HeadScores]:
    """Returns each metric's scores on a scoring model, (layers, heads), from the cache where they are there."""

    def make() -> Arrays:
        scoring = defender.scoring(request)
        request.report(f"metrics on {defender.victim.name}, seed {defender.seed}")
        with threads(1):
            return dict(scoring.importance(metrics))

    return cached(request.out, "importance", [*defender.key, *metrics], make)


def masked_lfr(defender: Defender, request: Request, masks: Iterable[str]) -> dict[str, float]:
    """Returns the LFR of the masked scoring model on triggered VALIDATION sentences, by mask: a judge's look."""
    wanted = sorted(set(masks))

    def make() -> Arrays:
        evaluator = oracle_evaluator(defender.scoring(request), defender.victim)
        request.report(f"{len(wanted)} masks on {defender.victim.name}, seed {defender.seed}")
        with threads(1):
            rates = evaluator.accuracy(np.stack([mask_from_text(mask) for mask in wanted]))
        return {"lfr": rates, "sentences": np.array(evaluator.sentences)}

    found = cached(request.out, "masked-lfr", [*defender.key, *wanted], make)
    return dict(zip(wanted, map(float, found["lfr"]), strict=True))


def cached(out: Path, what: str, identity: Sequence[Any], make: Callable[[], Arrays]) -> Arrays:
    """Returns arrays from OUT/cache, made and written there if they are not there yet.

    Args:
        out: Folder of the figures.
        what: Begins the file's name.
        identity: Everything that decides the arrays, as JSON values.
        make: Computes them.
    """
    path = _place(out, what, identity)
    if not path.is_file():
        made = make()
        writable(path.parent)
        # Written beside and moved: a kill leaves no half file that would be taken for a whole one.
        part = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        np.savez(part, allow_pickle=False, **made)
        part.replace(path)
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def is_cached(out: Path, what: str, identity: Sequence[Any]) -> bool:
    """Whether `cached` would find the arrays."""
    return _place(out, what, identity).is_file()


def _place(out: Path, what: str, identity: Sequence[Any]) -> Path:
    text = json.dumps([_VERSION, what, *identity], sort_keys=True)
    return out / FOLDER / f"{what}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
