"""Carriers by hand on small grids: the highest scores, never a whole layer; drawn ones alike; their rank."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from prune_env.errors import ConfigError
from prune_env.types import mask_to_text
from prune_env.victims.carriers import important_carriers, mean_rank, random_carriers

SCORES = np.array([[9.0, 8.0, 7.0], [1.0, 6.0, 2.0]], dtype=np.float32)


def test_the_highest_scores_carry_and_a_layers_last_head_is_passed_over() -> None:
    assert mask_to_text(important_carriers(SCORES, 2)) == "110/000"
    assert mask_to_text(important_carriers(SCORES, 3)) == "110/010"
    assert mask_to_text(important_carriers(SCORES, 4)) == "110/011"


def test_of_equal_scores_the_lower_index_comes_first() -> None:
    assert mask_to_text(important_carriers(np.ones((2, 2), dtype=np.float32), 2)) == "10/10"


def test_rank_is_zero_for_what_goes_first_and_one_for_what_goes_last() -> None:
    first, last, both = (np.array(cells, dtype=np.bool_) for cells in (
        [[0, 0, 0], [1, 0, 0]], [[1, 0, 0], [0, 0, 0]], [[0, 1, 0], [0, 0, 1]],
    ))  # fmt: skip
    assert mean_rank(SCORES, first) == 0.0
    assert mean_rank(SCORES, last) == 1.0
    assert mean_rank(SCORES, both) == pytest.approx((4 + 1) / 2 / 5)


def test_every_possible_set_is_drawn_alike_and_none_takes_a_whole_layer() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(mask_to_text(random_carriers(2, 2, 2, rng)) for _ in range(800))
    assert set(drawn) == {"10/10", "10/01", "01/10", "01/01"}
    assert min(drawn.values()) > 150


def test_carriers_are_decided_by_the_generator() -> None:
    first, second = (random_carriers(4, 4, 5, np.random.default_rng(3)) for _ in range(2))
    assert first.sum() == 5
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("count", [0, 5])
def test_too_few_and_too_many_carriers_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match="1 to 4 carriers"):
        important_carriers(SCORES, count)
    with pytest.raises(ConfigError, match="1 to 4 carriers"):
        random_carriers(2, 3, count, np.random.default_rng(0))
