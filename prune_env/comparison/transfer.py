"""What transfer is worth where no optimum is known: shares of the best that was found with most evaluations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from prune_env.comparison import remaining
from prune_env.comparison.rows import amount, arithmetic_of, place
from prune_env.comparison.statistics import mean_of_seeds
from prune_env.comparison.trials import Trial
from prune_env.comparison.verdict import FEW, SEEDS

Shares = dict[tuple[str, int | None], dict[int, list[float]]]
"""(contestant, budget as `Trial.allowance` has it) -> seed -> share of the best on each victim."""


def best_of(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Returns the run that found most by certified value on each victim, of those with the largest budget there.

    Args:
        trials: Of one experiment; of equal runs the first contestant's, as the registry has them, counts.
    """
    largest: dict[str, int] = defaultdict(int)
    for one in trials:
        largest[one.victim] = max(largest[one.victim], one.budget)
    found: dict[str, Trial] = {}
    for one in sorted(trials, key=lambda one: (place(one.contestant), one.seed)):
        at_most = one.budget == largest[one.victim]
        if at_most and (one.victim not in found or one.certified > found[one.victim].certified):
            found[one.victim] = one
    return found


def shares(trials: Sequence[Trial]) -> Shares:
    """Returns what each run reaches of the best of its victim, see `best_of`; with fewer evaluations it may be more.

    Args:
        trials: Of one experiment. A victim on which nobody found anything worth more than the full model is left out.
    """
    return _shares(trials, best_of(trials), lambda one: (one.contestant, one.allowance), lambda one: one.certified)


def sentences(trials: Sequence[Trial], seed: int = 0) -> list[str]:
    """Returns what agents that were trained before reach, then the others, who found the best, and the arithmetic.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    if not trials:
        return []
    found, best = shares(trials), best_of(trials)
    trained = [one for one in trials if one.kind == "trained"]
    names = {one.contestant for one in trained}
    most = " or ".join(sorted({amount(one.allowance) for one in best.values()}))
    what = f"of the best certified value that anyone found with {most}"
    said = [
        f"{agent} with {amount(budget)} reaches {_percent(of, seed)} {what}."
        for (agent, budget), of in found.items()
        if agent in names
    ]
    parts = [
        f"{name} {_percent(of, seed)} with {amount(budget)}"
        for (name, budget), of in found.items()
        if name not in names
    ]
    others = [f"Others reach, {what}: {', '.join(parts)}."] if parts else []
    return [
        *said,
        *_of_episodes(trained, best, seed),
        *others,
        _finders(best),
        *remaining.sentences(trials, seed),
        _in_what(trials),
    ]


def _of_episodes(trained: Sequence[Trial], best: Mapping[str, Trial], seed: int) -> list[str]:
    """Returns what each trained agent's own episode without chance comes to; it is the same at every budget."""
    once = {(one.contestant, one.victim, one.seed): one for one in trained if one.policy is not None}
    found = _shares(list(once.values()), best, lambda one: (one.contestant, None), _of_episode)
    used: dict[str, list[int]] = defaultdict(list)
    for one in once.values():
        used[one.contestant].append(one.policy["evaluations"] if one.policy else 0)
    return [
        f"{agent}, one episode without chance, {np.mean(used[agent]):.1f} evaluations on average: "
        f"{_percent(of, seed)} of that best."
        for (agent, _), of in found.items()
    ]


def _of_episode(trial: Trial) -> float:
    return 0.0 if trial.policy is None else float(trial.policy["certified"])


def _finders(best: Mapping[str, Trial]) -> str:
    """Returns who found the best of each victim."""
    parts = [f"{one.certified:.3f} on {victim} by {one.contestant}" for victim, one in sorted(best.items())]
    return f"That best is {', '.join(parts)}; it is a maximum over runs, and no interval allows for its chance."


def _in_what(trials: Sequence[Trial]) -> str:
    """Returns in what arithmetic was searched and judged, and where."""
    ways = " and in ".join(f"{dtype} ({device})" for dtype, device in sorted({arithmetic_of(one) for one in trials}))
    tuned = sorted({one.defended["precision"] for one in trials if one.defended is not None})
    also = f"; fine-tuned in {' and in '.join(tuned)}" if tuned else ""
    return f"Masks were searched in {ways}, and judged in float32{also}."


def _shares(
    trials: Sequence[Trial],
    best: Mapping[str, Trial],
    key: Callable[[Trial], tuple[str, int | None]],
    number: Callable[[Trial], float],
) -> Shares:
    found: Shares = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        if best[trial.victim].certified > 0:
            found[key(trial)][trial.seed].append(number(trial) / best[trial.victim].certified)
    order = sorted(found, key=lambda one: (place(one[0]), one[1] or 0))
    return {one: dict(found[one]) for one in order}


def _percent(seeds: Mapping[int, Sequence[float]], seed: int) -> str:
    """Writes the mean over victims and seeds with its bootstrap interval over seeds, marked if seeds are few."""
    found = mean_of_seeds([float(np.mean(shares)) for shares in seeds.values()], np.random.default_rng(seed))
    value, low, high = (f"{100 * one:.1f}" for one in found)
    mark = f" {FEW}" if len(seeds) < SEEDS else ""
    return f"{value} %{'' if low == high else f' [{low}, {high}]'}{mark}"
