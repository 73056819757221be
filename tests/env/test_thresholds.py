"""Thresholds are numbers of sentences: exact at the boundary, the bound checked with exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prune_env.config import check_threshold
from prune_env.errors import ThresholdError, UnknownNameError
from prune_env.thresholds import Threshold, required_by_lower_bound


def tail(count: int, sentences: int, chance: Fraction) -> Fraction:
    """P(X >= count), exact."""
    return sum(
        (math.comb(sentences, k) * chance**k * (1 - chance) ** (sentences - k) for k in range(count, sentences + 1)),
        Fraction(0),
    )


@pytest.mark.parametrize(
    ("threshold", "sentences", "required"),
    [
        (0.85, 20, 17),
        (0.85, 872, 742),
        (0.7, 10, 7),
        (0.29, 100, 29),
        (0.07, 100, 7),
        (0.55, 100, 55),
        (1.0, 7, 7),
        (1, 7, 7),
        (0.001, 10, 1),
    ],
)
def test_point(threshold: float, sentences: int, required: int) -> None:
    constraint = Threshold.of(check_threshold(threshold), sentences)
    assert (constraint.required, constraint.accuracy) == (required, threshold)


@given(st.integers(1, 1000), st.integers(1, 3000))
def test_point_agrees_with_dividing(thousandths: int, sentences: int) -> None:
    value = Fraction(thousandths, 1000)
    required = Threshold.of(value, sentences).required
    assert Fraction(required, sentences) >= value > Fraction(required - 1, sentences)


@pytest.mark.parametrize(("threshold", "sentences", "required"), [("0.85", 20, 20), ("0.85", 100, 92), ("0.5", 5, 5)])
def test_lower_bound(threshold: str, sentences: int, required: int) -> None:
    constraint = Threshold.of(Fraction(threshold), sentences, "lower_bound")
    assert (constraint.required, constraint.accuracy) == (required, required / sentences)


@given(st.integers(1, 99), st.integers(1, 120))
def test_lower_bound_is_the_exact_test_at_five_percent(hundredths: int, sentences: int) -> None:
    chance = Fraction(hundredths, 100)
    if chance**sentences > Fraction(1, 20):
        with pytest.raises(ThresholdError, match="use more sentences"):
            required_by_lower_bound(chance, sentences)
    else:
        required = required_by_lower_bound(chance, sentences)
        assert tail(required, sentences, chance) <= Fraction(1, 20) < tail(required - 1, sentences, chance)


def test_lower_bound_asks_for_more_than_the_point() -> None:
    assert required_by_lower_bound(Fraction("0.85"), 872) == 759


@pytest.mark.parametrize("value", [0.0, -0.1, 1.0001, float("nan"), float("inf"), True, "high", None])
def test_thresholds_outside_their_range(value: float) -> None:
    with pytest.raises(ThresholdError, match=r"0\.85"):
        check_threshold(value)


def test_unreachable_and_unknown() -> None:
    with pytest.raises(ThresholdError, match="lower bound of 100 sentences"):
        Threshold.of(Fraction(1), 100, "lower_bound")
    with pytest.raises(ThresholdError, match="smaller accuracy drop"):
        Threshold.of(Fraction(-1, 10), 100)
    with pytest.raises(UnknownNameError, match="threshold_margin 'bound'"):
        Threshold.of(Fraction(1, 2), 100, "bound")
