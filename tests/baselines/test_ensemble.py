"""The ensemble: random heads of every layer, members that hold the threshold, and a vote of as many models."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prune_env.baselines.ensemble import ENSEMBLE, Members, RandomEachLayer
from prune_env.defense import defend, purify
from prune_env.engine.masking import mask_of
from prune_env.methods import PolicyContext, get_method
from prune_env.recovery import Job
from prune_env.rollout import Episode
from prune_env.search import Search, find_mask, members_of
from prune_env.types import mask_from_text, mask_to_text
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.judge import judge, vote
from prune_env.victims.store import open_victim
from tests.env.fakes import FakeEvaluator
from tests.policies import play, priced
from tests.test_defense import equal, task
from tests.victims_factory import TINY, world

EASY, STRICT = Search({"threshold": 0.05}), Search({"threshold": 1.0})
ONE, OTHER = mask_from_text("10/11"), mask_from_text("11/01")


def draw(seed: int, model: FakeEvaluator, threshold: float = 0.01, **config: Any) -> Episode:
    assert ENSEMBLE.policy is not None
    policy = ENSEMBLE.policy(PolicyContext(seed, model.layers, model.heads))
    return play(policy, "gradient", model, threshold=threshold, **ENSEMBLE.environment, **config)


@pytest.mark.parametrize(("heads", "kept"), [(12, 10), (4, 2), (3, 1), (2, 1), (1, 1)])
def test_two_heads_of_each_layer_go_but_never_the_last(heads: int, kept: int) -> None:
    for seed in range(5):
        episode = draw(seed, priced(np.zeros((3, heads), int)))
        assert episode.mask.sum(axis=1).tolist() == [kept] * 3
        assert len(episode.trace) == 1


def test_padding_is_left_alone() -> None:
    assert draw(0, priced(np.zeros((2, 3), int)), pad_to=(4, 5)).mask.sum(axis=1).tolist() == [1, 1]


def test_each_head_goes_as_often_as_any_other() -> None:
    gone: Counter[int] = Counter()
    for seed in range(300):
        gone.update(np.flatnonzero(~draw(seed, priced(np.zeros((2, 4), int))).mask).tolist())
    # Two of four heads a layer in 300 draws: 150 each, with a standard deviation of 9.
    assert all(115 < gone[head] < 185 for head in range(8))


def test_a_member_that_misses_the_threshold_is_left_out_by_hand() -> None:
    # Of 20 sentences each head costs 1 and head 0 costs 8: without it at most 20 - 8 - 3 = 9 are right, with it 16.
    model = priced([[8, 1, 1], [1, 1, 1]])
    episodes = [draw(seed, model, threshold=0.75) for seed in range(12)]
    masks = {mask_to_text(one.mask) for one in episodes}
    assert all((one.mask[0, 0] and not one.trace[0]["violation"]) or one.mask.all() for one in episodes)
    assert {text.partition("/")[0] for text in masks} == {"100", "111"}
    trace = [step for one in episodes for step in one.trace]
    assert all(mask_to_text(mask).startswith("100/") for mask in members_of(ENSEMBLE, trace))


def test_five_episodes_draw_for_themselves_and_the_same_every_time() -> None:
    found, again = (find_mask(task(), ENSEMBLE, EASY) for _ in range(2))
    members = members_of(ENSEMBLE, found.trace)
    assert len(found.trace) == len(members) == 5
    assert all(mask.sum(axis=1).tolist() == [1, 1] for mask in members)
    assert len({mask_to_text(mask) for mask in members}) > 1
    assert found.trace == again.trace
    assert all(step["accuracy"] >= 0.05 for step in found.trace)


def test_members_are_recovered_with_streams_of_their_own() -> None:
    purified = Members().purify(Job(task(), ONE, TINY.training, members=(ONE, ONE, OTHER)))
    first, twin, other = purified.models
    assert equal(first, purify(task(), ONE, TINY.training).model), "the first is plain recovery"
    assert not equal(first, twin), "the same mask, another order"
    assert [mask_to_text(mask_of(model)) for model in (first, twin, other)] == ["10/11", "10/11", "11/01"]
    again = Members().purify(Job(task(), ONE, TINY.training, members=(ONE, ONE, OTHER)))
    assert all(equal(*pair) for pair in zip(purified.models, again.models, strict=True))


def test_without_a_member_it_is_ft() -> None:
    found, purified = defend(task(), ENSEMBLE, STRICT, TINY.training)
    assert members_of(ENSEMBLE, found.trace) == ()
    assert found.mask.all()
    assert purified.others == ()
    assert equal(purified.model, task().scoring_model())
    left_out = Members().purify(Job(task(), ONE, TINY.training))
    assert equal(left_out.model, task().scoring_model())


def test_steps_are_counted_over_all_members() -> None:
    steps: list[tuple[int, int]] = []
    job = Job(task(), ONE, TINY.training, members=(ONE, OTHER), on_step=lambda done, total: steps.append((done, total)))
    Members().purify(job)
    assert steps == [(step, 6) for step in range(1, 7)]


def test_the_members_vote() -> None:
    victim = open_victim(world().victim("alpha"))
    diagnosis = open_diagnosis(victim)
    _, purified = defend(task(), ENSEMBLE, EASY, replace(TINY.training, learning_rate=1e-2))
    assert len(purified.models) == 5
    judged = judge(purified.models, purified.tokenizer, diagnosis)
    clean = diagnosis.clean_test
    alone = [vote([one], purified.tokenizer, clean, diagnosis.target)[0] for one in purified.models]
    majority = (np.stack(alone) == 1).sum(axis=0) >= 3
    assert np.array_equal(judged.correct, majority.astype(int) == np.array(clean.labels))


def test_the_method_is_the_papers() -> None:
    assert get_method("ensemble") is ENSEMBLE
    assert ENSEMBLE.episodes == 5
    assert RandomEachLayer(0).heads_a_layer == 2
    assert ENSEMBLE.environment["on_violation"] == "terminate"
    assert not ENSEMBLE.unconstrained
