"""What tables and figures ask of records: the kind of a method, heads kept, constraint; which belong beside each other.

How rows are made of them stands in `prune_env.baselines.tables.rows`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from prune_env.baselines.families import family_of
from prune_env.errors import RecordError
from prune_env.methods import METHODS, get_method, kind_of
from prune_env.records import Record, bits_from_text, cell_key
from prune_env.search import NO_CONSTRAINT, members_of
from prune_env.types import HeadMask

__all__ = [
    "PLAIN", "RANDOM_MASKS", "REFERENCE", "constraint_of", "heads_kept_of", "kind_of", "matching", "members_in",
    "one_version", "one_victim_an_attacker", "rate_text", "same_sentences",
]  # fmt: skip

REFERENCE = "ft"
"""The method against which removal is measured, at the same rate, data, epochs and seeds."""

PLAIN = (REFERENCE, "fth")
"""Plain fine-tuning: fth has a warmer rate of its own, at which it is ft."""

RANDOM_MASKS = ("random", "random-balanced", "random-third")
"""Masks drawn without looking: of the size that a strategy chose, or a third of each layer."""


def rate_text(rate: float) -> str:
    """Writes a learning rate as people do: 2e-5, 1.5e-4."""
    mantissa, _, exponent = f"{rate:.6e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def matching(group: list[Record], role: str, method: str, cells: dict[str, Record]) -> list[Record]:
    """Returns, for each record that has one, the record of another role or of plain fine-tuning in the same cell."""
    found = []
    for record in group:
        # Plain fine-tuning searches nothing, and has no recovery of its own.
        plain = {name: value for name, value in record.config.items() if name != "recovery"}
        config = record.config if method == record.method else {**plain, "search": {}}
        match = cells.get(cell_key(record.victim_sha256, role, method, config, record.seed))
        if match is not None:
            found.append(match)
    return found


def one_version(records: Iterable[Record]) -> None:
    """Refuses records of different versions of one victim.

    Raises:
        RecordError: There are some.
    """
    known: dict[str, str] = {}
    for record in records:
        found = known.setdefault(record.victim, record.victim_sha256)
        if found != record.victim_sha256:
            raise RecordError(
                f"expected one version of {record.victim}, got records of {found[:12]}... and "
                f"{record.victim_sha256[:12]}...; report each version's records by themselves"
            )


def same_sentences(records: Iterable[Record]) -> None:
    """Refuses records of a victim, or its twin, that were judged on different sentences.

    Raises:
        RecordError: There are some.
    """
    known: dict[str, tuple[int, ...]] = {}
    for record in records:
        sizes = tuple(len(bits_from_text(text)) for text in (record.correct, record.flipped))
        found = known.setdefault(record.victim, sizes)
        if found != sizes:
            raise RecordError(
                f"expected every record of {record.victim} to judge the same sentences, got {found} and {sizes} clean "
                "and triggered ones; report records of one version of the victim at a time"
            )


def one_victim_an_attacker(victims: Iterable[Record]) -> None:
    """Refuses two victims of one attacker's seed in a family.

    Raises:
        RecordError: There are some.
    """
    known: dict[tuple[str, int], str] = {}
    for record in victims:
        name = known.setdefault((family_of(record.victim), record.attacker_seed), record.victim)
        if name != record.victim:
            raise RecordError(
                f"expected one victim of attacker's seed {record.attacker_seed} in the family "
                f"{family_of(record.victim)}, got {name} and {record.victim}; leave one of them out"
            )


def members_in(record: Record) -> tuple[HeadMask, ...]:
    """Returns the masks of an ensemble's members; () of every other method, and of one that is not known here."""
    return members_of(get_method(record.method), record.trace) if record.method in METHODS else ()


def heads_kept_of(record: Record) -> float:
    """Returns how many heads a record's mask keeps; of an ensemble, its members' mean."""
    members = members_in(record)
    return float(np.mean([mask.sum() for mask in members])) if members else record.heads_kept


def constraint_of(record: Record) -> str:
    """Returns the accuracy that the search had to hold, in words; "" where nothing held it."""
    search = record.config["search"]
    # A control of matched size is held to nothing itself, but its size comes from a search that was.
    environment = search.get("matched", search).get("environment", {})
    if environment.get("max_accuracy_drop") is not None:
        return f"accuracy drop <= {environment['max_accuracy_drop']:g}"
    threshold = environment.get("threshold")
    return "" if threshold is None or threshold == NO_CONSTRAINT else f"accuracy >= {threshold:g}"
