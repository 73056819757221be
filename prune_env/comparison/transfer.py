"""What transfer is worth where no optimum is known: everyone's share of the best that anyone found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from prune_env.comparison.rows import amount, arithmetic_of, place
from prune_env.comparison.statistics import mean_of_seeds
from prune_env.comparison.trials import Trial

Shares = dict[tuple[str, int | None], dict[int, list[float]]]
"""(contestant, budget as `Trial.allowance` has it) -> seed -> share of the best on each victim."""


def shares(trials: Sequence[Trial]) -> Shares:
    """Returns what each run reaches of the best certified value that anyone found on its victim.

    Args:
        trials: Of one experiment; the best is taken over all contestants, budgets, seeds and episodes. A victim on
            which nobody found anything worth more than the full model is left out.
    """
    return _shares(trials, lambda one: (one.contestant, one.allowance), lambda one: one.certified)


def sentences(trials: Sequence[Trial], seed: int = 0) -> list[str]:
    """Returns what agents that were trained before reach, then the others, who found the best, and the arithmetic.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    if not trials:
        return []
    found = shares(trials)
    trained = [one for one in trials if one.kind == "trained"]
    names = {one.contestant for one in trained}
    said = [
        f"{agent} with {amount(budget)} reaches {_percent(of.values(), seed)} of the best certified value that anyone "
        "found."
        for (agent, budget), of in found.items()
        if agent in names
    ]
    others = {key: of for key, of in found.items() if key[0] not in names}
    return [*said, *_of_episodes(trained, trials, seed), *_of_others(others, seed), _best_of(trials), *_in_what(trials)]


def _of_episodes(trained: Sequence[Trial], trials: Sequence[Trial], seed: int) -> list[str]:
    """Returns what each trained agent's own episode without chance comes to; it is the same at every budget."""
    once = {(one.contestant, one.victim, one.seed): one for one in trained if one.policy is not None}
    episodes = list(once.values())
    found = _shares(trials, lambda one: (one.contestant, None), _of_episode, episodes)
    used: dict[str, list[int]] = defaultdict(list)
    for one in episodes:
        used[one.contestant].append(one.policy["evaluations"] if one.policy else 0)
    return [
        f"{agent}, one episode without chance, {np.mean(used[agent]):.1f} evaluations on average: "
        f"{_percent(of.values(), seed)} of that best."
        for (agent, _), of in found.items()
    ]


def _of_others(found: Shares, seed: int) -> list[str]:
    """Returns what the rivals reach, in one sentence; none without rivals."""
    parts = [f"{name} {_percent(of.values(), seed)} with {amount(budget)}" for (name, budget), of in found.items()]
    return [f"Of the best that anyone found, the others reach: {', '.join(parts)}."] if parts else []


def _best_of(trials: Sequence[Trial]) -> str:
    """Returns who found the best of each victim."""
    finders: dict[str, Trial] = {}
    for one in sorted(trials, key=lambda one: (one.budget, place(one.contestant), one.seed)):
        if one.victim not in finders or _most(one) > _most(finders[one.victim]):
            finders[one.victim] = one
    parts = [
        f"{_most(one):.3f} on {victim} by {one.contestant} with {amount(one.allowance)}"
        for victim, one in sorted(finders.items())
    ]
    return f"The best, first found: {', '.join(parts)}."


def _in_what(trials: Sequence[Trial]) -> list[str]:
    """Returns in what arithmetic was searched and judged, and where."""
    ways = sorted({arithmetic_of(one) for one in trials})
    return [f"Masks were searched in {' and in '.join(f'{way[0]} ({way[1]})' for way in ways)}, and judged in float32."]


def _shares(
    trials: Sequence[Trial],
    key: Callable[[Trial], tuple[str, int | None]],
    number: Callable[[Trial], float],
    of: Sequence[Trial] | None = None,
) -> Shares:
    best: dict[str, float] = defaultdict(float)
    for trial in trials:
        best[trial.victim] = max(best[trial.victim], _most(trial))
    found: Shares = defaultdict(lambda: defaultdict(list))
    for trial in trials if of is None else of:
        if best[trial.victim] > 0:
            found[key(trial)][trial.seed].append(number(trial) / best[trial.victim])
    order = sorted(found, key=lambda one: (place(one[0]), one[1] or 0))
    return {one: dict(found[one]) for one in order}


def _most(trial: Trial) -> float:
    """Returns the more that a run's mask or its policy's episode is worth."""
    return max(trial.certified, _of_episode(trial))


def _of_episode(trial: Trial) -> float:
    return -np.inf if trial.policy is None else float(trial.policy["certified"])


def _percent(seeds: Iterable[Sequence[float]], seed: int) -> str:
    """Writes the mean over victims and seeds with its bootstrap interval over seeds."""
    found = mean_of_seeds([float(np.mean(shares)) for shares in seeds], np.random.default_rng(seed))
    value, low, high = (f"{100 * one:.1f}" for one in found)
    return f"{value} %" if low == high else f"{value} % [{low}, {high}]"
