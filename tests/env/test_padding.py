"""A padded model behaves as the same model without padding, in a larger space."""

from __future__ import annotations

import numpy as np

from tests.env.fakes import action, golden_env, small_env

SLOT = {0: 0, 1: 1, 2: 3, 3: 4}
"""Where the heads of the 2x2 model lie in a grid of 3 layers of 3 heads."""


def test_models_of_different_size_share_their_spaces() -> None:
    one, other = small_env(layers=2, heads=3, pad_to=(4, 5)), small_env(layers=4, heads=4, pad_to=(4, 5))
    assert one.observation_space == other.observation_space
    assert one.action_space == other.action_space


def test_padding_changes_nothing_but_the_slots() -> None:
    plain, padded = golden_env(on_violation="backtrack"), golden_env(on_violation="backtrack", pad_to=(3, 3))
    plain.reset(seed=0), padded.reset(seed=0)
    slots = list(SLOT.values())
    for heads in [(), (0, 3), (1,), (2, 3)]:
        ours = plain.step(action(plain, *heads))
        theirs = padded.step(action(padded, *(SLOT[head] for head in heads)))
        assert ours[1:4] == theirs[1:4]
        np.testing.assert_equal(theirs[4], ours[4])
        for key, value in ours[0].items():
            assert np.array_equal(theirs[0][key][slots] if value.size == 4 else theirs[0][key], value), key


def test_padding_is_shown_and_its_heads_are_ignored() -> None:
    env = golden_env(pad_to=(3, 3))
    observation, _ = env.reset(seed=0)
    assert observation["valid"].tolist() == [1, 1, 0, 1, 1, 0, 0, 0, 0]
    assert np.array_equal(observation["mask"], observation["valid"])
    *_, info = env.step(action(env, 2, 8))
    assert (info["ignored_heads"], info["evaluations"], info["attempted_heads"]) == (2, 1, [])


def test_padding_may_not_be_pruned() -> None:
    env = golden_env(pad_to=(3, 3))
    env.reset(seed=0)
    env.step(action(env, 0))
    masks = env.action_masks().reshape(-1, 2)
    assert masks[:, 0].all()
    assert masks[:, 1].tolist() == [False, False, False, True, True, False, False, False, False, True]
