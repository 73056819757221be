"""Hierarchical bootstrap: attackers are resampled, within them their defenders' seeds, and the test sentences.

A *unit* is one defender's seed on one attacker's victim, with one value for each test sentence. The estimate is the
mean over attackers of the mean over their defenders of the mean over sentences: an attacker with two defenders weighs
no more than one with a single one. A draw takes attackers with replacement, for each one taken as many of its defenders
as it has, with replacement, and sentences with replacement.

Test sentences are crossed with units, not nested in them: all victims of a family are judged on the same sentences in
the same order, and a sentence that is hard is hard for each of them. So units of one length share the sample of
sentences of a draw, and a difference between two methods is taken sentence by sentence before it is resampled.
Resampling sentences in each unit by itself would average that noise away over units, and the interval would be too
narrow. Units of another length have a sample of their own.

With one attacker nothing says how attackers vary: the interval then covers its defenders and sentences only, and a
table has to say so. With few attackers percentile intervals of a bootstrap are too narrow, since the variance over n
drawn with replacement is (n - 1) / n of the unbiased one: 0.67 for three, 0.83 for six.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import DataError
from prune_env.metrics import Interval

Unit = tuple[int, int]
"""(attacker's seed, defender's seed)."""

Values = Mapping[Unit, NDArray[np.float64]]
"""Unit -> one value a test sentence, (N,)."""

_PERCENTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Resampler:
    """How draws are made; the same settings give the same interval, whatever was asked before.

    Attributes:
        seed: Of all draws.
        draws: Resamples.
    """

    seed: int = 0
    draws: int = 2000

    def interval(self, values: Values) -> Interval:
        """Returns the mean of values with its 95 % percentile interval.

        Raises:
            DataError: No unit, or one without sentences.
        """
        units = _checked(values)
        weights = unit_weights(_sizes(units), self.draws, self.seed)
        drawn = np.empty((self.draws, len(units)))
        for length in {len(values[unit]) for unit in units}:
            columns = [index for index, unit in enumerate(units) if len(values[unit]) == length]
            matrix = np.stack([values[units[index]] for index in columns], axis=1).astype(np.float32)
            drawn[:, columns] = sentence_counts(length, self.draws, self.seed) @ matrix
            drawn[:, columns] /= length
        return _interval(mean(values), (weights * drawn).sum(axis=1))

    def of_scalars(self, values: Mapping[Unit, float], errors: Mapping[Unit, float]) -> Interval:
        """Returns the mean of a statistic that is no mean over sentences, such as AUC, with its 95 % interval.

        Attackers and defenders are resampled; sentences enter as a normal error of each unit's standard error, one draw
        for all units, since they share the sentences.

        Args:
            values: Each unit's value.
            errors: Each unit's standard error over sentences.
        """
        arrays = {unit: np.array([value], dtype=np.float64) for unit, value in values.items()}
        units = _checked(arrays)
        weights = unit_weights(_sizes(units), self.draws, self.seed)
        shift = np.random.default_rng([self.seed, 0]).standard_normal(self.draws)
        centre, error = np.array([values[unit] for unit in units]), np.array([errors[unit] for unit in units])
        return _interval(mean(arrays), weights @ centre + shift * (weights @ error))


def mean(values: Values) -> float:
    """Returns the mean over attackers of the mean over their defenders of the mean over sentences."""
    return float(np.mean(list(by_attacker(values).values())))


def by_attacker(values: Values) -> dict[int, float]:
    """Returns each attacker's mean over its defenders."""
    found: dict[int, list[float]] = {}
    for unit in sorted(values):
        found.setdefault(unit[0], []).append(float(values[unit].mean()))
    return {attacker: float(np.mean(means)) for attacker, means in found.items()}


def subtract(first: Values, second: Values) -> dict[Unit, NDArray[np.float64]]:
    """Returns first - second, sentence by sentence, over the units that both have.

    Raises:
        DataError: A unit judged on another number of sentences in `second`.
    """
    shared = sorted(set(first) & set(second))
    for unit in shared:
        if first[unit].shape != second[unit].shape:
            raise DataError(
                f"expected the same sentences on both sides of a difference, got {len(first[unit])} and "
                f"{len(second[unit])} for attacker {unit[0]}, defender {unit[1]}; report one version of a victim"
            )
    return {unit: first[unit] - second[unit] for unit in shared}


def attackers(units: Iterable[Unit]) -> int:
    """Returns how many attackers stand behind units."""
    return len({attacker for attacker, _ in units})


def covers(units: Iterable[Unit]) -> str:
    """Says what an interval over these units covers, in words."""
    found = list(units)
    if attackers(found) > 1:
        return "attackers, defenders, sentences"
    return "defenders, sentences" if len(found) > 1 else "sentences"


@lru_cache(maxsize=64)
def unit_weights(sizes: tuple[int, ...], draws: int, seed: int) -> NDArray[np.float64]:
    """Returns what each unit weighs in each draw, (draws, units), rows summing to one.

    An attacker drawn k times has k times its n defenders drawn from n: one multinomial of k * n.

    Args:
        sizes: Number of defenders of each attacker.
        draws: Resamples.
        seed: Of the draws.
    """
    rng = np.random.default_rng([seed, 1, *sizes])
    taken = rng.multinomial(len(sizes), np.full(len(sizes), 1.0 / len(sizes)), size=draws)
    parts = [
        rng.multinomial(taken[:, index] * size, np.full(size, 1.0 / size)) / (len(sizes) * size)
        for index, size in enumerate(sizes)
    ]
    return np.concatenate(parts, axis=1)


@lru_cache(maxsize=8)
def sentence_counts(count: int, draws: int, seed: int) -> NDArray[np.float32]:
    """Returns how often each of `count` sentences is in each draw, (draws, count), rows summing to `count`.

    Whole numbers, so that products with bits and their differences are exact in float32, which halves the time.
    """
    rng = np.random.default_rng([seed, 2, count])
    drawn = rng.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count).astype(np.float32)


def _checked(values: Values) -> list[Unit]:
    """Returns the units, attacker by attacker."""
    if not values or any(one.ndim != 1 or not one.size for one in values.values()):
        raise DataError(f"expected at least one unit with sentences, got {len(values)} units; run the bench first")
    return sorted(values)


def _sizes(units: list[Unit]) -> tuple[int, ...]:
    seen = [attacker for attacker, _ in units]
    return tuple(seen.count(attacker) for attacker in dict.fromkeys(seen))


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(drawn, _PERCENTILES)
    return Interval(value, float(low), float(high))
