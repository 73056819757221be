"""What transfer is worth where no optimum is known: everyone's share of the best that anyone found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from prune_env.comparison.rows import place
from prune_env.comparison.trials import Trial


def shares(trials: Sequence[Trial]) -> dict[tuple[str, int], float]:
    """Returns (contestant, budget) -> mean share of the best certified value that anyone found on the victim.

    Args:
        trials: Of one experiment; the best is taken over all contestants, budgets and seeds.
    """
    best = _best(trials)
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for trial in trials:
        if best[trial.victim] > 0:
            found[trial.contestant, trial.budget].append(trial.certified / best[trial.victim])
    order = sorted(found, key=lambda key: (place(key[0]), key[1]))
    return {key: float(np.mean(found[key])) for key in order}


def _best(trials: Sequence[Trial]) -> dict[str, float]:
    """Returns the best certified value that anyone found on each victim."""
    best: dict[str, float] = defaultdict(lambda: -np.inf)
    for trial in trials:
        best[trial.victim] = max(best[trial.victim], trial.certified)
    return best


def sentences(trials: Sequence[Trial]) -> list[str]:
    """Returns what agents that were trained before reach, then the others, then in what arithmetic."""
    found, largest = shares(trials), max((trial.budget for trial in trials), default=0)
    trained = {trial.contestant for trial in trials if trial.kind == "trained"}
    said = [
        f"{agent} with {budget} evaluations reaches {100 * share:.1f} % of the best certified value that anyone found "
        f"with up to {largest}, on average over victims and seeds."
        for (agent, budget), share in found.items()
        if agent in trained
    ]
    others = {key: share for key, share in found.items() if key[0] not in trained}
    return [*said, *_of_episodes(trials), *_of_others(others), *_arithmetic(trials)]


def _of_episodes(trials: Sequence[Trial]) -> list[str]:
    """Returns what each trained agent's own episode without chance comes to; it is the same at every budget."""
    best, found = _best(trials), dict[str, dict[tuple[str, int], tuple[float, int]]]()
    for trial in sorted(trials, key=lambda one: place(one.contestant)):
        if trial.kind == "trained" and trial.policy is not None and best[trial.victim] > 0:
            share = trial.policy["certified"] / best[trial.victim]
            run = found.setdefault(trial.contestant, {})
            run[trial.victim, trial.seed] = (share, trial.policy["evaluations"])
    means = {agent: np.mean(list(runs.values()), axis=0).tolist() for agent, runs in found.items()}
    return [
        f"{agent}, one episode without chance: {100 * share:.1f} % of it with {evaluations:.1f} evaluations."
        for agent, (share, evaluations) in means.items()
    ]


def _of_others(found: Mapping[tuple[str, int], float]) -> list[str]:
    """Returns what the rivals reach, in one sentence; none without rivals."""
    parts = [f"{name} {100 * share:.1f} % with {budget}" for (name, budget), share in found.items()]
    return [f"Of the same best, the others reach: {', '.join(parts)}."] if parts else []


def _arithmetic(trials: Sequence[Trial]) -> list[str]:
    """Returns in what arithmetic was searched and judged."""
    dtypes = sorted({str(trial.settings.get("dtype", "float32")) for trial in trials})
    return [f"Masks were searched in {' and '.join(dtypes)}, and judged in float32."] if dtypes else []
