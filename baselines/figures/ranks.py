"""Rank correlation, with ties."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def spearman(one: NDArray[np.floating], other: NDArray[np.floating]) -> float | None:
    """Returns Spearman's rank correlation of two arrays of one size; None where all values of one are equal."""
    ranks = [rankdata(np.asarray(values, dtype=np.float64).ravel()) for values in (one, other)]
    first, second = (found - found.mean() for found in ranks)
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm > 0.0 else None
