"""What the comparison says, in sentences: does a learned agent beat scripts, random search and the other searchers?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from prune_env.comparison.contestant import LEARNED
from prune_env.comparison.rows import Row, amount, rows_of, strata_of
from prune_env.comparison.statistics import FEWEST, Estimate, difference
from prune_env.comparison.trials import Trial

RIVALS = {"random": "random search", "script": "the scripts", "searcher": "the searchers"}
"""Kinds that learned agents are held against, in the order of a sentence."""


WINS, LOSES, EVEN = "beats", "loses to", "is not told apart from"


@dataclass(frozen=True)
class Contrast:
    """The best learned agent against the best rival of a kind, at one budget, by certified value.

    Attributes:
        budget: Evaluations of both.
        learned: The agent.
        rival: The other one.
        kind: Of the rival.
        difference: Agent minus rival.
        runs: Of each victim, on the side that has fewer.
    """

    budget: int | None
    learned: Row
    rival: Row
    kind: str
    difference: Estimate
    runs: int

    @property
    def outcome(self) -> str:
        """In words: whether the interval lies above or below nought, or on both sides."""
        if self.runs < FEWEST:
            return EVEN
        if self.difference.low > 0:
            return WINS
        return LOSES if self.difference.high < 0 else EVEN


def contrasts(trials: Sequence[Trial], seed: int = 0) -> list[Contrast]:
    """Returns the contrasts of every budget at which learned agents and rivals were run, small budgets first.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    rows = rows_of(trials, seed)
    found = []
    for budget in sorted({row.budget for row in rows}, key=lambda budget: budget or 0):
        learned = _best(rows, budget, LEARNED)
        for kind in RIVALS:
            rival = _best(rows, budget, (kind,))
            if learned is not None and rival is not None:
                found.append(_contrast(trials, learned, rival, seed))
    return found


def sentences(trials: Sequence[Trial], seed: int = 0) -> list[str]:
    """Returns a sentence for each budget."""
    found: dict[int | None, list[Contrast]] = {}
    for contrast in contrasts(trials, seed):
        found.setdefault(contrast.budget, []).append(contrast)
    return [_sentence(budget, group) for budget, group in found.items()]


def headline(trials: Sequence[Trial], seed: int = 0) -> str:
    """Returns the answer of an experiment: yes, no or in part, and the count of budgets behind it."""
    every = contrasts(trials, seed)
    if not every:
        return "No learned agent was compared with anyone at the same number of evaluations."
    counts = {kind: [one.outcome for one in every if one.kind == kind] for kind in RIVALS}
    asked = [outcome for kind in ("random", "script") for outcome in counts[kind]]
    wins = asked.count(WINS)
    answer = "Yes" if wins == len(asked) and asked else "In part" if wins else "No"
    parts = [
        f"against {RIVALS[kind]} it wins at {found.count(WINS)}, loses at {found.count(LOSES)}"
        for kind, found in counts.items()
        if found
    ]
    question = "Does a learned agent beat scripts and random search at the same number of evaluations?"
    budgets = len({one.budget for one in every})
    return f"{question} {answer}. Of {budgets} budget{'s' * (budgets != 1)}: {'; '.join(parts)}."


def _sentence(budget: int | None, group: Sequence[Contrast]) -> str:
    learned = group[0].learned
    parts = [
        f"{one.outcome} {one.rival.contestant} ({one.rival.certified.value:.3f}; difference "
        f"{one.difference.value:+.3f} [{one.difference.low:+.3f}, {one.difference.high:+.3f}])"
        for one in group
    ]
    start = f"With {amount(budget)} the best learned agent, {learned.contestant} ({learned.certified.value:.3f}),"
    return f"{start} {_joined(parts)}."


def _contrast(trials: Sequence[Trial], learned: Row, rival: Row, seed: int) -> Contrast:
    both = [
        strata_of(
            [one for one in trials if (one.contestant, one.allowance) == (row.contestant, row.budget)],
            attrgetter("certified"),
        )
        for row in (learned, rival)
    ]
    found = difference(both[0], both[1], np.random.default_rng(seed))
    return Contrast(learned.budget, learned, rival, rival.kind, found, min(map(len, [*both[0], *both[1]])))


def _best(rows: Sequence[Row], budget: int | None, kinds: Sequence[str]) -> Row | None:
    among = [row for row in rows if row.budget == budget and row.kind in kinds]
    return max(among, key=lambda row: row.certified.value, default=None)


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else ""
