"""What this project wants to reach, its own targets and nobody else's, to be printed beside what was measured.

They are stated for MiniLM (6 layers of 12 heads) on 872 dev sentences of SST-2: on a processor with two cores, and on
an H200. Elsewhere they orient; no test asserts them.
"""

from __future__ import annotations

from dataclasses import dataclass

from prune_env.speed.contestants import OURS, RELEASED, TUNED
from prune_env.speed.environments import SINGLE, VECTOR
from prune_env.speed.processes import SIDE_BY_SIDE
from prune_env.speed.report import Report
from prune_env.speed.rows import Row, reference, times_faster

CEILING, RATE, EXPONENT = "the matrix-product ceiling", "steps a second", "linear growth"
"""What a target may be held against besides a contestant: a share, a rate, and an exponent that is not to exceed."""

STATED_FOR = {
    "cpu": "two cores, MiniLM, 872 sentences of SST-2",
    "cuda": "an H200, MiniLM with 872 sentences of SST-2; the ceiling's for bert-base",
}


@dataclass(frozen=True)
class Target:
    """One number to reach.

    Attributes:
        workload: Whose.
        case: Which of its cases.
        contestant: Who has to reach it.
        against: A contestant, or one of `CEILING`, `RATE` and `EXPONENT`.
        wanted: Times faster, share, steps a second, or largest exponent.
    """

    workload: str
    case: str
    contestant: str
    against: str
    wanted: float


@dataclass(frozen=True)
class Verdict:
    """A target and what came of it in one dtype; an exponent is met at or below, everything else at or above."""

    target: Target
    dtype: str
    measured: float

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        if self.target.against == EXPONENT:
            return self.measured <= self.target.wanted
        return self.measured >= self.target.wanted


_STEPS = "300 epsilon-greedy steps"

TARGETS: dict[str, tuple[Target, ...]] = {
    "cpu": (
        Target("W1", "random masks", OURS, RELEASED, 12.0),
        Target("W1", "random masks", OURS, TUNED, 1.5),
        Target("W1", "random masks", OURS, CEILING, 0.5),
        Target("W1", "full mask", OURS, CEILING, 0.5),
        Target("W2", "ablation sweep", OURS, RELEASED, 30.0),
        Target("W2", "ablation sweep", OURS, TUNED, 3.0),
        Target("W3", "gradient episode", OURS, RELEASED, 15.0),
        Target("W3", "gradient episode", OURS, TUNED, 2.0),
        Target("W4", _STEPS, OURS, RELEASED, 60.0),
        Target("W4", _STEPS, OURS, TUNED, 5.0),
        Target("W6", "one environment", SINGLE, RATE, 50_000.0),
        Target("W6", "K = 64", VECTOR, RATE, 500_000.0),
        Target("W7", SIDE_BY_SIDE, OURS, RELEASED, 4.0),
        Target("W7", SIDE_BY_SIDE, OURS, TUNED, 1.7),
        Target("growth", "sentences", OURS, EXPONENT, 1.05),
        Target("growth", "layers", OURS, EXPONENT, 1.05),
    ),
    "cuda": (
        Target("W1", "random masks", OURS, CEILING, 0.4),
        Target("W2", "ablation sweep", OURS, RELEASED, 100.0),
        Target("W2", "ablation sweep", OURS, TUNED, 5.0),
        Target("W5", "K = 64, 872 sentences", VECTOR, SINGLE, 10.0),
    ),
}
"""By the kind of device. Linear growth has 5 % of room for noise."""


def kind_of(report: Report) -> str:
    """Returns "cpu" or "cuda"."""
    return report.conditions.device.partition(":")[0]


def judge(report: Report) -> list[Verdict]:
    """Holds a report against the targets of its kind of device; a target whose workload did not run is left out."""
    found = []
    for target in TARGETS[kind_of(report)]:
        if target.against == EXPONENT:
            if target.case in report.exponents:
                dtype = next(row.dtype for row in report.rows if row.workload == "growth")
                found.append(Verdict(target, dtype, report.exponents[target.case]))
            continue
        for row in report.rows:
            measured = _measured(target, row, report)
            if measured is not None:
                found.append(Verdict(target, row.dtype, measured))
    return found


def _measured(target: Target, row: Row, report: Report) -> float | None:
    """Returns what a row reaches of a target; None if it is not the row that is meant."""
    if (row.workload, row.case, row.contestant) != (target.workload, target.case, target.contestant):
        return None
    if target.against == CEILING:
        return report.ceiling_share(row)
    if target.against == RATE:
        return row.spread.median
    other = reference(row, report.rows, target.against)
    return None if other is None else times_faster(row, other)
