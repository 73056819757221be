"""Ways from every head to a method's mask: LFR along them, of the masked scoring model and after fine-tuning.

After fine-tuning, LFR is known where a record tells: at the end of a path, and where another record of the same
defender, recovery and rate has the same mask, as plain fine-tuning has the one with every head. On embedded victims a
few more masks of each path are fine-tuned, with the record's own protocol, seed and recovery; each is stored.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prune_env.baselines.figures.drawing import Request
from prune_env.baselines.figures.matching import Pair
from prune_env.baselines.figures.models import Arrays, Defender, cached, is_cached, masked_lfr
from prune_env.baselines.summary import members_in
from prune_env.errors import FigureError, RecordError
from prune_env.recheck import purified_again
from prune_env.records import Record
from prune_env.search import best_of
from prune_env.threads import threads
from prune_env.types import full_mask, mask_from_text, mask_to_text
from prune_env.victims.diagnosis import Diagnosis, open_diagnosis
from prune_env.victims.judge import judge, oracle_dev_lfr
from prune_env.victims.store import ASSETS, Victim
from prune_env.victims.task import Task

PER_PATH = 5
"""Masks of a path that are fine-tuned, evenly spaced, its two ends among them."""

_WHAT = "fine-tuned"


@dataclass(frozen=True)
class Tuned:
    """LFR of a fine-tuned model, in [0, 1].

    Attributes:
        validation: On the triggered validation sentences; None where the record does not tell.
        test: On the triggered test sentences.
    """

    validation: float | None
    test: float


@dataclass(frozen=True)
class Walk:
    """One record's way from every head to its mask.

    Attributes:
        pair: The record and its floor.
        heads_kept: After each step, all heads first.
        masked: LFR of the masked scoring model there, on validation sentences.
        tuned: After fine-tuning, by step, where it is known.
        masks: After each step, as text.
    """

    pair: Pair
    heads_kept: tuple[int, ...]
    masked: tuple[float, ...]
    tuned: Mapping[int, Tuned]
    masks: tuple[str, ...] = ()


def masks_along(pair: Pair) -> list[str]:
    """Returns the masks a search held, every head first, none twice; [] of an ensemble, whose episodes are no path."""
    record = pair.record
    if members_in(record) or not record.trace:
        return []
    # Of several episodes only the one that gave the mask leads there.
    episode = best_of(record.trace).get("episode") if any("episode" in step for step in record.trace) else None
    full = mask_to_text(full_mask(*mask_from_text(record.mask).shape))
    return list(dict.fromkeys([full, *(step["mask"] for step in record.trace if step.get("episode") == episode)]))


def spaced(count: int, wanted: int = PER_PATH) -> list[int]:
    """Returns so many steps of a path at most, evenly spaced, the first and the last among them."""
    return sorted({round(float(place)) for place in np.linspace(0, count - 1, min(count, wanted))})


def walks(found: Sequence[Pair], request: Request, victims: Mapping[str, Victim]) -> list[Walk]:
    """Follows each record of a victim at hand that has a path; masks are evaluated and fine-tuned where they must be.

    Raises:
        FigureError: A record cannot be purified again by this version.
    """
    there = [pair for pair in found if pair.record.victim_sha256 in victims]
    paths = [(pair, masks) for pair in there if (masks := masks_along(pair))]
    asked: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for pair, masks in paths:
        asked[_defender(pair, victims).key].update(masks)
    known = known_from(pair.record for pair in found)
    if request.fine_tune:
        known |= _fine_tuned(paths, request, victims, known)
    every = []
    for pair, masks in paths:
        defender = _defender(pair, victims)
        rates = masked_lfr(defender, request, asked[defender.key])
        tuned = {step: known[one] for step, mask in enumerate(masks) if (one := identity(pair.record, mask)) in known}
        tuned.setdefault(len(masks) - 1, Tuned(pair.record.oracle_dev_lfr, pair.record.lfr))
        sizes = tuple(mask.count("1") for mask in masks)
        every.append(Walk(pair, sizes, tuple(rates[mask] for mask in masks), tuned, tuple(masks)))
    return every


def identity(record: Record, mask: str) -> str:
    """Returns everything that decides the purified model of a mask by a record's defender, as canonical JSON text."""
    config = record.config
    settings = [config["protocol"], record.seed, config["training"], config.get("recovery")]
    return json.dumps([record.victim_sha256, *settings, mask], sort_keys=True)


def known_from(records: Iterable[Record]) -> dict[str, Tuned]:
    """Returns what records tell of models fine-tuned with one mask, of the suspect's own encoder, by `identity`."""
    own = [record for record in records if record.regime != "reference" and not members_in(record)]
    # Of equal models one whose record tells more comes last, and stays.
    own.sort(key=lambda record: record.oracle_dev_lfr is not None)
    return {identity(record, record.mask): Tuned(record.oracle_dev_lfr, record.lfr) for record in own}


def is_embedded(victim: Victim) -> bool:
    """Whether a victim ships with the package, and so is small: fine-tuning it takes seconds."""
    return victim.folder.parent == ASSETS


def _fine_tuned(
    paths: Sequence[tuple[Pair, list[str]]], request: Request, victims: Mapping[str, Victim], known: Mapping[str, Tuned]
) -> dict[str, Tuned]:
    """Fine-tunes masks along the paths of embedded victims that no record tells of, one by one, each stored."""
    wanted: dict[str, tuple[Defender, Record]] = {}
    for pair, masks in paths:
        defender = _defender(pair, victims)
        if is_embedded(defender.victim) and pair.record.regime != "reference":
            for mask in (masks[step] for step in spaced(len(masks))):
                one = identity(pair.record, mask)
                if one not in known or known[one].validation is None:
                    wanted.setdefault(one, (defender, replace(pair.record, mask=mask, trace=[])))
    missing = [one for one in wanted if not is_cached(request.out, _WHAT, [one])]
    tasks: dict[tuple[object, ...], tuple[Task, Diagnosis]] = {}
    for number, one in enumerate(missing, 1):
        defender, record = wanted[one]
        if defender.key not in tasks:
            tasks[defender.key] = defender.task(request), open_diagnosis(defender.victim)
        request.report(
            f"fine-tuning mask {number} of {len(missing)} along paths: {record.method} on {record.victim}, seed "
            f"{record.seed}, {record.heads_kept} heads"
        )
        task, diagnosis = tasks[defender.key]
        cached(request.out, _WHAT, [one], lambda: _measure(record, task, diagnosis, request.device))  # noqa: B023
    return {one: _stored(request, one) for one in wanted}


def _measure(record: Record, task: Task, diagnosis: Diagnosis, device: str) -> Arrays:
    length = task.protocol.training.max_length
    with threads(1):
        try:
            made = purified_again(record, task, device)
        except RecordError as error:
            raise FigureError(f"{error}; or draw with --no-fine-tune") from error
        validation = oracle_dev_lfr(made.models, made.tokenizer, diagnosis, length, device)
        judged = judge(made.models, made.tokenizer, diagnosis, length, device)
    return {"validation": np.array(validation), "test": np.array(judged.lfr), "acc": np.array(judged.acc)}


def _stored(request: Request, one: str) -> Tuned:
    found = cached(request.out, _WHAT, [one], dict)
    return Tuned(float(found["validation"]), float(found["test"]))


def _defender(pair: Pair, victims: Mapping[str, Victim]) -> Defender:
    return Defender(victims[pair.record.victim_sha256], pair.record.config["protocol"], pair.record.seed)
