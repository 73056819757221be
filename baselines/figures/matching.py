"""Records beside their floors: what every figure of results starts from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune_env.baselines.families import family_of
from prune_env.baselines.summary import REFERENCE, constraint_of, matching, members_in, one_version
from prune_env.baselines.tables.hierarchy import Unit
from prune_env.defense import NO_CONSTRAINT
from prune_env.errors import FigureError
from prune_env.methods import METHODS, get_method
from prune_env.records import Record, bits_from_text, only
from prune_env.types import HeadMask, mask_from_text


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
    def excess(self) -> NDArray[np.float64] | None:
        """Flips of the victim minus the twin's, sentence by sentence, (M,); None without a twin."""
        if self.twin is None:
            return None
        mine, theirs = (bits_from_text(one.flipped).astype(np.float64) for one in (self.record, self.twin))
        if mine.shape != theirs.shape:
            raise FigureError(
                f"{self.record.victim} and its twin were judged on {len(mine)} and {len(theirs)} sentences; draw "
                "records of one version of a victim at a time"
            )
        return mine - theirs

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
    """Keeps one constraint a family, protocol and method: the one with most records, of equals the loosest.

    Returns:
        The kept pairs, and a sentence for the caption that says what was left out; "" if nothing was.
    """
    groups: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for pair in found:
        groups[_group(pair)][constraint_of(pair.record)] += 1
    chosen = {group: min(counts, key=lambda one: (-counts[one], one)) for group, counts in groups.items()}
    kept = [pair for pair in found if constraint_of(pair.record) == chosen[_group(pair)]]
    if len(kept) == len(found):
        return kept, ""
    names = sorted({constraint for constraint in chosen.values() if constraint})
    return kept, f"Several constraints were run; shown is the one with most records ({', '.join(names)})."


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


def searched(found: Iterable[Pair]) -> list[Pair]:
    """Keeps what pruned something: plain fine-tuning and the like have no mask to show."""
    return [pair for pair in found if not all(mask.all() for mask in masks_of(pair.record))]


def counted(number: int, noun: str) -> str:
    """Writes "1 attacker", "2 attackers"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def repetitions(found: Iterable[Pair]) -> str:
    """Says how often something was repeated: "2 attackers, 3 defences" (an attacker with a defender's seed each)."""
    units = {(pair.record.victim, pair.record.attacker_seed, pair.record.seed) for pair in found}
    attackers = {unit[:2] for unit in units}
    return f"{counted(len(attackers), 'attacker')}, {counted(len(units), 'defender')}"


def _group(pair: Pair) -> tuple[str, str, str]:
    return pair.family, pair.record.protocol, pair.record.method


def _own_rate(pair: Pair) -> bool:
    method = pair.record.method
    return method in METHODS and get_method(method).rate_factor is not None
