"""Summaries of few runs as Agarwal et al. recommend ("Deep RL at the Edge of the Statistical Precipice", 2021).

The interquartile mean throws away the best and the worst quarter of all runs; intervals come from a bootstrap that
draws seeds anew within each victim, so that no victim is drawn twice or lost.

An agent that was trained before is one agent a seed, judged on every victim: its runs on two victims are no two draws.
Such runs are `shared`: the same seeds are drawn for all victims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import ConfigError

DRAWS = 2000
LEVEL = 0.95

FEWEST = 3
"""Runs of each victim below which an interval says nothing, and nobody wins."""

Summary = Callable[[NDArray[np.float64], int], NDArray[np.float64]]
"""(values, axis) -> one number for all along that axis."""

Strata = Sequence[NDArray[np.float64]]
"""The runs of each victim in the order of their seeds, (seeds,) or (seeds, K) each."""


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


def plain_mean(values: NDArray[np.float64], axis: int = 0) -> NDArray[np.float64]:
    """Returns the mean along an axis, for numbers that differ so much by victim that a quarter of them is a victim."""
    found: NDArray[np.float64] = np.mean(np.asarray(values, dtype=np.float64), axis=axis)
    return found


def resampled(
    strata: Strata,
    draws: int,
    rng: np.random.Generator,
    *,
    shared: bool = False,
    summary: Summary = interquartile_mean,
) -> NDArray[np.float64]:
    """Returns a summary of resamples in which each stratum keeps its size, (draws,) or (draws, K).

    Args:
        strata: The runs of each victim.
        draws: How many.
        rng: Of the resamples.
        shared: Whether the seeds that are drawn are the same for all victims.
        summary: Of the runs of a resample.
    """
    most = max(map(len, strata), default=0)
    once = rng.random((draws, most))
    # Of equal lengths all strata take the same seeds; where runs are missing they take alike places.
    parts = [
        runs[((once if shared else rng.random((draws, most)))[:, : len(runs)] * len(runs)).astype(np.int64)]
        for runs in strata
    ]
    return summary(np.concatenate(parts, axis=1), 1)


def estimate(
    strata: Strata,
    rng: np.random.Generator,
    draws: int = DRAWS,
    *,
    shared: bool = False,
    summary: Summary = interquartile_mean,
) -> Estimate:
    """Returns a summary of all runs with its stratified bootstrap interval.

    Args:
        strata: The runs of each victim, (seeds,) each.
        rng: Of the resamples.
        draws: How many.
        shared: As in `resampled`.
        summary: Likewise.

    Raises:
        ConfigError: No run.
    """
    value = float(summary(np.concatenate(list(strata)) if strata else np.zeros(0), 0))
    return Estimate(value, *_interval(resampled(strata, draws, rng, shared=shared, summary=summary)))


def difference(
    ours: Strata,
    theirs: Strata,
    rng: np.random.Generator,
    draws: int = DRAWS,
    *,
    shared: tuple[bool, bool] = (False, False),
    summary: Summary = interquartile_mean,
) -> Estimate:
    """Returns the difference of two summaries with its interval; both sides are resampled independently.

    Args:
        ours: The runs of one side.
        theirs: The runs of the other.
        rng: Of the resamples.
        draws: How many.
        shared: As in `resampled`, of each side.
        summary: Likewise, of both sides.
    """
    drawn = [
        resampled(runs, draws, rng, shared=both, summary=summary)
        for runs, both in zip((ours, theirs), shared, strict=True)
    ]
    value = float(summary(np.concatenate(list(ours)), 0) - summary(np.concatenate(list(theirs)), 0))
    return Estimate(value, *_interval(drawn[0] - drawn[1]))


def band(strata: Strata, rng: np.random.Generator, draws: int = DRAWS, *, shared: bool = False) -> NDArray[np.float64]:
    """Returns interquartile mean, low and high of curves, (3, K).

    Args:
        strata: The curves of each victim, (seeds, K) each.
        rng: Of the resamples.
        draws: How many.
        shared: As in `resampled`.
    """
    tail = (1 - LEVEL) / 2
    drawn = resampled(strata, draws, rng, shared=shared)
    return np.vstack([interquartile_mean(np.concatenate(list(strata))), *np.quantile(drawn, [tail, 1 - tail], axis=0)])


def mean_of_seeds(values: Sequence[float], rng: np.random.Generator, draws: int = DRAWS) -> Estimate:
    """Returns the mean of one number a seed with its bootstrap interval.

    Raises:
        ConfigError: No seed.
    """
    if not values:
        raise ConfigError("expected at least one seed to summarise, got none; run more")
    numbers = np.array(values, dtype=np.float64)
    drawn = numbers[rng.integers(len(numbers), size=(draws, len(numbers)))].mean(axis=1)
    return Estimate(float(numbers.mean()), *_interval(drawn))


def _interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
