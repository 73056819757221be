"""Replaying records: what in them can be computed again, is, and what cannot is said.

From the mask and the trace: every accuracy on `search` and `certify`, the evaluations, the threshold. From the stored
bits of each test sentence: ACC, each class's recall, LFR. From the twin's record of the same cell: the floor. That a
fine-tuning gave those bits, and the AUC, is taken on trust unless it is done again (`refit`).

A record is checked against the model it names (by hash), on the task it names, in the arithmetic it names. With the
same libraries, processor, device and task the numbers must be equal; elsewhere two sentences of a split may differ, and
a fine-tuning done again may end elsewhere: its differences are reported, not refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune_env.aids import aids_for
from prune_env.errors import RecordError, ReplayMismatchError
from prune_env.machine import same_arithmetic, versions
from prune_env.methods import get_method
from prune_env.recheck import Check, floor, judged, refit, searched
from prune_env.records import Record, read_records
from prune_env.scoring import Scoring, scoring_of
from prune_env.threads import threads
from prune_env.types import mask_from_text
from prune_env.victims.diagnosis import FOLDER as DIAGNOSIS
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.protocols import Protocol
from prune_env.victims.store import Suspect, Victim, embedded_names, open_victim
from prune_env.victims.task import build_task
from prune_env.victims.training_config import TrainingConfig

TOLERATED = 2
"""Sentences of a split by which an accuracy may differ across machines."""

Report = Callable[[str, int, int], None]
"""(record, records done, records in all)"""


@dataclass(frozen=True)
class Replay:
    """What came of one record.

    Attributes:
        name: The record in words.
        numbers: How many values were checked.
        same_task: Whether the task has the recorded content; one rebuilt elsewhere may differ in its last bits.
        exact: Whether the numbers had to be equal.
        differences: Those that differ by more than is allowed.
        unchecked: What could not be checked here, in words.
        drift: What fine-tuning again changed where it need not give the same bits.
    """

    name: str
    numbers: int
    same_task: bool
    exact: bool
    differences: tuple[Check, ...]
    unchecked: tuple[str, ...] = ()
    drift: tuple[Check, ...] = ()


def load(paths: Iterable[Path]) -> list[Record]:
    """Reads whole files of records.

    Raises:
        RecordError: A file that is not there, empty, cut off within a record, malformed, or of another schema.
    """
    records: list[Record] = []
    for path in paths:
        if not path.is_file():
            raise RecordError(f"expected a file of records at {path}, found none; give a bench's records.jsonl")
        found = read_records(path)
        if not path.read_bytes().endswith(b"\n"):
            raise RecordError(f"{path} ends in half a record; run its bench again, or remove the last line")
        if not found:
            raise RecordError(f"expected records in {path}, found none; give a bench's records.jsonl")
        records += found
    return records


def replay_all(
    records: Sequence[Record],
    victims: Iterable[str | Path] = (),
    data: str | None = None,
    *,
    device: str = "cpu",
    again: bool = False,
    report: Report | None = None,
) -> list[Replay]:
    """Checks every record, its floor against the twin's record among the others.

    Args:
        records: Victims' and twins' records.
        victims: Folders of victims that are not embedded.
        data: Data folder of SST-2 protocols; PRUNE_ENV_DATA if None.
        device: Where to compute.
        again: Whether to fine-tune again: minutes a record on real data.
        report: Called after each record.

    Returns:
        One result a record; none has differences.

    Raises:
        ReplayMismatchError: After all are done, naming every number that differs.
        RecordError: A victim is missing, or is not the one that was recorded.
    """
    known = find_victims(records, victims)
    cells = {record.key: record for record in records}
    done: list[Replay] = []
    with threads(1):
        for record in records:
            done.append(replay(record, known[record.victim_sha256], data, device, cells=cells, again=again))
            if report is not None:
                report(done[-1].name, len(done), len(records))
    check(done)
    return done


def check(replays: Iterable[Replay]) -> None:
    """Raises `ReplayMismatchError` if a number differs; the message names each."""
    every = list(replays)
    failed = [one for one in every if one.differences]
    if failed:
        listed = "; ".join(f"{one.name}: {', '.join(map(str, one.differences))}" for one in failed)
        other = "" if all(one.same_task for one in failed) else " (tasks rebuilt here differ from the recorded ones)"
        raise ReplayMismatchError(
            f"{len(failed)} of {len(every)} records do not replay{other}: {listed}; do not rely on them, run their "
            "bench again"
        )


def find_victims(records: Iterable[Record], victims: Iterable[str | Path] = ()) -> dict[str, Victim]:
    """Returns the records' victims by hash: those given, and the embedded ones.

    Raises:
        RecordError: Names every victim that is missing.
    """
    wanted = {record.victim_sha256: record.victim for record in records}
    given = [open_victim(victim) for victim in victims]
    embedded = [open_victim(name) for name in embedded_names() if name in wanted.values()]
    known = {victim.manifest.sha256: victim for victim in [*embedded, *given]}
    missing = {digest: name for digest, name in wanted.items() if digest not in known}
    if missing:
        named = ", ".join(f"{name} (sha256 {digest[:12]}...)" for digest, name in missing.items())
        others = sorted({victim.name for victim in known.values()} & set(missing.values()))
        hint = f"; of {', '.join(others)} there is another version" if others else ""
        raise RecordError(
            f"expected the victims of these records, missing are {named}{hint}; give their folders with --victim"
        )
    return known


def replay(
    record: Record,
    victim: Victim,
    data: str | None = None,
    device: str = "cpu",
    *,
    cells: Mapping[str, Record] | None = None,
    again: bool = False,
) -> Replay:
    """Checks one record; building its task if it is not cached.

    Args:
        record: A victim's or a twin's.
        victim: The victim it names.
        data: Data folder of SST-2 protocols.
        device: Where to compute.
        cells: Other records by key, among them perhaps the twin's.
        again: Whether to fine-tune again.
    """
    protocol = protocol_of(record.config["protocol"])
    task = build_task(_suspect(record, victim), protocol, record.seed, data=data, device=device)
    same_task = task.sha256 == record.task_sha256
    exact = same_task and same_arithmetic(record.versions, versions(device))
    scoring = scoring_of(task, device, record.dtype)
    diagnosis = open_diagnosis(victim) if (victim.folder / DIAGNOSIS).is_dir() else None
    floors = floor(record, cells or {})
    checks = [*_accuracies(record, scoring), *searched(record, scoring), *judged(record, diagnosis), *floors]
    refitted: list[Check] = []
    if again and diagnosis is not None:
        reference = aids_for(get_method(record.method), victim, record.seed).reference
        refitted = refit(record, task, diagnosis, device, reference)
    failed = [check for check in checks if not check.holds(0 if exact else TOLERATED)]
    moved = [check for check in refitted if not check.holds()]
    return Replay(
        name=describe(record),
        numbers=len(checks) + len(refitted),
        same_task=same_task,
        exact=exact,
        differences=(*failed, *(moved if exact else ())),
        unchecked=_unchecked(record, diagnosis is None, floors, again),
        drift=() if exact else tuple(moved),
    )


def _unchecked(record: Record, no_diagnosis: bool, floors: Sequence[Check], again: bool) -> tuple[str, ...]:
    missing = []
    if no_diagnosis:
        missing.append("the test sentences: the victim came without its diagnosis")
    if record.role == "victim" and record.floor_lfr is not None and not floors:
        missing.append("the floor: the twin's record is not among these")
    if not again or no_diagnosis:
        missing.append("AUC, and that fine-tuning gives the recorded sentences: --refit does it again")
    return tuple(missing)


def describe(record: Record) -> str:
    """Names a record: victim, role, method, rate, seed."""
    rate = record.config["training"]["learning_rate"]
    return f"{record.method} on {record.victim} ({record.role}), rate {rate:g}, seed {record.seed}"


def protocol_of(settings: Mapping[str, Any]) -> Protocol:
    """Returns the protocol whose `to_json` was recorded.

    Raises:
        RecordError: Other settings.
    """
    try:
        return Protocol(**{**settings, "training": TrainingConfig(**settings["training"])})
    except (KeyError, TypeError) as error:
        raise RecordError(f"expected a protocol's settings in a record, got {dict(settings)!r} ({error})") from error


def _suspect(record: Record, victim: Victim) -> Suspect:
    suspect = victim.suspect if record.role == "victim" else open_diagnosis(victim).twin
    if suspect is None or suspect.sha256 != record.model_sha256:
        found = "none" if suspect is None else f"{suspect.sha256[:12]}..."
        raise RecordError(
            f"{describe(record)}: expected a model with hash {record.model_sha256[:12]}..., got {found}; give the "
            "victim's folder as it was"
        )
    return suspect


def _accuracies(record: Record, scoring: Scoring) -> Iterator[Check]:
    """Yields the accuracy of every mask in the record, on the split it was measured on."""

    def check(what: str, recorded: float, split: str, mask: str) -> Check:
        searched = split == "search"
        evaluator = (
            scoring.recovered(record.config["search"].get("recover_on")) if searched else scoring.evaluator(split)
        )
        return Check(what, recorded, float(evaluator.accuracy(mask_from_text(mask)[None])[0]), evaluator.sentences)

    yield check("search accuracy", record.search_accuracy, "search", record.mask)
    yield check("certify accuracy", record.certify_accuracy, "certify", record.mask)
    for step, entry in enumerate(record.trace, 1):
        for mask, rate in (("attempted", "attempted_accuracy"), ("mask", "accuracy")):
            yield check(f"step {step}'s {rate.replace('_', ' ')}", entry[rate], "search", entry[mask])
