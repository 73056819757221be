"""One episode without chance, against everyone else after as many evaluations as it asked for.

This is what an agent that was trained on other victims is for: it looks at a few masks, and answers. Each of its
episodes is held against a rival's run on the same victim with the same seed, cut after the same number of evaluations.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.comparison.rows import place
from prune_env.comparison.statistics import DRAWS, FEWEST, LEVEL, Estimate
from prune_env.comparison.trials import Trial


@dataclass(frozen=True)
class Match:
    """An agent's episodes against a rival, by normalised certified regret.

    Attributes:
        agent: The agent.
        rival: The rival.
        evaluations: Of the episodes, on average.
        ours: Mean certified regret of the masks at the episodes' ends.
        theirs: Mean certified regret of the rival's best masks after as many evaluations.
        difference: Theirs minus ours, with its interval: above 0 the agent is better.
        runs: Seeds of the victim that has fewest.
    """

    agent: str
    rival: str
    evaluations: float
    ours: float
    theirs: float
    difference: Estimate
    runs: int

    @property
    def outcome(self) -> int:
        """1 if the agent is better, -1 if it is worse, 0 if the interval or the runs do not tell."""
        if self.runs < FEWEST:
            return 0
        return int(self.difference.low > 0) - int(self.difference.high < 0)


@dataclass(frozen=True)
class Episodes:
    """What the episodes of an agent come to: means over victims and seeds.

    Attributes:
        agent: The agent.
        evaluations: Distinct masks asked for.
        regret: Normalised, of the episode's return on `search`, violations included.
        certified_regret: Normalised, of the final mask on `certify`.
    """

    agent: str
    evaluations: float
    regret: Estimate
    certified_regret: Estimate


def episodes_of(trials: Sequence[Trial], seed: int = 0) -> list[Episodes]:
    """Returns a row for each agent that was trained before, in the registry's order; none without known optima.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    found = []
    for name, own in _trained(trials).items():
        policies = [trial.policy or {} for trial in own]
        found.append(
            Episodes(
                name,
                float(np.mean([policy["evaluations"] for policy in policies])),
                _mean([(trial.victim, policy["regret"]) for trial, policy in zip(own, policies, strict=True)], seed),
                _mean(
                    [(trial.victim, policy["certified_regret"]) for trial, policy in zip(own, policies, strict=True)],
                    seed,
                ),
            )
        )
    return found


def matches(trials: Sequence[Trial], seed: int = 0) -> list[Match]:
    """Returns every agent that was trained before against every contestant that was not, in the registry's order.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    rivals: dict[str, dict[tuple[str, int], Trial]] = defaultdict(dict)
    for trial in sorted(trials, key=lambda one: one.budget):
        if trial.kind != "trained":
            rivals[trial.contestant][trial.victim, trial.seed] = trial
    found = []
    for name, own in _trained(trials).items():
        for rival in sorted(rivals, key=place):
            pairs = [(one, rivals[rival].get((one.victim, one.seed))) for one in own]
            both = [(one, other) for one, other in pairs if other is not None]
            if both:
                found.append(_match(name, rival, both, seed))
    return found


def sentences(trials: Sequence[Trial], seed: int = 0) -> list[str]:
    """Returns a sentence for each agent: its regret, and whom it beats and does not beat."""
    met: dict[str, list[Match]] = defaultdict(list)
    for match in matches(trials, seed):
        met[match.agent].append(match)
    return [_sentence(one, met[one.agent]) for one in episodes_of(trials, seed)]


def _sentence(one: Episodes, met: Sequence[Match]) -> str:
    groups = {
        "better than": [match for match in met if match.outcome > 0],
        "not told apart from": [match for match in met if match.outcome == 0],
        "worse than": [match for match in met if match.outcome < 0],
    }
    parts = [
        f"{words} {', '.join(f'{match.rival} ({match.theirs:.3f})' for match in group)}"
        for words, group in groups.items()
        if group
    ]
    start = (
        f"{one.agent}, one episode without chance, {one.evaluations:.1f} evaluations on average: mean normalised "
        f"regret {_words(one.regret)} of its return, {_words(one.certified_regret)} certified"
    )
    return f"{start}; after as many evaluations {'; '.join(parts)}." if parts else f"{start}."


def _words(found: Estimate) -> str:
    return f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _trained(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Returns the trials of each agent that was trained before and whose regret is known, at its smallest budget."""
    found: dict[str, dict[tuple[str, int], Trial]] = defaultdict(dict)
    for trial in sorted(trials, key=lambda one: -one.budget):
        if trial.kind == "trained" and trial.policy is not None and trial.policy["regret"] is not None:
            found[trial.contestant][trial.victim, trial.seed] = trial
    return {name: list(found[name].values()) for name in sorted(found, key=place)}


def _match(agent: str, rival: str, pairs: Sequence[tuple[Trial, Trial]], seed: int) -> Match:
    policies = [one.policy or {} for one, _ in pairs]
    ours = [policy["certified_regret"] for policy in policies]
    theirs = [_regret_after(other, policy) for (_, other), policy in zip(pairs, policies, strict=True)]
    victims = [one.victim for one, _ in pairs]
    better = [(victim, their - our) for victim, our, their in zip(victims, ours, theirs, strict=True)]
    evaluations = float(np.mean([policy["evaluations"] for policy in policies]))
    runs = min(Counter(victims).values())
    return Match(agent, rival, evaluations, float(np.mean(ours)), float(np.mean(theirs)), _mean(better, seed), runs)


def _regret_after(trial: Trial, policy: dict[str, Any]) -> float:
    best, random = (trial.scales or {})["certify"]
    value = trial.certified_after(np.array([policy["evaluations"]]))[0]
    return float((best - value) / (best - random))


def _mean(values: Sequence[tuple[str, float]], seed: int) -> Estimate:
    """Returns the mean of (victim, number) with an interval from resamples within each victim."""
    groups: dict[str, list[float]] = defaultdict(list)
    for victim, value in values:
        groups[victim].append(value)
    rng, total = np.random.default_rng(seed), np.zeros(DRAWS)
    for victim in sorted(groups):
        runs: NDArray[np.float64] = np.array(groups[victim])
        total += runs[rng.integers(len(runs), size=(DRAWS, len(runs)))].sum(axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(total / len(values), [tail, 1 - tail])
    return Estimate(float(np.mean([value for _, value in values])), float(low), float(high))
