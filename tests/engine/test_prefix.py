"""The store of prefixes: which nodes it holds, which leave, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prune_env.engine.prefix import PrefixStore, mask_keys
from prune_env.types import full_mask
from tests.models import random_masks

STATES = (torch.zeros(1),)


def store(nodes: int, layers: int = 4) -> PrefixStore:
    return PrefixStore(layers, budget=nodes * 10, node_bytes=10)


def fill(found: PrefixStore, key: bytes, start: int = 0) -> None:
    for prefix in found.missing([key], start):
        found.put(prefix, STATES)


def test_masks_that_share_layers_share_the_beginning_of_their_keys() -> None:
    masks = np.repeat(full_mask(3, 12)[None], 2, axis=0)
    masks[1, 2, 5] = False
    first, second = mask_keys(masks)
    assert len(first) == 3 * 2
    assert first[:4] == second[:4]
    assert first != second


@given(st.integers(0, 2**32 - 1))
def test_keys_tell_every_mask_apart(seed: int) -> None:
    masks = random_masks(30, 2, 9, seed=seed)
    assert len(set(mask_keys(masks))) == len(np.unique(masks, axis=0))


@pytest.mark.parametrize(
    ("nodes", "depths"), [(0, ()), (1, ()), (2, (0,)), (3, (0,)), (4, (0, 2)), (7, (0, 2)), (8, (0, 1, 2, 3))]
)
def test_depths_are_spread_so_that_two_paths_fit(nodes: int, depths: tuple[int, ...]) -> None:
    assert store(nodes).depths == depths


def test_a_path_is_found_to_its_deepest_node() -> None:
    found = store(8)
    fill(found, b"aaaa")
    assert found.touch(b"aaaa") == 3
    assert found.touch(b"aaab") == 3
    assert found.touch(b"abaa") == 1
    assert found.touch(b"bbbb") == 0
    assert found.get(b"abbb", 1) is not None
    assert found.get(b"abbb", 2) is None
    assert store(8).touch(b"aaaa") is None


def test_only_missing_nodes_from_the_start_on_are_wanted() -> None:
    found = store(16)
    fill(found, b"aaaa")
    assert found.missing([b"aaab"], start=3) == {}
    assert found.missing([b"aabb", b"aabc"], start=2) == {b"aab": (0, 3)}
    assert found.missing([b"abaa", b"aabb"], start=1) == {b"ab": (0, 2), b"aba": (0, 3), b"aab": (1, 3)}


def test_the_least_recently_used_node_leaves_first() -> None:
    found = store(8)
    fill(found, b"aaaa")
    fill(found, b"bbbb", start=1)
    found.touch(b"aaaa")
    fill(found, b"cccc", start=1)
    assert found.touch(b"aaaa") == 3
    assert found.touch(b"cccc") == 3
    assert [found.get(b"bbbb", depth) for depth in (1, 2)] == [None, None]


@given(st.integers(0, 12), st.lists(st.text("ab", min_size=4, max_size=4), max_size=20))
def test_the_budget_holds_while_states_are_made(nodes: int, texts: list[str]) -> None:
    found = store(nodes)
    for text in texts:
        start = found.touch(text.encode()) or 0
        wanted = found.missing([text.encode()], start)
        assert found.stored_bytes + 10 * len(wanted) <= found.peak_bytes <= 10 * nodes
        for prefix in wanted:
            found.put(prefix, STATES)
        assert found.stored_bytes <= 10 * nodes
