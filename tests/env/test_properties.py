"""What holds for any model, any settings and any actions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.config import VIOLATIONS, EnvConfig
from prune_env.env import BertHeadPruneEnv
from tests.env.fakes import FakeEvaluator, action, random_model

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def played(draw: st.DrawFn) -> tuple[FakeEvaluator, BertHeadPruneEnv, list[Any], list[Any]]:
    """A model, its environment, and an episode: the actions and everything that came back."""
    layers, heads = draw(SHAPES)
    size = layers * heads
    model = random_model(layers, heads, draw(st.integers(0, 50)))
    config = EnvConfig(
        threshold=draw(st.sampled_from([0.5, 0.85, 0.9, 0.97, 1.0])),
        on_violation=draw(st.sampled_from(VIOLATIONS)),
        max_heads_per_step=draw(st.sampled_from([1, 3, "paper", None])),
        max_evaluations=draw(st.sampled_from([None, 2, 5])),
    )
    env = BertHeadPruneEnv(
        model, {"random": np.random.default_rng(1).random((layers, heads), dtype=np.float32)}, config
    )
    model.asked.clear()
    seen: list[Any] = [env.reset(seed=draw(st.integers(0, 3)))]
    actions = []
    while len(seen) == 1 or not (seen[-1][2] or seen[-1][3]):
        chosen = draw(st.sets(st.integers(0, size - 1), max_size=size))
        actions.append(action(env, *chosen, stop=draw(st.integers(0, 9)) == 0))
        seen.append(env.step(actions[-1]))
    return model, env, actions, seen


@settings(max_examples=150, deadline=None)
@given(played())
def test_invariants(run: tuple[FakeEvaluator, BertHeadPruneEnv, list[Any], list[Any]]) -> None:
    model, env, _, seen = run
    asked = list(model.asked)
    assert len(asked) == len(set(asked)) == seen[-1][-1]["evaluations"], "each distinct mask is evaluated once"
    costs = 0.0
    for before, (observation, _, _, _, info) in itertools.pairwise(seen):
        mask, previous = info["head_mask"], before[-1]["head_mask"]
        assert mask.any(axis=1).all()
        assert not (mask & ~previous).any(), "pruned heads never come back"
        assert info["accuracy"] == model.accuracy(mask[None])[0]
        assert observation["mask"].tolist() == mask.reshape(-1).tolist()
        assert info["pruned_fraction"] == pytest.approx(1 - mask.mean())
        assert set(np.flatnonzero(observation["failed"])) <= set(np.flatnonzero(mask)), "only kept heads have failed"
        if info["violation"] and env.config.on_violation != "backtrack":
            assert np.array_equal(mask, previous)
            assert info["attempted_accuracy"] < observation["threshold"]
        if not np.array_equal(mask, previous):
            assert info["accuracy"] >= env.config.threshold
        costs -= info["reward_violation"]
    total = sum(result[1] for result in seen[1:])
    assert total == pytest.approx(seen[-1][-1]["pruned_fraction"] - costs)


@settings(max_examples=40, deadline=None)
@given(played(), st.integers(0, 3))
def test_recorded_actions_replay(run: tuple[FakeEvaluator, BertHeadPruneEnv, list[Any], list[Any]], seed: int) -> None:
    _, env, actions, _ = run
    runs: list[list[Any]] = []
    for _ in range(2):
        env.reset(seed=seed)
        results: list[Any] = []
        for recorded in actions:
            results.append(env.step(recorded))
            if results[-1][2] or results[-1][3]:
                break
        runs.append(results)
    assert data_equivalence(runs[0], runs[1], exact=True)


@settings(max_examples=40, deadline=None)
@given(played())
def test_masked_actions_are_never_wasted(
    run: tuple[FakeEvaluator, BertHeadPruneEnv, list[Any], list[Any]],
) -> None:
    _, env, _, _ = run
    env.reset(seed=0)
    prunable = env.action_masks().reshape(-1, 2)[:-1, 1]
    for head in range(env.layout.size):
        env.reset(seed=0)
        *_, info = env.step(action(env, head))
        assert (info["attempted_heads"] == [head]) == prunable[head]
