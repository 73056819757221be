"""Interquartile means and intervals by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import trim_mean

from prune_env.comparison.statistics import (
    band,
    difference,
    estimate,
    interquartile_mean,
    mean_of_seeds,
    plain_mean,
    resampled,
)
from prune_env.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], 3.0),
        ([1.0, 2.0, 6.0], 3.0),
        ([0.0, 1.0, 2.0, 100.0], 1.5),
        ([5.0, 1.0, 4.0, 2.0, 3.0], 3.0),
        ([-9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 99.0], 3.5),
    ],
)
def test_interquartile_means_by_hand(values: list[float], expected: float) -> None:
    assert interquartile_mean(np.array(values)) == pytest.approx(expected)
    assert interquartile_mean(np.array(values)) == pytest.approx(trim_mean(values, 0.25))


def test_it_works_along_an_axis() -> None:
    values = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 30.0], [100.0, 1000.0]])
    assert interquartile_mean(values, axis=0).tolist() == [1.5, 25.0]


def test_runs_without_chance_have_no_interval() -> None:
    found = estimate([np.full(5, 0.3), np.full(5, 0.3)], np.random.default_rng(0))
    assert found == pytest.approx((0.3, 0.3, 0.3))


def test_each_victim_keeps_its_runs_in_every_resample() -> None:
    # Of one victim all runs are 0, of the other all are 1: whatever is drawn, the mean of the middle half is the same.
    drawn = resampled([np.zeros(4), np.ones(4)], 50, np.random.default_rng(0))
    assert drawn.tolist() == [0.5] * 50


def test_an_interval_covers_the_mean_of_the_resamples() -> None:
    runs = np.random.default_rng(1).normal(0.5, 0.1, 40)
    found = estimate([runs], np.random.default_rng(0))
    assert found.low < found.value < found.high
    # The middle half of 40 normal runs: about 1.1 standard errors of the mean, 0.1 / sqrt(40) = 0.016.
    assert 0.04 < found.high - found.low < 0.1


def test_shared_seeds_are_drawn_once_for_all_victims() -> None:
    # A seed is worth x on one victim and -x on the other: drawn together they cancel out in every resample.
    runs = np.random.default_rng(0).normal(0, 1, 7)
    cut = [resampled([runs, -runs], 50, np.random.default_rng(0), shared=shared) for shared in (True, False)]
    assert cut[0] == pytest.approx(np.zeros(50))
    assert np.abs(cut[1]).max() > 0.1


def test_intervals_cover_where_a_seed_is_one_agent_on_many_victims() -> None:
    # Ten agents, each good or bad on all of twelve victims alike: the truth is the mean agent's value, 0.
    rng = np.random.default_rng(0)
    covered = dict.fromkeys((True, False), 0)
    for _ in range(200):
        agents = rng.normal(0.0, 1.0, 10)
        strata = [agents + rng.normal(0.0, 0.3, 10) for _ in range(12)]
        for shared in covered:
            found = estimate(strata, rng, 200, shared=shared)
            covered[shared] += found.low <= 0 <= found.high
    assert covered[True] >= 0.85 * 200
    assert covered[False] < 0.6 * 200


def test_differences_between_one_agent_a_seed_and_runs_by_themselves_cover() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        ours = [agents + rng.normal(0.0, 0.3, 10) for agents in [rng.normal(0.0, 1.0, 10)] for _ in range(12)]
        theirs = list(rng.normal(0.0, 1.0, (12, 10)))
        found = difference(ours, theirs, rng, 200, shared=(True, False))
        covered += found.low <= 0 <= found.high
    assert covered >= 0.85 * 200


def test_the_mean_of_seeds_by_hand() -> None:
    assert mean_of_seeds([0.4, 0.4], np.random.default_rng(0)) == pytest.approx((0.4, 0.4, 0.4))
    found = mean_of_seeds([0.0, 1.0], np.random.default_rng(0))
    assert found == pytest.approx((0.5, 0.0, 1.0))
    with pytest.raises(ConfigError, match="at least one seed"):
        mean_of_seeds([], np.random.default_rng(0))


def test_a_difference_by_hand() -> None:
    found = difference([np.full(3, 0.7)], [np.full(3, 0.5)], np.random.default_rng(0))
    assert found == pytest.approx((0.2, 0.2, 0.2))


def test_a_band_has_an_interval_at_every_point() -> None:
    curves = np.array([[0.0, 0.5], [0.0, 0.7], [0.0, 0.6]])
    found = band([curves], np.random.default_rng(0))
    assert found[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert found[0, 1] == pytest.approx(0.6)
    assert 0.5 <= found[1, 1] < 0.6 < found[2, 1] <= 0.7


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(ConfigError, match="at least one run"):
        estimate([], np.random.default_rng(0))


def test_a_plain_mean_keeps_what_an_interquartile_one_cuts() -> None:
    strata = [np.array([0.9, 0.9]), np.array([0.1, 0.1]), np.array([0.1, 0.1]), np.array([0.1, 0.1])]
    rng = np.random.default_rng
    assert estimate(strata, rng(0)).value == pytest.approx(0.1)
    assert estimate(strata, rng(0), summary=plain_mean) == pytest.approx((0.3, 0.3, 0.3))
    halves = ([np.array([0.2, 0.4])], [np.array([0.1, 0.1])])
    assert difference(*halves, rng(0), summary=plain_mean) == pytest.approx((0.2, 0.1, 0.3))
