"""Rank correlations of masks with LFR, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from prune_env.baselines.study.correlations import Sample, correlation, mean_importance, rank_sum


def _sample(values: list[float], lfr: list[float], kept: list[int] | None = None) -> Sample:
    sizes = np.array(kept or [1] * len(values))
    return Sample(sizes, [np.array(lfr)], [{"x": np.array(values)}])


def test_the_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    values, lfr = rng.integers(0, 9, 60).astype(float), rng.random(60).round(1)
    found = correlation(_sample(values.tolist(), lfr.tolist()), "x", draws=50)
    assert found is not None
    assert found.value == pytest.approx(spearmanr(values, lfr).statistic)
    assert found.low < found.value < found.high


def test_groups_are_averaged_on_the_same_masks() -> None:
    up, down = np.arange(5.0), -np.arange(5.0)
    sample = Sample(np.ones(5, dtype=int), [up, up], [{"x": up}, {"x": down}])
    found = correlation(sample, "x", draws=20)
    assert found is not None
    # One group says +1, the other -1, in every resample.
    assert (found.value, found.low, found.high) == pytest.approx((0.0, 0.0, 0.0))


def test_at_equal_size_what_size_explains_is_gone() -> None:
    # Within each size the order is reversed; over both sizes it rises.
    sample = _sample([1, 2, 3, 11, 12, 13], [0.3, 0.2, 0.1, 0.9, 0.8, 0.7], [4, 4, 4, 9, 9, 9])
    whole, within = correlation(sample, "x", draws=20), correlation(sample, "x", equal_size=True, draws=20)
    assert whole is not None and within is not None
    assert whole.value == pytest.approx(spearmanr([1, 2, 3, 11, 12, 13], [3, 2, 1, 9, 8, 7]).statistic)
    assert within.value == pytest.approx(-1.0)


def test_what_is_the_same_for_all_masks_has_no_correlation() -> None:
    assert correlation(_sample([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4]), "x", draws=5) is None
    assert correlation(_sample([4, 4, 9, 9], [0.1, 0.2, 0.3, 0.4], [4, 4, 9, 9]), "x", equal_size=True, draws=5) is None


def test_masks_of_which_nothing_is_known_are_left_out() -> None:
    found = correlation(_sample([1, 2, 3, float("nan")], [0.1, 0.2, 0.3, 0.0]), "x", draws=5)
    assert found is not None and found.value == pytest.approx(1.0)
    assert correlation(_sample([1, 2, float("nan"), float("nan")], [0.1, 0.2, 0.3, 0.0]), "x", draws=5) is None


def test_importance_is_that_of_the_pruned_heads() -> None:
    masks = np.array([[[True, True], [True, True]], [[False, True], [True, False]]])
    scores = np.array([[0.5, 1.0], [2.0, 0.25]], dtype=np.float32)
    mean = mean_importance(masks, scores)
    assert np.isnan(mean[0]) and mean[1] == pytest.approx(0.375)
    # Ranks: 0.25 -> 1, 0.5 -> 2.
    assert rank_sum(masks, scores).tolist() == [0.0, 3.0]
