"""One episode without chance, against everyone else after as many evaluations as it asked for.

This is what an agent that was trained on other victims is for: it looks at a few masks, and answers. Each of its
episodes is held against a rival's run on the same victim with the same seed, the one with the smallest budget that is
no smaller than the episode's evaluations, cut after as many; an episode for which there is none is left out. A cut run
is what a run of that budget would have been where nothing in it depends on the budget, as with random search, greedy
ascent, evolution and scripts; annealing is hotter there than it would be, and a learner less far. It is called cut,
and reports say what the run was allowed.

A seed's agent is one agent on all victims: numbers are averaged over victims first, and seeds are then drawn anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune_env.comparison.rows import place
from prune_env.comparison.statistics import FEWEST, Estimate, mean_of_seeds
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
        seeds: Agents behind it, one a seed.
        cut_from: The largest budget of a rival's run that was cut; None if all were of the episodes' evaluations.
    """

    agent: str
    rival: str
    evaluations: float
    ours: float
    theirs: float
    difference: Estimate
    seeds: int
    cut_from: int | None

    @property
    def outcome(self) -> int:
        """1 if the agent is better, -1 if it is worse, 0 if the interval or the seeds do not tell."""
        if self.seeds < FEWEST:
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
                _mean([(trial.seed, policy["regret"]) for trial, policy in zip(own, policies, strict=True)], seed),
                _mean(
                    [(trial.seed, policy["certified_regret"]) for trial, policy in zip(own, policies, strict=True)],
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
    rivals: dict[str, dict[tuple[str, int], list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in sorted(trials, key=lambda one: one.budget):
        if trial.kind != "trained":
            rivals[trial.contestant][trial.victim, trial.seed].append(trial)
    found = []
    for name, own in _trained(trials).items():
        for rival in sorted(rivals, key=place):
            pairs = [(one, _large_enough(rivals[rival].get((one.victim, one.seed), []), one)) for one in own]
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
    start = (
        f"{one.agent}, one episode without chance, {one.evaluations:.1f} evaluations on average: mean normalised "
        f"regret {_words(one.regret)} of its return, {_words(one.certified_regret)} certified"
    )
    if not met:
        return f"{start}."
    cut = {match.cut_from for match in met}
    alike = next(iter(cut)) if len(cut) == 1 else None
    of = "" if alike is None else f" that was allowed {alike}"
    parts = [
        f"{words} {', '.join(_named(match, alike) for match in group)}" for words, group in groups.items() if group
    ]
    return f"{start}; by certified regret, after as many evaluations of a rival's run{of}, {'; '.join(parts)}."


def _named(match: Match, said: int | None) -> str:
    """Returns a rival and its regret, with what its run was allowed if that was more, and is not said already."""
    cut = "" if match.cut_from in (None, said) else f", run allowed {match.cut_from}"
    return f"{match.rival} ({100 * match.theirs:.1f} %{cut})"


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
    seeds = [one.seed for one, _ in pairs]
    asked = [int(policy["evaluations"]) for policy in policies]
    cut = [other.budget for (_, other), evaluations in zip(pairs, asked, strict=True) if other.budget > evaluations]
    return Match(
        agent=agent,
        rival=rival,
        evaluations=float(np.mean(asked)),
        ours=float(np.mean(ours)),
        theirs=float(np.mean(theirs)),
        difference=_mean([(one, their - our) for one, our, their in zip(seeds, ours, theirs, strict=True)], seed),
        seeds=len(set(seeds)),
        cut_from=max(cut, default=None),
    )


def _large_enough(runs: Sequence[Trial], agent: Trial) -> Trial | None:
    """Returns the first of a rival's runs, small budgets first, that was allowed what an agent's episode asked for."""
    needed = (agent.policy or {})["evaluations"]
    return next((run for run in runs if run.budget >= needed), None)


def _regret_after(trial: Trial, policy: dict[str, Any]) -> float:
    best, random = (trial.scales or {})["certify"]
    value = trial.certified_after(np.array([policy["evaluations"]]))[0]
    return float((best - value) / (best - random))


def _mean(values: Sequence[tuple[int, float]], seed: int) -> Estimate:
    """Returns the mean of (seed, number of one victim): over victims first, then over seeds with an interval."""
    groups: dict[int, list[float]] = defaultdict(list)
    for one, value in values:
        groups[one].append(value)
    return mean_of_seeds([float(np.mean(groups[one])) for one in sorted(groups)], np.random.default_rng(seed))
