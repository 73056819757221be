"""The hierarchical bootstrap: by hand where it can be, by its moments where it is random."""

from __future__ import annotations

import numpy as np
import pytest

from prune_env.baselines.tables.hierarchy import (
    Resampler,
    attackers,
    by_attacker,
    covers,
    mean,
    sentence_counts,
    subtract,
    unit_weights,
)
from prune_env.errors import DataError

ZERO, ONE, HALF = np.zeros(4), np.ones(4), np.array([1.0, 1.0, 0.0, 0.0])


def test_an_attacker_with_two_defenders_weighs_no_more_than_one_with_a_single_one() -> None:
    values = {(11, 11): ONE, (11, 12): ZERO, (12, 12): ONE}
    assert by_attacker(values) == {11: 0.5, 12: 1.0}
    assert mean(values) == 0.75


def test_weights_of_every_draw_sum_to_one_and_its_sentences_to_their_number() -> None:
    assert np.allclose(unit_weights((2, 1, 3), 500, 0).sum(axis=1), 1.0)
    assert unit_weights((2, 1, 3), 500, 0).shape == (500, 6)
    assert np.allclose(sentence_counts(7, 500, 0).sum(axis=1), 7.0)


def test_one_unit_is_always_drawn_whole() -> None:
    assert (unit_weights((1,), 50, 3) == 1.0).all()


def test_two_attackers_are_drawn_as_two_fair_coins() -> None:
    # Shares of the first attacker: 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    share = unit_weights((1, 1), 20_000, 0)[:, 0]
    assert set(share) == {0.0, 0.5, 1.0}
    assert np.mean(share == 0.5) == pytest.approx(0.5, abs=0.02)
    assert np.mean(share == 1.0) == pytest.approx(0.25, abs=0.02)


def test_defenders_are_drawn_within_their_attacker() -> None:
    # One attacker, two defenders: again two coins, and the attacker's weight is whole in each draw.
    weights = unit_weights((2,), 20_000, 0)
    assert (weights.sum(axis=1) == 1.0).all()
    assert np.mean(weights[:, 0] == 0.5) == pytest.approx(0.5, abs=0.02)
    # Two attackers of two: a defender's weight is k/4 with variance E[2 taken * 1/4] / 16 + Var[taken] / 16.
    assert unit_weights((2, 2), 40_000, 0)[:, 0].var() == pytest.approx((0.5 + 0.5) / 16, rel=0.05)


def test_constant_units_of_two_attackers_span_both() -> None:
    found = Resampler(draws=2000).interval({(11, 11): ZERO, (12, 12): ONE})
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_what_never_varies_has_no_width() -> None:
    found = Resampler().interval({(11, 11): ONE, (12, 12): ONE})
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_sentences_alone_give_the_binomial_interval() -> None:
    bits = np.repeat([1.0, 0.0], [300, 700])
    found = Resampler(draws=20_000).interval({(11, 11): bits})
    error = np.sqrt(0.3 * 0.7 / 1000)
    assert found.low == pytest.approx(0.3 - 1.96 * error, abs=0.002)
    assert found.high == pytest.approx(0.3 + 1.96 * error, abs=0.002)


def test_units_share_the_sample_of_sentences() -> None:
    # A second attacker with the very same bits adds nothing: hard sentences are hard for both.
    bits = np.repeat([1.0, 0.0], [30, 70])
    alone = Resampler().interval({(11, 11): bits})
    both = Resampler().interval({(11, 11): bits, (12, 12): bits})
    assert (both.value, both.low, both.high) == pytest.approx((alone.value, alone.low, alone.high))


def test_other_lengths_are_resampled_by_themselves() -> None:
    found = Resampler().interval({(11, 11): np.ones(3), (12, 12): np.array([1.0, 0.0])})
    assert found.value == 0.75
    assert found.low < 0.75 < found.high


def test_the_same_seed_gives_the_same_interval_whatever_was_asked_before() -> None:
    values = {(11, 11): HALF, (12, 12): ONE}
    first = Resampler(seed=5).interval(values)
    Resampler(seed=5).interval({(1, 1): np.arange(9.0)})
    assert Resampler(seed=5).interval(dict(reversed(values.items()))) == first
    assert Resampler(seed=6, draws=101).interval({(1, 1): np.arange(9.0)}) != Resampler(seed=7, draws=101).interval(
        {(1, 1): np.arange(9.0)}
    )


def test_scalars_take_sentences_as_a_normal_error() -> None:
    found = Resampler(draws=20_000).of_scalars({(11, 11): 0.8}, {(11, 11): 0.02})
    assert found.value == 0.8
    assert found.low == pytest.approx(0.8 - 1.96 * 0.02, abs=0.002)
    exact = Resampler().of_scalars({(11, 11): 0.8, (12, 12): 0.6}, {(11, 11): 0.0, (12, 12): 0.0})
    assert (exact.value, exact.low, exact.high) == pytest.approx((0.7, 0.6, 0.8))


def test_differences_are_over_shared_units() -> None:
    found = subtract({(11, 11): ONE, (12, 12): ONE}, {(11, 11): HALF, (13, 13): ONE})
    assert list(found) == [(11, 11)]
    assert found[11, 11].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_differences_of_other_sentences_are_refused() -> None:
    with pytest.raises(DataError, match="the same sentences"):
        subtract({(11, 11): ONE}, {(11, 11): np.ones(5)})


def test_no_unit_is_refused() -> None:
    with pytest.raises(DataError, match="at least one unit"):
        Resampler().interval({})


def test_what_an_interval_covers_is_said() -> None:
    assert covers([(11, 11)]) == "sentences"
    assert covers([(11, 11), (11, 12)]) == "defenders, sentences"
    assert covers([(11, 11), (12, 12)]) == "attackers, defenders, sentences"
    assert attackers([(11, 11), (11, 12), (12, 12)]) == 2
