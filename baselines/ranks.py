"""Rank correlation, with ties: of one pair of arrays, or of many rows at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def spearman(one: NDArray[np.floating], other: NDArray[np.floating]) -> float | None:
    """Returns Spearman's rank correlation of two arrays of one size; None where all values of one are equal."""
    first, second = (np.asarray(values, dtype=np.float64).reshape(1, -1) for values in (one, other))
    value = float(spearman_rows(first, second)[0])
    return None if np.isnan(value) else value


def spearman_rows(
    first: NDArray[np.float64], second: NDArray[np.float64], kept: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Returns the rank correlation of each row of (D, N), (D,); not a number where it is not defined.

    Args:
        first: Values, (D, N).
        second: Values, (D, N).
        kept: Groups, (D, N): the mean rank of each group is taken out of both sides; None takes a row as one group.
    """
    one, other = (_centred(rankdata(values, axis=1), kept) for values in (first, second))
    size = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float64] = np.where(size > 1e-9, (one * other).sum(1) / size, np.nan)
    return result


def _centred(ranks: NDArray[np.float64], kept: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Takes each row's mean out, or the mean of each group."""
    if kept is None:
        centred: NDArray[np.float64] = ranks - ranks.mean(1, keepdims=True)
        return centred
    cell = kept + (int(kept.max()) + 1) * np.arange(len(kept))[:, None]
    counts = np.bincount(cell.ravel())
    means = np.bincount(cell.ravel(), weights=ranks.ravel()) / np.maximum(counts, 1)
    within: NDArray[np.float64] = ranks - means[cell]
    return within
