"""From records to rows: a method at a rate on a family of victims, each number with its hierarchical interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prune_env.baselines.families import family_of
from prune_env.baselines.summary import (
    REFERENCE,
    constraint_of,
    heads_kept_of,
    matching,
    one_version,
    one_victim_an_attacker,
    same_sentences,
)
from prune_env.baselines.tables.costs import recovery_passes
from prune_env.baselines.tables.hierarchy import Resampler, Unit, Values, attackers, by_attacker, mean, subtract
from prune_env.baselines.tables.paper_cells import rank
from prune_env.baselines.tables.scenes import Scene, canonical, declared, differences, label, rate, scene_key, scenes
from prune_env.methods import kind_of
from prune_env.metrics import Interval, removal_fraction
from prune_env.records import Record, bits_from_text, only

__all__ = ["CLAIM_ATTACKERS", "Row", "bits", "by_scene", "differences", "make_rows"]

CLAIM_ATTACKERS = 5
"""Attackers below which a row is a lead and not a result (PROTOCOL.md)."""


@dataclass(frozen=True)
class Row:
    """One method at one rate in one scene; rates and differences of rates in [-1, 1].

    Means are over attackers of the mean over their defenders; where an `Interval` stands, it is the hierarchical 95 %
    interval over what `prune_env.baselines.tables.hierarchy.covers` says. Plain numbers have none.

    Attributes:
        scene: What is held fixed.
        method: Registered name.
        kind: One of `prune_env.methods.KINDS`.
        regime: Information the method used.
        constraint: Accuracy that the search had to hold, in words; "" without one.
        learning_rate: Of the final fine-tuning.
        note: What sets this row apart from another of the same name.
        heads: Heads of the model.
        heads_kept: Mean number kept.
        evaluations: Mean number of distinct masks asked for.
        acc: Clean test accuracy.
        acc_by_class: Mean recall of each class on the clean test; None where a record lacks it.
        lfr: Label flip rate.
        auc: Triggered target against triggered non-target sentences; sentences enter by DeLong's standard error.
        floor: LFR of the twin after the same method; None without twins. Of the regime "reference": after ft.
        above: LFR - floor, over the units that have both.
        removed: (LFR of ft - LFR) / (LFR of ft - floor of ft) at the same rate; None where ft's LFR is not above its
            floor beyond noise, where ft was not run, and for ft itself. The interval is that of the ratio linearised
            at its value.
        certify: Mean accuracy of the purified victims on `certify`; None where a record lacks it.
        twin_acc: Mean ACC of the twins after the same method: what it costs innocent models.
        search_passes: Mean sentence-passes of importance and search.
        recovery_passes: Mean sentence-passes of the final fine-tuning; None where a record does not tell.
        seconds: Mean wall time of search and fine-tuning.
        excess: What rows are compared by: flips minus the twin's flips; plain flips where no unit has a twin.
        correct: Clean test sentences that are right.
        certified: Accuracy on `certify` of each unit that has it.
        kept: Heads kept of each unit.
        units: All of the row's units.
        precisions: Of each attacker's defenders, where records tell.
    """

    scene: Scene
    method: str
    kind: str
    regime: str
    constraint: str
    learning_rate: float
    note: str
    heads: int
    heads_kept: float
    evaluations: float
    acc: Interval
    acc_by_class: dict[str, float | None] = field(compare=False)
    lfr: Interval
    auc: Interval
    floor: Interval | None
    above: Interval | None
    removed: Interval | None
    certify: float | None
    twin_acc: float | None
    search_passes: float
    recovery_passes: float | None
    seconds: float
    excess: Values = field(compare=False, repr=False)
    correct: Values = field(compare=False, repr=False)
    certified: dict[Unit, float] = field(compare=False, repr=False)
    kept: Values = field(compare=False, repr=False)
    units: tuple[Unit, ...]
    precisions: dict[int, str] = field(default_factory=dict, compare=False)

    @property
    def attackers(self) -> int:
        """Attackers behind the outcome."""
        return attackers(self.excess)

    @property
    def left(self) -> float:
        """What is left of the backdoor: points above the matched floor, or LFR where there are no twins, as a rate."""
        return mean(self.excess)

    @property
    def left_by_attacker(self) -> dict[int, float]:
        """The same, by attacker's seed."""
        return by_attacker(self.excess)

    @property
    def name(self) -> str:
        """The method, and whatever sets it apart from the rows around it."""
        notes = [note for note in (self.regime if self.regime != "clean_only" else "", self.note) if note]
        return f"{self.method} ({', '.join(notes)})" if notes else self.method


def make_rows(records: Iterable[Record], resampler: Resampler | None = None) -> list[Row]:
    """Returns the rows of all families, scene by scene, in the paper's order, rates rising.

    Args:
        records: Victims' and twins' in any order; of two records of one cell the later one counts.
        resampler: Makes the draws.

    Raises:
        RecordError: Different versions of a victim, two victims of one attacker's seed in a family, or a victim judged
            on different sentences.
    """
    cells = {record.key: record for record in records}
    one_version(cells.values())
    same_sentences(cells.values())
    victims = only(cells.values(), "victim")
    one_victim_an_attacker(victims)
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in victims:
        groups.setdefault((family_of(record.victim), record.method, canonical(declared(record))), []).append(record)
    found = list(groups.values())
    known = scenes(found)
    labels = [label(group[0]) for group in found]
    notes: dict[int, str] = {}
    for called in set(labels):
        alike = [group for group, one in zip(found, labels, strict=True) if one == called]
        notes.update(zip(map(id, alike), differences([declared(group[0]) for group in alike]), strict=True))
    make = resampler or Resampler()
    rows = [_row(group, known[scene_key(group[0])], notes[id(group)], cells, make) for group in found]
    return sorted(rows, key=_order)


def by_scene(rows: Iterable[Row]) -> dict[Scene, list[Row]]:
    """Groups rows by scene, in their order."""
    found: dict[Scene, list[Row]] = {}
    for row in rows:
        found.setdefault(row.scene, []).append(row)
    return found


def _row(group: list[Record], scene: Scene, note: str, cells: dict[str, Record], resampler: Resampler) -> Row:
    first = group[0]
    floors = _units(matching(group, "twin", REFERENCE if first.regime == "reference" else first.method, cells))
    records = _units(group)
    flips, floor_flips = bits(records, "flipped"), bits(floors, "flipped")
    excess = subtract(flips, floor_flips) if floors else flips
    correct = bits(records, "correct")

    def average(value: Callable[[Record], float | None], over: dict[Unit, Record] = records) -> float | None:
        return _average(value, over)

    return Row(
        scene=scene,
        method=first.method,
        kind=kind_of(first.method),
        regime=first.regime,
        constraint=constraint_of(first),
        learning_rate=rate(first.config["training"]),
        note=note,
        heads=first.mask.count("1") + first.mask.count("0"),
        heads_kept=average(heads_kept_of) or 0.0,
        evaluations=average(lambda record: record.evaluations) or 0.0,
        acc=resampler.interval(correct),
        acc_by_class={name: average(recall(name)) for name in sorted(first.acc_by_class)},
        lfr=resampler.interval(flips),
        auc=resampler.of_scalars(
            {unit: record.auc for unit, record in records.items()},
            {unit: record.auc_sd for unit, record in records.items()},
        ),
        floor=resampler.interval(floor_flips) if floors else None,
        above=resampler.interval(excess) if floors else None,
        removed=_removed(group, flips, cells, resampler),
        certify=average(lambda record: record.final_certify_accuracy),
        twin_acc=average(lambda record: record.acc, floors),
        search_passes=average(lambda record: record.sentence_passes) or 0.0,
        recovery_passes=average(recovery_passes),
        seconds=average(lambda record: record.seconds) or 0.0,
        excess=excess,
        correct=correct,
        certified={
            unit: record.final_certify_accuracy
            for unit, record in records.items()
            if record.final_certify_accuracy is not None
        },
        kept={unit: np.array([heads_kept_of(record)], dtype=np.float64) for unit, record in records.items()},
        units=tuple(sorted(records)),
        precisions={
            attacker: str(record.config["training"].get("precision", "")) for (attacker, _), record in records.items()
        },
    )


def _removed(group: list[Record], flips: Values, cells: dict[str, Record], resampler: Resampler) -> Interval | None:
    baseline = bits(_units(matching(group, "victim", REFERENCE, cells)), "flipped")
    gap = subtract(baseline, bits(_units(matching(group, "twin", REFERENCE, cells)), "flipped"))
    if group[0].method == REFERENCE or not gap:
        return None
    gained = {unit: values for unit, values in subtract(baseline, flips).items() if unit in gap}
    whole = resampler.interval(gap)
    # On a scale whose floor is zero: baseline = gap, defended = gap - gained.
    value = removal_fraction(whole.value, whole.value - mean(gained), 0.0, noise=(whole.high - whole.low) / 2)
    if value is None:
        return None
    around = resampler.interval({unit: (gained[unit] - value * gap[unit]) / whole.value for unit in gained})
    return Interval(value, value + around.low, value + around.high)


def bits(records: dict[Unit, Record], name: str) -> dict[Unit, NDArray[np.float64]]:
    """Returns each unit's bits of a field, "flipped" or "correct", as numbers."""
    return {unit: bits_from_text(getattr(record, name)).astype(np.float64) for unit, record in records.items()}


def recall(name: str) -> Callable[[Record], float | None]:
    """Returns what reads a class's recall from a record."""
    return lambda record: record.acc_by_class.get(name)


def _units(records: Iterable[Record]) -> dict[Unit, Record]:
    return {(record.attacker_seed, record.seed): record for record in records}


def _average(value: Callable[[Record], float | None], records: dict[Unit, Record]) -> float | None:
    """Returns a field's mean as all means here are taken; None where a record lacks it, or there is none."""
    found = {unit: value(record) for unit, record in records.items()}
    known = {unit: np.array([one], dtype=np.float64) for unit, one in found.items() if one is not None}
    return mean(known) if known and len(known) == len(found) else None


def _order(row: Row) -> tuple[object, ...]:
    scene = (row.scene.family, row.scene.protocol, row.scene.settings)
    return (*scene, rank(row.method, row.kind), row.constraint, row.note, row.learning_rate)
