"""Ratios, scaling and the exponent of growth, by hand."""

from __future__ import annotations

import pytest

from prune_env.errors import ConfigError
from prune_env.speed.contestants import OURS, RELEASED
from prune_env.speed.measure import Measured
from prune_env.speed.rows import SECONDS, STEPS, exponent, make_row, ratios, times_faster
from tests.speed.rows import W1, rate, seconds


def test_ratios_are_over_released_in_float32_and_tuned_in_the_same_dtype() -> None:
    assert [ratios(row, W1) for row in W1] == [(1.0, 0.25), (4.0, 1.0), (12.0, 3.0), (8.0, 1.0), (24.0, 3.0)]


def test_without_a_reference_there_is_no_ratio() -> None:
    assert ratios(W1[2], W1[2:3]) == (None, None)
    other = seconds("W2", "ablation sweep", OURS, "float32", 1.0)
    assert ratios(other, [*W1, other]) == (None, None), "only the same case counts"


def test_a_rate_is_faster_when_it_is_larger() -> None:
    assert times_faster(rate("W5", "K = 16", "vector", STEPS, 30.0), rate("W5", "K = 16", "single", STEPS, 10.0)) == 3.0
    with pytest.raises(ConfigError, match="one unit"):
        times_faster(W1[0], rate("W1", "random masks", RELEASED, STEPS, 1.0))


def test_a_sample_is_scaled_to_the_whole_workload() -> None:
    assert W1[0].total_seconds == 120.0
    assert rate("W6", "one", "single", STEPS, 5.0).total_seconds == 2.0


def test_useful_flop_a_second() -> None:
    assert W1[4].flops == 2000.0
    assert rate("W6", "one", "single", STEPS, 5.0).flops == 0.0


def test_rounds_become_a_median_with_its_details() -> None:
    rounds = [Measured(value, {"hit_rate": value / 10}) for value in (1.0, 5.0, 2.0)]
    row = make_row("W4", "steps", (OURS, "float32"), SECONDS, rounds, (300, 300))
    assert (row.spread.median, row.spread.lowest, row.spread.highest, row.spread.rounds) == (2.0, 1.0, 5.0, 3)
    assert row.details == {"hit_rate": 0.2}


def test_the_exponent_of_growth() -> None:
    assert exponent([1, 2, 4, 8], [3.0, 6.0, 12.0, 24.0]) == pytest.approx(1.0)
    assert exponent([1, 2], [1.0, 4.0]) == pytest.approx(2.0)
    assert exponent([1, 2, 4], [5.0, 5.0, 5.0]) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("factors", "times"), [([1], [1.0]), ([1, 2], [0.0, 1.0]), ([1, 2], [1.0]), ([2, 2], [1.0, 2.0])]
)
def test_growth_needs_two_sizes(factors: list[float], times: list[float]) -> None:
    with pytest.raises(ConfigError, match="two or more sizes"):
        exponent(factors, times)
