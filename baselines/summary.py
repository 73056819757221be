"""From records to rows: means over seeds, the matched floor, what was removed, each with its noise.

Two kinds of noise stand beside a mean. The standard deviation over seeds shows how fine-tuning and drawing data vary;
it needs several seeds. `noise`, and the intervals of differences, cover which sentences happened to be in the test set,
on the models that were trained: a bootstrap over sentences for ACC, LFR and floor, paired where two models are
compared, and DeLong's standard error for AUC (see `prune_env.baselines.noise`). Neither covers the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prune_env.baselines.noise import Noise, Spread, noises
from prune_env.defense import NO_CONSTRAINT, members_of
from prune_env.errors import RecordError
from prune_env.methods import METHODS, get_method
from prune_env.metrics import Interval, paired_bootstrap, removal_fraction
from prune_env.records import Record, bits_from_text, cell_key, only
from prune_env.types import HeadMask

__all__ = [
    "RANDOM_MASKS", "REFERENCE", "Row", "Spread", "compare", "constraint_of", "heads_kept_of", "kind_of", "matching",
    "members_in", "one_version", "rate_text", "removal", "summarise",
]  # fmt: skip

REFERENCE = "ft"
"""The method against which removal is measured, at the same rate, data, epochs and seeds."""

RANDOM_MASKS = ("random", "random-balanced", "random-third")
"""Masks drawn without looking: of the size that a strategy chose, or a third of each layer."""

Flips = dict[int, NDArray[np.float64]]
"""Seed -> one value a triggered non-target sentence, (M,)."""


@dataclass(frozen=True)
class Row:
    """One method at one learning rate on one victim, over seeds; rates and differences of rates are in [-1, 1].

    Attributes:
        victim: The victim's name.
        attack: Its attack.
        protocol: The defender's protocol.
        method: Registered name.
        learning_rate: Of the final fine-tuning.
        constraint: Accuracy that the search had to hold, in words; "" without a search.
        regime: Information the method used.
        kind: What the method is: "strategy", "baseline" or "control".
        seeds: The defender's seeds.
        heads: Heads of the model.
        heads_kept: Heads that the masks keep; of an ensemble, its members' mean.
        evaluations: Distinct masks asked for.
        certify_accuracy: Of the mask on `certify`, before the last fine-tuning.
        acc: Clean test accuracy.
        lfr: Label flip rate.
        auc: Triggered target against triggered non-target sentences.
        seconds: Search and fine-tuning.
        floor: LFR of the twin after the same method, seed by seed; None without a twin. Of methods of the regime
            "reference", which never look at the suspect: after plain fine-tuning.
        above_floor: LFR - floor, over the seeds that have both.
        against_ft: LFR - LFR of plain fine-tuning at the same rate, over the seeds that have both; None for it itself.
        removed: (LFR of ft - LFR) / (LFR of ft - floor of ft), over the seeds that have all; None where there is
            nothing to remove beyond noise, and for ft itself.
        acc_by_class: Each class's recall on the clean test.
        noise: Over sentences, of the means "acc", "lfr", "auc" and, with a twin, "floor".
        excess: What compares rows: by seed, each sentence's flip minus the twin's (plain flips without a twin).
    """

    victim: str
    attack: str
    protocol: str
    method: str
    learning_rate: float
    constraint: str
    regime: str
    kind: str
    seeds: tuple[int, ...]
    heads: int
    heads_kept: Spread
    evaluations: Spread
    certify_accuracy: Spread
    acc: Spread
    lfr: Spread
    auc: Spread
    seconds: Spread
    floor: Spread | None
    above_floor: Interval | None
    against_ft: Interval | None
    removed: Interval | None
    acc_by_class: dict[str, Spread]
    noise: dict[str, Noise]
    excess: Flips = field(compare=False, repr=False)

    @property
    def by_seed(self) -> dict[int, float]:
        """Points above the floor (LFR without a twin) of each seed, as a rate."""
        return {seed: float(flips.mean()) for seed, flips in self.excess.items()}


def summarise(records: Iterable[Record], bootstrap_seed: int = 0) -> list[Row]:
    """Returns a row for each victim, method, learning rate and configuration, by victim, rate and method.

    Args:
        records: Victims' and twins' records in any order; of two records of one cell the later one counts.
        bootstrap_seed: Seeds the resamples of every interval.

    Raises:
        RecordError: Records of different versions of one victim, or judged on different sentences.
    """
    cells = {record.key: record for record in records}
    one_version(cells.values())
    groups: dict[str, list[Record]] = {}
    for record in only(cells.values(), "victim"):
        groups.setdefault(cell_key(record.victim_sha256, "", record.method, record.config, 0), []).append(record)
    rows = [_row(sorted(group, key=lambda one: one.seed), cells, bootstrap_seed) for group in groups.values()]
    return sorted(
        rows, key=lambda row: (row.victim, row.protocol, row.learning_rate, _rank(row.method), row.constraint)
    )


def kind_of(method: str) -> str:
    """Returns what a method is in a table; a "strategy" if this version does not know it."""
    return get_method(method).kind if method in METHODS else "strategy"


def compare(row: Row, other: Row, bootstrap_seed: int = 0) -> Interval | None:
    """Returns how far one row is above another, in points above their own floors, over the seeds they share.

    None where they share no seed, or only one of them has a floor.
    """
    seeds = [seed for seed in row.excess if seed in other.excess]
    if not seeds or (row.floor is None) != (other.floor is None):
        return None
    return _paired(_mean(row.excess, seeds), _mean(other.excess, seeds), bootstrap_seed)


def rate_text(rate: float) -> str:
    """Writes a learning rate as people do: 2e-5, 1.5e-4."""
    mantissa, _, exponent = f"{rate:.6e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _row(group: list[Record], cells: dict[str, Record], bootstrap_seed: int) -> Row:
    first = group[0]
    flips = {record.seed: _flips(record) for record in group}
    # A method that never looks at the suspect gives the twin the same model: its own floor would say nothing.
    floors = matching(group, "twin", REFERENCE if first.regime == "reference" else first.method, cells)
    floor_flips = {record.seed: _flips(record) for record in floors}
    excess = {seed: flips[seed] - floor_flips[seed] for seed in floor_flips} if floors else flips
    _same_sentences(first, [*flips.values(), *floor_flips.values()])

    def spread(name: str) -> Spread:
        return Spread.of(getattr(record, name) for record in group)

    return Row(
        victim=first.victim,
        attack=first.attack,
        protocol=first.protocol,
        method=first.method,
        learning_rate=first.config["training"]["learning_rate"],
        constraint=constraint_of(first),
        regime=first.regime,
        kind=kind_of(first.method),
        seeds=tuple(flips),
        heads=first.mask.count("1") + first.mask.count("0"),
        heads_kept=Spread.of(heads_kept_of(record) for record in group),
        evaluations=spread("evaluations"),
        certify_accuracy=spread("certify_accuracy"),
        acc=spread("acc"),
        lfr=spread("lfr"),
        auc=spread("auc"),
        seconds=spread("seconds"),
        floor=Spread.of(record.lfr for record in floors) if floors else None,
        above_floor=_paired(_mean(excess, list(excess)), 0.0, bootstrap_seed) if floors else None,
        acc_by_class={
            name: Spread.of(record.acc_by_class[name] for record in group if name in record.acc_by_class)
            for name in sorted({name for record in group for name in record.acc_by_class})
        },
        noise=noises(group, floors, bootstrap_seed),
        excess=excess,
        **_against_reference(group, flips, cells, bootstrap_seed),
    )


def _against_reference(
    group: list[Record], flips: Flips, cells: dict[str, Record], bootstrap_seed: int
) -> dict[str, Interval | None]:
    """Returns `against_ft` and `removed`; both None for plain fine-tuning itself and where it was not run."""
    baselines = {record.seed: _flips(record) for record in matching(group, "victim", REFERENCE, cells)}
    if group[0].method == REFERENCE or not baselines:
        return {"against_ft": None, "removed": None}
    _same_sentences(group[0], [*flips.values(), *baselines.values()])
    against = _paired(_mean(flips, list(baselines)), _mean(baselines, list(baselines)), bootstrap_seed)
    floors = {record.seed: _flips(record) for record in matching(group, "twin", REFERENCE, cells)}
    seeds = [seed for seed in baselines if seed in floors]
    removed = None
    if seeds:
        removed = removal(_mean(baselines, seeds), _mean(flips, seeds), _mean(floors, seeds), bootstrap_seed)
    return {"against_ft": against, "removed": removed}


def removal(
    baseline: NDArray[np.float64], defended: NDArray[np.float64], floor: NDArray[np.float64], bootstrap_seed: int = 0
) -> Interval | None:
    """Returns the removal fraction with a 95 % interval, from flips of the same sentences.

    The interval is that of the ratio linearised at its value (delta method), resampled over sentences.

    Args:
        baseline: Flips after plain fine-tuning, (M,).
        defended: Flips after the defence, (M,).
        floor: Flips of the twin after plain fine-tuning, (M,).
        bootstrap_seed: Seeds the resamples.

    Returns:
        None where baseline and floor do not differ by more than the noise of their difference.
    """
    gap = _paired(baseline, floor, bootstrap_seed)
    means = float(baseline.mean()), float(defended.mean()), float(floor.mean())
    value = removal_fraction(*means, noise=(gap.high - gap.low) / 2)
    if value is None:
        return None
    around = _paired((baseline - defended) / gap.value, value * (baseline - floor) / gap.value, bootstrap_seed)
    return Interval(value, value + around.low, value + around.high)


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


def _flips(record: Record) -> NDArray[np.float64]:
    return bits_from_text(record.flipped).astype(np.float64)


def _mean(flips: Flips, seeds: Sequence[int]) -> NDArray[np.float64]:
    """Averages each sentence over seeds first, so that resampling draws sentences and not (sentence, seed) pairs."""
    mean: NDArray[np.float64] = np.mean([flips[seed] for seed in seeds], axis=0)
    return mean


def _paired(one: NDArray[np.float64], other: NDArray[np.float64] | float, bootstrap_seed: int) -> Interval:
    return paired_bootstrap(one, np.broadcast_to(other, one.shape), np.random.default_rng(bootstrap_seed))


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


def _same_sentences(record: Record, flips: Iterable[NDArray[np.float64]]) -> None:
    sizes = {len(one) for one in flips}
    if len(sizes) > 1:
        raise RecordError(
            f"expected every record of {record.victim} to judge the same sentences, got {sorted(sizes)} of them; "
            "report records of one version of the victim at a time"
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


def _rank(method: str) -> tuple[int, str]:
    names = list(METHODS)
    return (names.index(method) if method in names else len(names), method)
