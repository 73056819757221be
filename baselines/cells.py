"""One cell of the benchmark: a victim's model and its twin, purified alike and judged.

A cell is one method, one seed and one rate; victims that share a twin share its purification too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from prune_env.aids import aids_for
from prune_env.baselines.cell_records import Plan, found_in, make_record
from prune_env.defense import Known, defend, search_mask, training_for
from prune_env.methods import Method, get_method
from prune_env.records import Record, append_record, cell_key, read_records
from prune_env.recovery import Purified, settings_of
from prune_env.search import Found, Search, search_config
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.judge import judge, oracle_dev_lfr, voted_accuracy
from prune_env.victims.protocols import Protocol, get_protocol
from prune_env.victims.store import Suspect, Victim, open_victim
from prune_env.victims.task import Task, build_task

RECORDS = "records.jsonl"


@dataclass(frozen=True)
class Settings:
    """What a benchmark run holds fixed.

    Attributes:
        out: Folder of records and logs.
        protocol: Protocol by name; None takes each victim's own.
        data: Data folder; PRUNE_ENV_DATA if None.
        constraint: Threshold or accuracy drop; empty takes what each victim's manifest recommends.
        device: Where everything is computed.
        dtype: Arithmetic of the search.
    """

    out: Path
    protocol: str | None = None
    data: str | None = None
    constraint: tuple[tuple[str, float], ...] = ()
    device: str = "cpu"
    dtype: str = "float32"

    def protocol_of(self, victim: Victim) -> Protocol:
        """Returns the protocol for a victim."""
        return get_protocol(self.protocol or victim.manifest.protocol)

    def search_of(self, victim: Victim) -> Search:
        """Returns how masks are searched on a victim."""
        constraint = dict(self.constraint) or dict(victim.manifest.recommended)
        return Search(constraint, self.device, self.dtype)


@dataclass(frozen=True)
class Cell:
    """One method, seed and rate on victims that share a twin (usually one victim).

    Attributes:
        victims: Folders or embedded names.
        method: Registered name.
        seed: The defender's.
        learning_rate: Of the final fine-tuning; None takes the protocol's.
    """

    victims: tuple[str, ...]
    method: str
    seed: int
    learning_rate: float | None


def plan(victim: Victim, role: str, cell: Cell, settings: Settings) -> Plan:
    """Returns what a record of this cell will be known by, without running it."""
    method, protocol = get_method(cell.method), settings.protocol_of(victim)
    training = training_for(protocol.training, cell.learning_rate, method)
    config = {
        "protocol": protocol.to_json(),
        "search": _search_config(method, settings.search_of(victim)),
        "training": asdict(training.resolved(settings.device)),
    }
    if method.recovery is not None:
        config["recovery"] = settings_of(method.recovery)
    key = cell_key(victim.manifest.sha256, role, cell.method, config, cell.seed)
    return Plan(victim, role, method, training, config, key)


def _search_config(method: Method, search: Search) -> dict[str, Any]:
    """Returns what decides a search, that of a matched method included: its constraint decides how many heads go."""
    config = search_config(method, search)
    if method.policy is not None:
        config["dtype"] = search.dtype
    if method.matches is not None:
        config["matched"] = search_config(get_method(method.matches), search)
    return config


def run_cell(cell: Cell, settings: Settings) -> list[Record]:
    """Does what is missing of a cell, the twin first, appending each record as it is finished.

    Returns:
        The new records.
    """
    path = settings.out / RECORDS
    records = {record.key: record for record in read_records(path)}
    new: list[Record] = []

    def keep(record: Record) -> None:
        append_record(path, record)
        records[record.key] = record
        new.append(record)

    victims = [open_victim(name) for name in cell.victims]
    floors = [plan(victim, "twin", cell, settings) for victim in victims if (victim.folder / "twin").is_dir()]
    missing = [one for one in floors if one.key not in records]
    work: list[tuple[Suspect, list[Plan]]] = []
    twin = open_diagnosis(missing[0].victim).twin if missing else None
    if twin is not None:
        work.append((twin, missing))
    every = [plan(victim, "victim", cell, settings) for victim in victims]
    work += [(one.victim.suspect, [one]) for one in every if one.key not in records]
    made: dict[bytes, Purified] = {}
    for suspect, plans in work:
        for record in _records(suspect, plans, cell.seed, settings, records, made):
            keep(record)
    return new


def build_cell_task(suspect: Suspect, victim: Victim, seed: int, settings: Settings) -> Task:
    """Returns the defender's task on a victim's model or its twin."""
    return build_task(suspect, settings.protocol_of(victim), seed, data=settings.data, device=settings.device)


def _records(
    suspect: Suspect,
    plans: list[Plan],
    seed: int,
    settings: Settings,
    known: dict[str, Record],
    made: dict[bytes, Purified],
) -> list[Record]:
    """Purifies one model and judges it for each victim it stands for.

    A method that starts from a clean encoder takes nothing of a suspect but its tokenizer: the suspects of one cell
    share what it `made`.
    """
    first = plans[0]
    task = build_cell_task(suspect, first.victim, seed, settings)
    search, aids = settings.search_of(first.victim), aids_for(first.method, first.victim, seed)
    earlier = _known(task, search, known.values())
    reads = _tokenizer_of(suspect) if first.method.regime == "reference" else None
    if reads is not None and reads in made:
        found, purified = search_mask(task, first.method, search, earlier, aids), made[reads]
    else:
        found, purified = defend(task, first.method, search, first.training, known=earlier, aids=aids)
    if reads is not None:
        made[reads] = purified
    records, length = [], first.training.max_length
    certified = voted_accuracy(purified.models, purified.tokenizer, task.certify, length, settings.device)
    for one in plans:
        diagnosis = open_diagnosis(one.victim)
        judged = judge(purified.models, purified.tokenizer, diagnosis, length, settings.device)
        seconds = found.seconds + purified.seconds
        floor = known.get(cell_key(one.victim.manifest.sha256, "twin", one.method.name, one.config, seed))
        where = {"dtype": settings.dtype, "device": settings.device}
        record = make_record(one, task=task, found=found, judged=judged, seconds=seconds, floor=floor, **where)
        developed = oracle_dev_lfr(purified.models, purified.tokenizer, diagnosis, length, settings.device)
        record = replace(record, final_certify_accuracy=certified, oracle_dev_lfr=developed)
        records.append(replace(record, recovery_sentences=purified.sentences))
    return records


def _tokenizer_of(suspect: Suspect) -> bytes | None:
    """Returns what a suspect's tokenizer is written in; None if that is no single file."""
    file = suspect.folder / "tokenizer.json"
    return file.read_bytes() if file.is_file() else None


def _known(task: Task, search: Search, records: Iterable[Record]) -> Known:
    """Takes masks from records of the same search: rates share their masks."""
    found = {
        (record.method, _canonical(record.config["search"])): record
        for record in records
        if record.task_sha256 == task.sha256
    }

    def known(method: Method) -> Found | None:
        config = _canonical(_search_config(method, search))
        record = found.get((method.name, config)) or found.get((method.mask_of or "", config))
        return None if record is None else found_in(record)

    return known


def _canonical(config: dict[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)
