"""Summaries of few runs as Agarwal et al. recommend ("Deep RL at the Edge of the Statistical Precipice", 2021).

The interquartile mean throws away the best and the worst quarter of all runs; intervals come from a bootstrap that
draws seeds anew within each victim, so that no victim is drawn twice or lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import ConfigError

DRAWS = 2000
LEVEL = 0.95

FEWEST = 3
"""Runs of each victim below which an interval says nothing, and nobody wins."""

Strata = Sequence[NDArray[np.float64]]
"""The runs of each victim, (seeds,) or (seeds, K) each."""


class Estimate(NamedTuple):
    """A number and its interval."""

    value: float
    low: float
    high: float


def interquartile_mean(values: NDArray[np.float64], axis: int = 0) -> NDArray[np.float64]:
    """Returns the mean without the lowest and the highest quarter, each rounded down, along an axis.

    Raises:
        ConfigError: No value.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=axis)
    count = ordered.shape[axis]
    if not count:
        raise ConfigError("expected at least one run to summarise, got none; run more")
    cut = count // 4
    middle: NDArray[np.float64] = np.take(ordered, np.arange(cut, count - cut), axis=axis).mean(axis=axis)
    return middle


def resampled(strata: Strata, draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns the interquartile mean of resamples in which each stratum keeps its size, (draws,) or (draws, K)."""
    parts = [runs[rng.integers(len(runs), size=(draws, len(runs)))] for runs in strata]
    return interquartile_mean(np.concatenate(parts, axis=1), axis=1)


def estimate(strata: Strata, rng: np.random.Generator, draws: int = DRAWS) -> Estimate:
    """Returns the interquartile mean of all runs with its stratified bootstrap interval.

    Args:
        strata: The runs of each victim, (seeds,) each.
        rng: Of the resamples.
        draws: How many.

    Raises:
        ConfigError: No run.
    """
    value = float(interquartile_mean(np.concatenate(list(strata)) if strata else np.zeros(0)))
    return Estimate(value, *_interval(resampled(strata, draws, rng)))


def difference(ours: Strata, theirs: Strata, rng: np.random.Generator, draws: int = DRAWS) -> Estimate:
    """Returns the difference of two interquartile means with its interval; both sides are resampled independently."""
    value = float(interquartile_mean(np.concatenate(list(ours))) - interquartile_mean(np.concatenate(list(theirs))))
    return Estimate(value, *_interval(resampled(ours, draws, rng) - resampled(theirs, draws, rng)))


def band(strata: Strata, rng: np.random.Generator, draws: int = DRAWS) -> NDArray[np.float64]:
    """Returns interquartile mean, low and high of curves, (3, K).

    Args:
        strata: The curves of each victim, (seeds, K) each.
        rng: Of the resamples.
        draws: How many.
    """
    tail = (1 - LEVEL) / 2
    drawn = resampled(strata, draws, rng)
    return np.vstack([interquartile_mean(np.concatenate(list(strata))), *np.quantile(drawn, [tail, 1 - tail], axis=0)])


def _interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
