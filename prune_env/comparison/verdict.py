"""What the comparison says, in sentences: does a learned agent beat random search, the scripts and the searchers?

All three are the bar. Who is the best of a kind is chosen on the runs with even seeds, and tested on those with odd
ones: a choice among several on the runs that test it flatters the chosen. Fewer than `SEEDS` seeds allow no test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from prune_env.comparison.contestant import LEARNED
from prune_env.comparison.rows import Row, amount, rows_of, shares_agents, strata_of
from prune_env.comparison.statistics import FEWEST, Estimate, difference
from prune_env.comparison.trials import Trial

RIVALS = {"random": "random search", "script": "the scripts", "searcher": "the searchers"}
"""The bar: kinds that learned agents are held against, in the order of a sentence."""

QUESTION = "Does a learned agent beat random search, scripts and searchers at the same number of evaluations?"

WINS, LOSES, EVEN, LEAD = "beats", "loses to", "is not told apart from", "is untested against"

SEEDS = 2 * FEWEST
"""Of every contestant on every victim: half of them to choose on, half to test on."""

FEW = "†"
"""Behind a number of fewer than `SEEDS` seeds."""


@dataclass(frozen=True)
class Contrast:
    """The best learned agent against the best rival of a kind, at one budget, by certified value.

    Attributes:
        budget: Evaluations of both.
        learned: The agent, chosen on the even seeds, with the numbers of the odd ones; of all if there is no test.
        rival: The other one, likewise.
        kind: Of the rival.
        difference: Agent minus rival, on the same runs.
        seeds: The seeds of these runs.
        tested: Whether there were seeds enough to choose on some and test on others.
    """

    budget: int | None
    learned: Row
    rival: Row
    kind: str
    difference: Estimate
    seeds: tuple[int, ...]
    tested: bool

    @property
    def outcome(self) -> str:
        """In words: whether the interval lies above or below nought, or on both sides; a lead without a test."""
        if not self.tested:
            return LEAD
        if self.difference.low > 0:
            return WINS
        return LOSES if self.difference.high < 0 else EVEN


def contrasts(trials: Sequence[Trial], seed: int = 0) -> list[Contrast]:
    """Returns the contrasts of every budget at which learned agents and rivals were run, small budgets first.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    budgets = {trial.allowance for trial in trials}
    groups = [
        [one for one in trials if one.allowance == budget] for budget in sorted(budgets, key=lambda one: one or 0)
    ]
    return [contrast for group in groups for contrast in _at_one_budget(group, seed)]


def _at_one_budget(trials: Sequence[Trial], seed: int) -> list[Contrast]:
    sides = [trial for trial in trials if trial.kind in {*LEARNED, *RIVALS}]
    tested = _fewest(sides) >= FEWEST
    choosing = rows_of([one for one in sides if one.seed % 2 == 0 or not tested], seed)
    testing = [one for one in sides if one.seed % 2 or not tested]
    rows = {row.contestant: row for row in rows_of(testing, seed)}
    learned = _best(choosing, LEARNED)
    rivals = [_best(choosing, (kind,)) for kind in RIVALS]
    return [
        _contrast(testing, rows[learned.contestant], rows[rival.contestant], tested, seed)
        for rival in rivals
        if learned is not None and rival is not None
    ]


def _fewest(trials: Sequence[Trial]) -> int:
    """Returns the fewest seeds of one parity that any contestant has on any of its victims; 0 without trials."""
    counts = Counter((trial.contestant, trial.victim, trial.seed % 2) for trial in trials)
    return min((counts[one, victim, parity] for one, victim, _ in list(counts) for parity in (0, 1)), default=0)


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
    tested = [one for one in every if one.tested]
    if not tested:
        return f"{QUESTION} No verdict: fewer than {SEEDS} seeds, which is a lead at most."
    wins = sum(one.outcome == WINS for one in tested)
    outcomes = {kind: [one.outcome for one in tested if one.kind == kind] for kind in RIVALS}
    answer = "Yes" if wins == len(tested) and all(outcomes.values()) else "In part" if wins else "No"
    parts = [
        f"against {RIVALS[kind]} it wins at {found.count(WINS)}, loses at {found.count(LOSES)}"
        for kind, found in outcomes.items()
        if found
    ]
    parts += [f"{RIVALS[kind]} were not run" for kind, found in outcomes.items() if not found]
    budgets = len({one.budget for one in tested})
    return f"{QUESTION} {answer}. Of {budgets} budget{'s' * (budgets != 1)}: {'; '.join(parts)}."


def _sentence(budget: int | None, group: Sequence[Contrast]) -> str:
    first = group[0]
    seeds = ", ".join(map(str, first.seeds))
    if first.tested:
        how = f"chosen on the even seeds, tested on the seeds {seeds}"
    else:
        how = f"fewer than {SEEDS} seeds, no verdict: chosen and shown on the same seeds {seeds}"
    parts = [
        f"{one.outcome} {one.rival.contestant} ({one.rival.certified.value:.3f}; difference {signed(one.difference)})"
        for one in group
    ]
    start = f"With {amount(budget)} the best learned agent, {first.learned.contestant}"
    return f"{start} ({first.learned.certified.value:.3f}; {how}), {_joined(parts)}."


def interval(found: Estimate, seeds: int, digits: int = 3) -> str:
    """Writes an estimate as 0.712 [0.700, 0.725], marked if seeds are few, without an interval that has no width."""
    mark = f" {FEW}" if seeds < SEEDS else ""
    return f"{_with_width(found, f'.{digits}f')}{mark}"


def signed(found: Estimate) -> str:
    """Writes a difference with its interval, unless that has no width: one seed has none to speak of."""
    return _with_width(found, "+.3f")


def _with_width(found: Estimate, form: str) -> str:
    value, low, high = (format(one, form) for one in found)
    return value if found.low == found.high else f"{value} [{low}, {high}]"


def _contrast(trials: Sequence[Trial], learned: Row, rival: Row, tested: bool, seed: int) -> Contrast:
    sides = [[one for one in trials if one.contestant == row.contestant] for row in (learned, rival)]
    ours, theirs = (strata_of(side, attrgetter("certified")) for side in sides)
    shared = (shares_agents(sides[0]), shares_agents(sides[1]))
    found = difference(ours, theirs, np.random.default_rng(seed), shared=shared)
    seeds = tuple(sorted({one.seed for side in sides for one in side}))
    return Contrast(learned.budget, learned, rival, rival.kind, found, seeds, tested)


def _best(rows: Sequence[Row], kinds: Sequence[str]) -> Row | None:
    return max((row for row in rows if row.kind in kinds), key=lambda row: row.certified.value, default=None)


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else ""
