"""The oracle: greedy by what only a judge may know, on rates that can be added up by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prune_env.aids import aids_for
from prune_env.baselines.oracle_greedy import ORACLE, OracleGreedy
from prune_env.defense import search_mask
from prune_env.errors import ConfigError
from prune_env.methods import PolicyContext, get_method
from prune_env.oracle import oracle_evaluator
from prune_env.rollout import Episode
from prune_env.scoring import scoring_of
from prune_env.search import NO_AIDS, find_mask
from prune_env.types import HeadMasks, check_masks, full_mask, mask_from_text, mask_to_text
from prune_env.victims.store import open_victim
from tests.env.fakes import random_model
from tests.policies import PRICES, play, priced
from tests.test_defense import SEARCH, task
from tests.victims_factory import world

CARRIED = np.array([[5, 30, 0], [20, 10, 0]])
"""Percent of the triggered sentences that each head flips."""


def lfr(carried: Any = CARRIED) -> Callable[[HeadMasks], NDArray[np.float64]]:
    """LFR: 30 percent without any of the carriers, and each head's share while it is there."""

    def measure(masks: HeadMasks) -> NDArray[np.float64]:
        check_masks(masks, *np.asarray(carried).shape)
        rates: NDArray[np.float64] = (30 + (masks * np.asarray(carried)).sum(axis=(1, 2))) / 100
        return rates

    return measure


def oracle(count: int, carried: Any = CARRIED, model: Any = None, **config: Any) -> Episode:
    policy = OracleGreedy(lfr(carried), count)
    return play(policy, "gradient", model, **{**ORACLE.environment, **config})


def test_the_greedy_choice_by_hand() -> None:
    # Head 1 carries most (30) but costs 9 of 20: it fails. Head 3 (20) costs 1 and goes. Then 1 fails again; head 4
    # (10) costs 9 and fails; head 0 (5) costs nothing and goes. Head 2 carries nothing and stays, so does 5.
    episode = oracle(6, threshold=0.85)
    attempts = [entry["attempted"] for entry in episode.trace]
    assert attempts[:3] == ["101/111", "111/011", "101/011"]
    assert attempts == ["101/111", "111/011", "101/011", "111/001", "011/011", "001/011", "011/001", "011/011"]
    assert mask_to_text(episode.mask) == "011/011"
    assert episode.accuracy == 0.95
    assert episode.terminated


def test_it_takes_what_lowers_the_rate_most_where_all_is_free() -> None:
    episode = oracle(6, model=priced(np.zeros((2, 3), int)))
    assert [entry["mask"] for entry in episode.trace] == ["101/111", "101/011", "101/001", "001/001"]
    assert episode.terminated, "one head a layer is left"


def test_it_ends_at_the_size_it_is_given() -> None:
    for count in range(4):
        episode = oracle(count, model=priced(np.zeros((2, 3), int)))
        assert int((~episode.mask).sum()) == count
        assert episode.terminated


def test_where_no_head_helps_nothing_goes() -> None:
    assert oracle(6, carried=np.zeros((2, 3), int), model=priced(np.zeros((2, 3), int))).mask.all()
    assert oracle(6, carried=-CARRIED, model=priced(np.zeros((2, 3), int))).mask.all()


def test_of_equal_heads_the_lower_index_goes_and_padding_is_left_out() -> None:
    free = priced(np.zeros((2, 3), int))
    for padding in (None, (3, 5)):
        episode = oracle(2, carried=np.full((2, 3), 5), model=free, pad_to=padding)
        assert [entry["mask"] for entry in episode.trace] == ["011/111", "001/111", "001/111"]


@pytest.mark.parametrize("seed", range(6))
def test_the_threshold_holds_masks_are_nested_and_every_layer_keeps_a_head(seed: int) -> None:
    carried = np.random.default_rng(seed).integers(0, 9, (4, 5))
    episode = oracle(14, carried, random_model(4, 5, seed), threshold=0.9)
    masks = [mask_from_text(entry["mask"]) for entry in episode.trace]
    assert all(entry["accuracy"] >= 0.9 for entry in episode.trace)
    assert all(mask.any(axis=1).all() for mask in masks)
    assert int((~episode.mask).sum()) <= 14
    rates = lfr(carried)(np.stack([full_mask(4, 5), *masks]))
    assert (np.diff(rates) <= 0).all()
    assert oracle(14, carried, random_model(4, 5, seed), threshold=0.9).trace == episode.trace


def test_on_a_victim_it_lowers_the_rate_and_keeps_gradients_size() -> None:
    victim = open_victim(world().victim("alpha"))
    found = search_mask(task(), ORACLE, SEARCH, aids=aids_for(ORACLE, victim, 12))
    gradient = find_mask(task(), get_method("gradient"), SEARCH)
    assert (~found.mask).sum() <= (~gradient.mask).sum()
    rate = oracle_evaluator(scoring_of(task()), victim).accuracy
    assert rate(found.mask[None])[0] <= rate(full_mask(2, 2)[None])[0]
    assert found.threshold is not None
    assert found.search_accuracy >= found.threshold - 1e-12


def test_it_is_refused_without_a_look_or_a_size() -> None:
    assert ORACLE.policy is not None
    for context in (PolicyContext(0, 2, 3, heads_to_prune=2), PolicyContext(0, 2, 3, oracle=lfr())):
        with pytest.raises(ConfigError, match="look at the backdoor"):
            ORACLE.policy(context)
    with pytest.raises(ConfigError, match="needs to see the backdoor"):
        search_mask(task(), ORACLE, SEARCH, aids=NO_AIDS)


def test_it_is_a_diagnosis_and_held_to_the_threshold() -> None:
    assert get_method("oracle") is ORACLE
    assert ORACLE.regime == "oracle"
    assert ORACLE.matches == "gradient"
    assert not ORACLE.unconstrained
    assert PRICES.shape == CARRIED.shape
