"""The report of ablations: for each victim a table of what every variant comes to, held against the reference."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prune_env.agents.ablation_records import NEAR, Ablation
from prune_env.agents.ablations import REFERENCE, VARIANTS
from prune_env.comparison.statistics import Estimate, mean_of_seeds
from prune_env.errors import RecordError
from prune_env.markers import write_between

START, END = "<!-- ablations:start -->", "<!-- ablations:end -->"

FEWEST = 6
"""Seeds below which no variant is called better or worse."""

LEGEND = (
    "Regret: normalised, of the best agent's return in episodes without chance, on the scale of the victim's default "
    "environment (0 = its optimum, 1 = its random play) whatever a variant changes; of a training the best agent is "
    "kept, by these judgements. Means over seeds with 95 % bootstrap intervals over seeds. Difference: regret less "
    "that of the reference with the same seed; below 0 the variant is better. Found: seeds with a regret of at most "
    "1 %. After: steps of the first judgement that finds it, the median over seeds; judgements are as far apart as a "
    "training's checkpoints. Last: regret of the agent as it was at the end, without chance. With chance: of the best "
    "agent where it acts by chance, as in training. Certified regret: of its final mask without chance, on sentences "
    "that no search has seen. Violations: sets that missed the threshold, an episode without chance. s: processor "
    "seconds of a training, the median. Intervals are not widened for the number of variants."
)


@dataclass(frozen=True)
class Row:
    """A variant on a victim.

    Attributes:
        victim: The twin's name.
        variant: Its name.
        differs: From the reference in what.
        steps: Environment steps of a training.
        seeds: How many.
        regret: Of the best agents' returns without chance, mean over seeds.
        by_chance: Of the same agents' returns with chance.
        certified_regret: Of their final masks, on sentences that no search has seen.
        last_regret: Of the last agents' returns.
        found: Seeds with a regret of `NEAR` at most.
        near_after: Median steps of the first judgement that finds it; None if the median seed never does.
        difference: Regret less the reference's, mean over the seeds that both have; None without any.
        pairs: Those seeds.
        violations: Sets that missed the threshold, an episode of the best agent.
        seconds: Processor time, the median; None where no training was timed.
    """

    victim: str
    variant: str
    differs: str
    steps: int
    seeds: int
    regret: Estimate
    by_chance: Estimate
    certified_regret: Estimate
    last_regret: Estimate
    found: int
    near_after: float | None
    difference: Estimate | None
    pairs: int
    violations: float
    seconds: float | None

    @property
    def outcome(self) -> str:
        """Whether the variant is "better" or "worse" than the reference, "no other", or "untested"."""
        if self.difference is None or self.pairs < FEWEST:
            return "untested"
        if self.difference.low > 0:
            return "worse"
        return "better" if self.difference.high < 0 else "no other"


def rows_of(records: Iterable[Ablation], seed: int = 0) -> list[Row]:
    """Returns a row for each victim and variant, in the registry's order.

    Args:
        records: Of any victims and variants.
        seed: Of the resamples.

    Raises:
        RecordError: Records that do not belong together.
    """
    groups: dict[tuple[str, str], list[Ablation]] = {}
    for record in sorted(checked(records), key=lambda one: (one.victim, _place(one.variant), one.seed)):
        groups.setdefault((record.victim, record.variant), []).append(record)
    return [_row(group, groups.get((victim, REFERENCE), []), seed) for (victim, _), group in groups.items()]


def checked(records: Iterable[Ablation]) -> list[Ablation]:
    """Returns the records, after checking that they belong together.

    Raises:
        RecordError: Two versions of a victim, two ways to train one variant, trainings of two lengths, or a seed twice.
    """
    found, known = list(records), dict[tuple[str, ...], str]()
    for record in found:
        for what, name, version in (
            ("table", record.victim, record.twins_sha256),
            ("training of", record.variant, json.dumps(record.training, sort_keys=True)),
            ("number of steps on", record.victim, str(record.steps)),
            ("result of", f"{record.variant} on {record.victim} with seed {record.seed}", record.identity),
        ):
            if known.setdefault((what, name), version) != version:
                raise RecordError(f"expected one {what} {name}, got two; report them by themselves, or run again")
    return found


def _place(variant: str) -> tuple[int, str]:
    """Returns where a variant stands among others; one that this version does not know comes last."""
    names = list(VARIANTS)
    return (names.index(variant) if variant in names else len(names), variant)


def _row(records: Sequence[Ablation], reference: Sequence[Ablation], seed: int) -> Row:
    first, theirs = records[0], {one.seed: one.regret for one in reference}
    pairs = [one.regret - theirs[one.seed] for one in records if one.seed in theirs]
    near = np.median([np.inf if one.near_after is None else one.near_after for one in records])
    timed = [one.seconds for one in records if one.seconds is not None]

    def mean(values: Sequence[float]) -> Estimate:
        return mean_of_seeds(values, np.random.default_rng(seed))

    return Row(
        victim=first.victim,
        variant=first.variant,
        differs=VARIANTS[first.variant].differs if first.variant in VARIANTS else "",
        steps=first.steps,
        seeds=len(records),
        regret=mean([one.regret for one in records]),
        by_chance=mean([one.best_by_chance["regret"] for one in records]),
        certified_regret=mean([one.best["certified_regret"] for one in records]),
        last_regret=mean([one.last_regret for one in records]),
        found=sum(one.regret <= NEAR for one in records),
        near_after=float(near) if np.isfinite(near) else None,
        difference=mean(pairs) if pairs and first.variant != REFERENCE else None,
        pairs=len(pairs),
        violations=float(np.mean([one.best["violations"] for one in records])),
        seconds=float(np.median(timed)) if timed else None,
    )


def markdown(records: Iterable[Ablation], seed: int = 0) -> str:
    """Returns the report: for each victim a sentence and a table; then a legend.

    Args:
        records: Of any victims and variants.
        seed: Of the resamples.

    Raises:
        RecordError: Records that do not belong together.
    """
    rows = rows_of(records, seed)
    parts = []
    for victim in dict.fromkeys(row.victim for row in rows):
        own = [row for row in rows if row.victim == victim]
        parts += [f"**{victim}** ({own[0].steps:,} steps a training). {sentence(own)}", table(own)]
    return "\n\n".join([*parts, LEGEND])


def sentence(rows: Sequence[Row]) -> str:
    """Returns what the variants of a victim come to against the reference, in words."""
    said = []
    for outcome, words in (
        ("worse", "Worse than the reference"),
        ("better", "Better than the reference"),
        ("no other", "Not told apart from the reference"),
        ("untested", f"Without a verdict, for fewer than {FEWEST} seeds beside the reference's"),
    ):
        names = [row.variant for row in rows if row.variant != REFERENCE and row.outcome == outcome]
        if names:
            said.append(f"{words}: {', '.join(names)}.")
    return " ".join(said) or "Nothing was held against the reference."


def table(rows: Sequence[Row]) -> str:
    """Returns the variants of one victim as a Markdown table."""
    head = ["variant", "what differs", "seeds", "regret", "difference", "found", "after", "last", "with chance"]
    head += ["certified regret", "violations", "s"]
    lines = [head, ["---", "---", *(["---:"] * (len(head) - 2))]]
    for row in rows:
        lines.append(
            [row.variant, row.differs, str(row.seeds), _interval(row.regret),
             "" if row.difference is None else _interval(row.difference, "+"), f"{row.found}/{row.seeds}",
             "never" if row.near_after is None else f"{row.near_after:,.0f}",
             *map(_interval, (row.last_regret, row.by_chance, row.certified_regret)),
             f"{row.violations:.2f}", "" if row.seconds is None else f"{row.seconds:.1f}"]
        )  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _interval(found: Estimate, sign: str = "") -> str:
    """Writes an estimate as 0.712 [0.700, 0.725], without an interval that has no width."""
    value, low, high = (f"{number + 0.0:{sign}.3f}" for number in found)
    return value if low == high else f"{value} [{low}, {high}]"


def update_readme(readme: Path, records: Iterable[Ablation]) -> bool:
    """Writes the report between the README's markers and returns whether the file changed.

    Raises:
        OutputError: No README, or one without the two markers.
        RecordError: Records that do not belong together.
    """
    return write_between(readme, (START, END), markdown(records))
