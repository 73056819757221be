"""A random third of each layer's heads: a size of its own, held to nothing, told nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.baselines.cells import Cell, Settings, plan
from prune_env.baselines.hybrid import HYBRID
from prune_env.baselines.random_heads import RANDOM_THIRD
from prune_env.baselines.remaining import RESULTS
from prune_env.defense import defend
from prune_env.methods import METHODS, PolicyContext, get_method
from prune_env.records import read_records
from prune_env.rollout import Episode
from prune_env.scoring import Scoring
from prune_env.search import Found, find_mask, search_config
from prune_env.types import mask_to_text
from prune_env.victims.store import open_victim
from tests.policies import play, priced
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY

BLIND = tuple(name for name in METHODS if not get_method(name).reads_importance)
"""Methods that say that they read no importance."""


def draw(seed: int, layers: int, heads: int) -> Episode:
    assert RANDOM_THIRD.policy is not None
    policy = RANDOM_THIRD.policy(PolicyContext(seed, layers, heads))
    return play(policy, "gradient", priced(np.zeros((layers, heads), int)), threshold=1e-6, **RANDOM_THIRD.environment)


@pytest.mark.parametrize(("heads", "kept"), [(1, 1), (2, 1), (3, 1), (4, 2), (6, 2), (7, 3), (12, 4)])
def test_every_layer_keeps_a_third_rounded_up(heads: int, kept: int) -> None:
    for seed in range(5):
        assert draw(seed, 3, heads).mask.sum(axis=1).tolist() == [kept] * 3


def test_it_keeps_24_of_minilms_72_heads() -> None:
    assert int(draw(11, 6, 12).mask.sum()) == 24


def test_it_depends_on_the_seed_alone() -> None:
    masks = [mask_to_text(draw(seed, 4, 6).mask) for seed in (1, 1, 2)]
    assert masks[0] == masks[1] != masks[2]


def test_every_head_is_as_likely_to_stay() -> None:
    stays: Counter[int] = Counter()
    for seed in range(300):
        stays.update(np.flatnonzero(draw(seed, 2, 3).mask).tolist())
    # One of three heads a layer in 300 draws: 100 each, with a standard deviation of 8.
    assert all(65 < stays[head] < 135 for head in range(6))


def test_it_is_one_step_and_held_to_nothing() -> None:
    assert RANDOM_THIRD.unconstrained
    assert RANDOM_THIRD.matches is None
    assert RANDOM_THIRD.policy is not None
    costly = priced([[4, 4, 4], [4, 4, 4]])
    episode = play(
        RANDOM_THIRD.policy(PolicyContext(0, 2, 3)), "gradient", costly, threshold=1e-6, **RANDOM_THIRD.environment
    )
    assert len(episode.trace) == 1
    assert episode.terminated
    assert int(episode.mask.sum()) == 2
    assert episode.accuracy == 0.2


def search(name: str, reads: bool) -> Found:
    method = replace(get_method(name), reads_importance=reads)
    return find_mask(task(), method, SEARCH, 2 if method.matches else None)


@pytest.mark.parametrize("name", BLIND)
def test_what_reads_no_importance_finds_the_same_without_it(name: str) -> None:
    shown, blind = search(name, reads=True), search(name, reads=False)
    assert np.array_equal(shown.mask, blind.mask)
    for same in ("trace", "evaluations", "search_accuracy", "certify_accuracy", "threshold"):
        assert getattr(shown, same) == getattr(blind, same)
    assert (list(shown.importance), blind.importance) == (["gradient"], {})
    assert shown.sentence_passes - blind.sentence_passes == 96, "the training sentences, once"


def test_what_reads_no_importance_does_not_pay_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"random", "random-balanced", "random-third", "hybrid"} <= set(BLIND)
    seen, purified = defend(task(), replace(RANDOM_THIRD, reads_importance=True), SEARCH, TINY.training)
    monkeypatch.setattr(Scoring, "importance", lambda *_: pytest.fail("scored"))
    found, again = defend(task(), RANDOM_THIRD, SEARCH, TINY.training)
    assert np.array_equal(seen.mask, found.mask) and equal(purified.model, again.model)


def test_committed_records_are_still_those_of_these_methods() -> None:
    settings = Settings(Path("nowhere"))
    records = [one for one in read_records(RESULTS / "embedded" / "embedded.jsonl") if one.method in BLIND]
    assert {"random", "random-third"} <= {one.method for one in records}
    for record in records:
        cell = Cell((record.victim,), record.method, record.seed, None)
        assert plan(open_victim(record.victim), record.role, cell, settings).key == record.key
    own = [one for one in read_records(RESULTS / "minilm.jsonl") if one.method == "hybrid"]
    assert own and all(one.config["search"] == {**search_config(HYBRID, SEARCH), "dtype": one.dtype} for one in own)
