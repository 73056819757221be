"""A reward's terms for every sub-environment of a vector environment, summed as a single environment sums them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import ConfigError
from prune_env.rewards import Outcome, Reward


def terms_of(
    reward: Reward, outcome: Outcome, num_envs: int
) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Returns the names of a reward's terms, their values (T, K), and their sums (K,), as `sum` adds them.

    Args:
        reward: One that takes arrays (`batched`) is asked once, any other once for each sub-environment.
        outcome: What a step did; every field is an array (K,), the first may be one number for all.
        num_envs: K.

    Raises:
        ConfigError: Terms of other names in one sub-environment than in another.
    """
    if getattr(reward, "batched", False):
        terms = reward.terms(outcome)
        block = np.empty((len(terms), num_envs))
        for row, values in enumerate(terms.values()):
            block[row] = values
        if len(block) <= 2:
            return tuple(terms), block, np.add.reduce(block)
        # NumPy may add more in another order, and `sum` compensates for rounding from Python 3.12 on.
        return tuple(terms), block, np.array([sum(values) for values in block.T.tolist()])
    columns = [cast("NDArray[Any]", column).tolist() for column in outcome[1:]]
    heads = np.broadcast_to(outcome.heads, num_envs).tolist()
    each = [reward.terms(Outcome(*row)) for row in zip(heads, *columns, strict=True)]
    names, sums = tuple(each[0]), np.array([sum(terms.values()) for terms in each], dtype=np.float64)
    if any(terms.keys() != each[0].keys() for terms in each):
        raise ConfigError(
            "expected the reward's terms to have the same names in every sub-environment, got "
            f"{sorted({tuple(sorted(terms)) for terms in each})}; return 0.0 where a term does not apply"
        )
    return names, np.array([[terms[name] for name in names] for terms in each], dtype=np.float64).T, sums
