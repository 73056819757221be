"""What transfer is worth where no optimum is known: a trained agent's share of the best that anyone found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from prune_env.comparison.rows import place
from prune_env.comparison.trials import Trial


def shares(trials: Sequence[Trial]) -> dict[tuple[str, int], float]:
    """Returns (agent, budget) -> mean share of the best certified value that any contestant found on the victim.

    Args:
        trials: Of one experiment; the best is taken over all contestants, budgets and seeds.
    """
    best: dict[str, float] = defaultdict(lambda: -np.inf)
    for trial in trials:
        best[trial.victim] = max(best[trial.victim], trial.certified)
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for trial in trials:
        if trial.kind == "trained" and best[trial.victim] > 0:
            found[trial.contestant, trial.budget].append(trial.certified / best[trial.victim])
    order = sorted(found, key=lambda key: (place(key[0]), key[1]))
    return {key: float(np.mean(found[key])) for key in order}


def sentences(trials: Sequence[Trial]) -> list[str]:
    """Returns a sentence for each agent that was trained before, and each budget."""
    largest = max((trial.budget for trial in trials), default=0)
    return [
        f"{agent} with {budget} evaluations reaches {100 * share:.1f} % of the best certified value that anyone found "
        f"with up to {largest}, on average over victims and seeds."
        for (agent, budget), share in shares(trials).items()
    ]
