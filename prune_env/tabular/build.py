"""Makes a victim's tabular twin: every mask evaluated on three splits, a finished split kept for the next run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from prune_env.cache import writable
from prune_env.engine.exhaustive import tabulate
from prune_env.engine.table import TableEvaluator
from prune_env.engine.tokens import TokenizedSplit
from prune_env.errors import ManifestError
from prune_env.importance import METRICS
from prune_env.oracle import oracle_tokens
from prune_env.scoring import Scoring, scoring_of
from prune_env.tabular.twin import PARTS, TabularTwin
from prune_env.victims.manifest import library_versions, read_fields
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import Victim, open_victim
from prune_env.victims.task import build_task

TASK_SEED = 11

FAMILY_TABLE = "family.json"
"""In a family's folder: its finished victims, with their set and kind."""

_DIGITS = 16
"""Of the hash in the names of unfinished splits; another victim's name may begin with this one's."""

KEPT_METRICS = tuple(name for name in METRICS if not name.startswith("as_released"))
"""Metrics that a twin holds, so that its environment shows the ones the live environment shows."""

Report = Callable[[str, int, int], None]
"""Called with (what is being evaluated, sentences done, sentences in all)."""


@dataclass(frozen=True)
class Source:
    """A victim and what is noted about it in its twin.

    Attributes:
        victim: An embedded victim's name, or a victim's folder.
        split: The set of twins it belongs to: "embedded", "family-train" or "family-test".
        kind: How the backdoor was put in; by default "routed" or "organic", as the manifest says.
    """

    victim: str
    split: str = "embedded"
    kind: str | None = None


def build_twin(
    source: Source,
    task_seed: int = TASK_SEED,
    *,
    data: str | None = None,
    unfinished: Path | None = None,
    report: Report | None = None,
) -> TabularTwin:
    """Evaluates every mask of a victim's scoring model on all of `search` and `certify`, and its masked-only LFR.

    The LFR is that on the judge's triggered validation sentences of the other classes: a diagnosis.

    Args:
        source: The victim.
        task_seed: The defender's seed, as in the live environment.
        data: Data folder of victims on real data.
        unfinished: Folder in which finished splits are kept until the twin is complete; None keeps none.
        report: Told about progress.

    Raises:
        ConfigError: More valid masks than a table may hold.
        PruneEnvError: As `open_victim` and `build_task` say.
    """
    victim = open_victim(source.victim)
    protocol = get_protocol(victim.manifest.protocol)
    scoring = scoring_of(build_task(victim.suspect, protocol, task_seed, data=data))
    tables = _tables(victim, scoring, unfinished, report or (lambda *_: None))
    manifest = victim.manifest
    return TabularTwin(
        name=victim.name,
        layers=tables["search"].layers,
        heads=tables["search"].heads,
        **tables,
        importance={name: np.asarray(found) for name, found in scoring.importance(KEPT_METRICS).items()},
        constraint=dict(manifest.recommended),
        meta={
            "attack": manifest.attack,
            "kind": source.kind or ("routed" if manifest.synthetic else "organic"),
            "libraries": library_versions(),
            "protocol": protocol.name,
            "split": source.split,
            "task_seed": task_seed,
            "task_sha256": scoring.task.sha256,
            "victim_sha256": manifest.sha256,
        },
    )


def splits_of(victim: Victim, scoring: Scoring) -> dict[str, TokenizedSplit]:
    """Returns the sentences behind each of a twin's tables, by the table's name."""
    found = {name: scoring.task.tokens(name, scoring.tokenizer) for name in ("search", "certify")}
    return found | {"oracle_lfr": oracle_tokens(scoring, victim)}


def _tables(victim: Victim, scoring: Scoring, unfinished: Path | None, report: Report) -> dict[str, TableEvaluator]:
    """Evaluates the splits that no earlier run has finished."""
    splits = splits_of(victim, scoring)
    files = {} if unfinished is None else _files(victim, scoring, writable(unfinished))
    tables = {part: TableEvaluator.load(path) for part, path in files.items() if path.is_file()}
    total, done = sum(map(len, splits.values())), sum(table.sentences for table in tables.values())
    report(f"{victim.name}: {len(tables)} splits found", done, total)
    for part in (part for part in PARTS if part not in tables):
        told = partial(_tell, report, f"{victim.name}: {part}", done, total)
        tables[part] = tabulate(scoring.task.scoring_model(), splits[part], told)
        if part in files:
            tables[part].save(files[part])
        done += len(splits[part])
    return tables


def _files(victim: Victim, scoring: Scoring, folder: Path) -> dict[str, Path]:
    """Returns where the splits of an unfinished twin are kept: names that change with all that decides the counts."""
    judged = victim.manifest.files.get("diagnosis/triggered_dev.jsonl", "")
    identity = hashlib.sha256(f"{scoring.task.sha256} {judged}".encode()).hexdigest()[:_DIGITS]
    return {part: folder / f".{victim.name}-{identity}-{part}.npz" for part in PARTS}


def _tell(report: Report, label: str, before: int, total: int, done: int) -> None:
    """Adds what earlier splits had to the progress of one."""
    report(label, before + done, total)


def read_family(folder: Path) -> list[Source]:
    """Returns the victims of a family's folder that its table lists, with their set and kind.

    Raises:
        ManifestError: No table, or one of another form.
    """
    path = folder / FAMILY_TABLE
    rows = read_fields(path, 1, ["schema", "victims"], "a family of victims")["victims"]
    try:
        return [Source(str(folder / row["name"]), row["split"], row["kind"]) for row in rows]
    except (TypeError, KeyError) as error:
        raise ManifestError(
            f"expected name, split and kind of each victim in {path}; build the family again"
        ) from error


def clear_unfinished(name: str, folder: Path) -> None:
    """Removes the splits kept for a twin that is complete."""
    for part in PARTS:
        for path in folder.glob(f".{name}-{'[0-9a-f]' * _DIGITS}-{part}.npz"):
            path.unlink()
