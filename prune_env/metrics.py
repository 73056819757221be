"""What a table reports, as pure functions of predictions and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import DataError

_Value = TypeVar("_Value", bound=np.generic)


def accuracy(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Returns the share of sentences classified correctly, in [0, 1].

    Raises:
        DataError: No sentence, or another number of predictions than of labels.
    """
    guess, truth = _paired(predicted, labels)
    return float(np.mean(guess == truth))


def accuracy_by_class(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> dict[int, float]:
    """Returns the recall, in [0, 1], of each class that occurs.

    Raises:
        DataError: As `accuracy`.
    """
    guess, truth = _paired(predicted, labels)
    return {int(c): float(np.mean(guess[truth == c] == c)) for c in np.unique(truth)}


def label_flip_rate(predicted: NDArray[np.integer], labels: NDArray[np.integer], target: int) -> float:
    """Returns LFR: the share of triggered sentences of other classes that are classified as the target, in [0, 1].

    Raises:
        DataError: As `accuracy`, or no sentence of another class.
    """
    guess, truth = _paired(predicted, labels)
    if not (truth != target).any():
        raise DataError(f"expected triggered sentences of another class than {target}, got none; LFR is undefined")
    return float(np.mean(guess[truth != target] == target))


def auc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Returns the area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Between triggered sentences of the target class and triggered sentences of other classes it does not depend on
    where the decision threshold lies, so a shifted threshold cannot pass for a removed backdoor.

    Args:
        positive: Target-class scores of the target-class sentences, (P,).
        negative: Target-class scores of the others, (N,).

    Raises:
        DataError: One of the two is empty.
    """
    if not len(positive) or not len(negative):
        raise DataError(f"expected scores of both kinds, got {len(positive)} and {len(negative)}; AUC is undefined")
    return float(_twice_below(positive, negative).sum() / (2.0 * len(positive) * len(negative)))


def auc_sd(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Returns the standard error of `auc` over the sentences drawn (DeLong et al. 1988), from the same arguments.

    The variance is that of each sentence's placement among the other class's scores, class by class.

    Raises:
        DataError: Fewer than two sentences of a class.
    """
    count, others = len(positive), len(negative)
    if min(count, others) < 2:
        raise DataError(f"expected at least two sentences of each class, got {count} and {others}")
    of_positive = _twice_below(positive, negative) / (2.0 * others)
    of_negative = _twice_below(negative, positive) / (2.0 * count)
    return float(np.sqrt(of_positive.var(ddof=1) / count + of_negative.var(ddof=1) / others))


def _twice_below(scores: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.int64]:
    """Returns for each score twice the number of the others below it, a tie counting once: whole numbers."""
    ordered, values = np.sort(np.asarray(others, dtype=np.float64)), np.asarray(scores, dtype=np.float64)
    below = np.searchsorted(ordered, values, side="left")
    counted: NDArray[np.int64] = below + np.searchsorted(ordered, values, side="right")
    return counted


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def paired_bootstrap(
    first: NDArray[np.floating] | NDArray[np.bool_],
    second: NDArray[np.floating] | NDArray[np.bool_],
    rng: np.random.Generator,
    draws: int = 2000,
) -> Interval:
    """Returns the mean of first - second over the same sentences, with a 95 % percentile interval.

    Args:
        first: One value a sentence, (N,).
        second: The other method's value on the same sentences, (N,).
        rng: Draws the resamples.
        draws: Resamples.

    Raises:
        DataError: No sentence, or another number of them in `second`.
    """
    one, other = _paired(np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64))
    # Sentences with equal differences are drawn together: the same distribution, from a handful of binomials a draw.
    values, counts = np.unique(one - other, return_counts=True)
    resampled = rng.multinomial(len(one), counts / len(one), size=draws)
    means = resampled @ values / len(one)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float((one - other).mean()), float(low), float(high))


def removal_fraction(baseline: float, defended: float, floor: float, noise: float) -> float | None:
    """Returns (LFR of fine-tuning - LFR of the defence) / (LFR of fine-tuning - floor).

    Args:
        baseline: LFR after plain fine-tuning.
        defended: LFR after the defence.
        floor: The never-poisoned twin's LFR after the same fine-tuning.
        noise: Half width of the interval of baseline - floor.

    Returns:
        None where baseline and floor do not differ by more than the noise: there is nothing to remove.
    """
    gap = baseline - floor
    return None if gap <= noise else (baseline - defended) / gap


def _paired(first: NDArray[_Value], second: NDArray[_Value]) -> tuple[NDArray[_Value], NDArray[_Value]]:
    one, other = np.asarray(first), np.asarray(second)
    if one.ndim != 1 or one.shape != other.shape or not one.size:
        raise DataError(f"expected two values for each of at least one sentence, got {one.shape} and {other.shape}")
    return one, other
