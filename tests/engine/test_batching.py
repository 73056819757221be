"""The plan of batches, as a property of any lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prune_env.engine.batching import plan
from prune_env.errors import ConfigError

LENGTHS = st.lists(st.integers(1, 60), max_size=80)


@given(LENGTHS, st.integers(1, 300), st.integers(0, 10))
def test_every_sentence_once_with_bounded_padding_and_size(lengths: list[int], max_tokens: int, slack: int) -> None:
    array = np.array(lengths, dtype=np.int64)
    batches = plan(array, max_tokens, slack)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = int(array[batch].max())
        assert longest - int(array[batch].min()) <= slack
        assert len(batch) == 1 or longest * len(batch) <= max_tokens


@given(LENGTHS, st.integers(1, 300), st.integers(0, 10))
def test_the_plan_follows_from_its_arguments(lengths: list[int], max_tokens: int, slack: int) -> None:
    array = np.array(lengths, dtype=np.int64)
    first, second = plan(array, max_tokens, slack), plan(array.copy(), max_tokens, slack)
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]


def test_a_small_plan_by_hand() -> None:
    batches = plan(np.array([3, 5, 3, 4, 3]), max_tokens=9, slack=1)
    assert [batch.tolist() for batch in batches] == [[0, 2, 4], [3], [1]]
    assert [batch.tolist() for batch in plan(np.array([3, 5, 3, 4, 3]))] == [[0, 2, 4], [3], [1]]


@pytest.mark.parametrize(("lengths", "max_tokens", "slack"), [([2], 0, 0), ([2], 9, -1), ([2, 0], 9, 0)])
def test_settings_out_of_range_are_refused(lengths: list[int], max_tokens: int, slack: int) -> None:
    with pytest.raises(ConfigError, match="max_tokens >= 1"):
        plan(np.array(lengths), max_tokens, slack)
