"""Records beside their floors: what every figure of results starts from."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from prune_env.baselines.families import family_of
from prune_env.baselines.summary import REFERENCE, constraint_of, matching, members_in, one_version
from prune_env.baselines.tables.hierarchy import Unit
from prune_env.baselines.tables.scenes import declared, differences
from prune_env.baselines.tables.words import count
from prune_env.errors import FigureError
from prune_env.methods import METHODS, get_method
from prune_env.records import Record, only
from prune_env.search import NO_CONSTRAINT
from prune_env.types import HeadMask, mask_from_text

Scene = tuple[str, str, str]
"""Family, protocol, and what sets it apart from another of the same two: see `by_scene`."""


@dataclass(frozen=True)
class Pair:
    """A purified victim and its never-poisoned twin after the same.

    Attributes:
        record: The victim's.
        twin: The twin's; of a method that never looks at the suspect, plain fine-tuning's. None where it was not run.
    """

    record: Record
    twin: Record | None

    @property
    def family(self) -> str:
        """The victim's family."""
        return family_of(self.record.victim)

    @property
    def unit(self) -> Unit:
        """Attacker's and defender's seed."""
        return self.record.attacker_seed, self.record.seed

    @property
    def rate(self) -> float:
        """Of the final fine-tuning."""
        return float(self.record.config["training"]["learning_rate"])


def pairs(records: Iterable[Record]) -> list[Pair]:
    """Returns each victim's record with its floor's; of two records of one cell the later one counts.

    Raises:
        RecordError: Records of different versions of one victim.
    """
    cells = {record.key: record for record in records}
    one_version(cells.values())
    return [Pair(record, _twin(record, cells)) for record in only(cells.values(), "victim")]


def _twin(record: Record, cells: dict[str, Record]) -> Record | None:
    # A fresh start gives the twin the same model: its own floor would say nothing (see PROTOCOL.md).
    method = REFERENCE if record.regime == "reference" else record.method
    return next(iter(matching([record], "twin", method, cells)), None)


def threshold_of(record: Record) -> float | None:
    """Returns the fixed threshold that a search held, of a control of matched size the other's; None without one."""
    search = record.config["search"]
    found = search.get("matched", search).get("environment", {}).get("threshold")
    return None if found is None or found == NO_CONSTRAINT else float(found)


def masks_of(record: Record) -> tuple[HeadMask, ...]:
    """Returns the masks of the purified model, (layers, heads) each: one, or an ensemble's members'."""
    return members_in(record) or (mask_from_text(record.mask),)


def one_constraint(found: Sequence[Pair]) -> tuple[list[Pair], str]:
    """Keeps one constraint a family and protocol: the one with most records, of equals the loosest.

    What was searched without a constraint stays. So does a method that never ran under the one that is kept, under the
    one of its own with most records.

    Returns:
        The kept pairs, and sentences for the caption: what was left out, and which methods are under another
        constraint; "" if neither.
    """
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in found:
        groups[pair.family, pair.record.protocol].append(pair)
    chosen: dict[tuple[str, str, str], str] = {}
    common: dict[tuple[str, str], str] = {}
    for group, own in groups.items():
        common[group] = _usual(own)
        for method in {pair.record.method for pair in own}:
            runs = [pair for pair in own if pair.record.method == method]
            there = {constraint_of(pair.record) for pair in runs}
            chosen[*group, method] = common[group] if common[group] in there else _usual(runs)
    kept = [pair for pair in found if constraint_of(pair.record) in ("", chosen[_group(pair)])]
    notes = []
    if len(kept) < len(found):
        names = ", ".join(sorted({constraint for constraint in common.values() if constraint}))
        notes.append(f"Several constraints were run; shown is the one with most records ({names}).")
    other = {
        f"{method} on {family} ({constraint})"
        for (family, protocol, method), constraint in chosen.items()
        if constraint not in ("", common[family, protocol])
    }
    if other:
        notes.append(f"Under a constraint of their own, and not to be compared: {', '.join(sorted(other))}.")
    return kept, " ".join(notes)


def _usual(found: Sequence[Pair]) -> str:
    """Returns the constraint with most records, of equals the loosest; "" where there is none."""
    counts = Counter(constraint_of(pair.record) for pair in found)
    del counts[""]
    bounds = {constraint_of(pair.record): _strictness(pair.record) for pair in found}
    return min(counts, key=lambda one: (-counts[one], bounds[one], one), default="")


def _strictness(record: Record) -> float:
    """Returns the accuracy that a search had to hold, of a drop from an accuracy that is not recorded: from 1."""
    search = record.config["search"]
    environment = search.get("matched", search).get("environment", {})
    if environment.get("max_accuracy_drop") is None:
        return float(environment.get("threshold") or 0.0)
    return 1.0 - float(environment["max_accuracy_drop"]) if record.threshold is None else record.threshold


def one_rate(found: Sequence[Pair], asked: float | None) -> tuple[list[Pair], float]:
    """Keeps one rate: the one asked for, else the one with most records, of equals the lowest.

    Methods that a rate of their own defines (fth) stay.

    Raises:
        FigureError: No record of that rate.
    """
    counts = Counter(pair.rate for pair in found if not _own_rate(pair))
    rate = asked if asked is not None else min(counts, key=lambda one: (-counts[one], one), default=0.0)
    if rate not in counts:
        raise FigureError(f"no records at the rate {rate:g}, only at {', '.join(f'{one:g}' for one in sorted(counts))}")
    return [pair for pair in found if pair.rate == rate or _own_rate(pair)], rate


def by_scene(found: Iterable[Pair]) -> dict[Scene, list[Pair]]:
    """Groups records by what is held fixed where methods are compared: victims, clean data, fine-tuning but its rate.

    Returns:
        (family, protocol, note) -> records, sorted; the note says what sets a scene apart from another of the same
        family and protocol, "" where there is none.
    """
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in found:
        groups[pair.family, pair.record.protocol].append(pair)
    scenes = {}
    for (family, protocol), own in sorted(groups.items()):
        for note, part in _apart(own, _circumstances).items():
            scenes[family, protocol, note] = part
    return scenes


def by_setting(found: Iterable[Pair]) -> dict[str, list[Pair]]:
    """Groups records of one method in one scene by their whole configuration.

    Returns:
        Note -> records; the note says what sets a configuration apart from the others, "" where there is only one.
    """
    return _apart(found, lambda pair: declared(pair.record))


def _apart(found: Iterable[Pair], settings: Callable[[Pair], dict[str, Any]]) -> dict[str, list[Pair]]:
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in found:
        groups[json.dumps(settings(pair), sort_keys=True)].append(pair)
    notes = differences([settings(group[0]) for group in groups.values()])
    parts: dict[str, list[Pair]] = defaultdict(list)
    for note, group in zip(notes, groups.values(), strict=True):
        parts[note] += group
    return dict(sorted(parts.items()))


def _circumstances(pair: Pair) -> dict[str, Any]:
    config = declared(pair.record)
    training = {name: value for name, value in config["training"].items() if name != "learning_rate"}
    return {"protocol": config["protocol"], "training": training}


def searched(found: Iterable[Pair]) -> list[Pair]:
    """Keeps what pruned something: plain fine-tuning and the like have no mask to show."""
    return [pair for pair in found if not all(mask.all() for mask in masks_of(pair.record))]


def title_of(scene: Scene) -> str:
    """Writes a scene as a panel's title."""
    return ", ".join(filter(None, scene))


def repetitions(found: Iterable[Pair]) -> str:
    """Says how often something was repeated: "2 attackers, 3 defences" (an attacker with a defender's seed each)."""
    units = {(pair.record.victim, pair.record.attacker_seed, pair.record.seed) for pair in found}
    attackers = {unit[:2] for unit in units}
    return f"{count(len(attackers), 'attacker')}, {count(len(units), 'defender')}"


def _group(pair: Pair) -> tuple[str, str, str]:
    return pair.family, pair.record.protocol, pair.record.method


def _own_rate(pair: Pair) -> bool:
    method = pair.record.method
    return method in METHODS and get_method(method).rate_factor is not None
