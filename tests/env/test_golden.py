"""Every number of an episode on a 2x2 model, computed by hand."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from prune_env.config import EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError, MaskError, ThresholdError, UnknownNameError
from prune_env.types import mask_to_text
from tests.env.fakes import GOLDEN, GOLDEN_IMPORTANCE, action, golden_env, play, random_model, small_env, table


def test_reset_keeps_every_head() -> None:
    observation, info = golden_env().reset(seed=0)
    expected: dict[str, list[Any]] = {
        "mask": [1, 1, 1, 1],
        "valid": [1, 1, 1, 1],
        "failed": [0, 0, 0, 0],
        "depth": [0, 0, 1, 1],
        "importance_gradient": [0, 0.5, 0.25, 1],
        "accuracy": [1],
        "last_change": [0],
        "threshold": [np.float32(0.85)],
        "budget": [1, 1],
    }
    assert {key: value.tolist() for key, value in observation.items()} == expected
    assert mask_to_text(info.pop("head_mask")) == "11/11"
    assert info == {
        "accuracy": 1.0, "attempted_accuracy": 1.0, "attempted_heads": [], "violation": False, "evaluations": 1,
        "pruned_fraction": 0.0, "feasible": True, "ignored_heads": 0, "protected_heads": 0, "dropped_heads": 0,
    }  # fmt: skip


def test_a_valid_set_pays_its_fraction() -> None:
    [(observation, reward, terminated, truncated, info)] = play(golden_env(), (0,))
    assert observation["mask"].tolist() == [0, 1, 1, 1]
    assert observation["accuracy"] == np.float32(0.95)
    assert observation["last_change"] == np.float32(-0.05)
    assert observation["budget"].tolist() == [0.75, 1.0]
    assert (reward, terminated, truncated) == (0.25, False, False)
    assert (info["evaluations"], info["pruned_fraction"], info["attempted_heads"]) == (2, 0.25, [0])


def test_a_violation_costs_and_ends_the_episode_with_the_last_valid_mask() -> None:
    _, (observation, reward, terminated, truncated, info) = play(golden_env(), (2,), (1,))
    assert reward == pytest.approx(-(1 / 4 + (0.85 - 0.70)))
    assert info["reward_violation"] == reward
    assert (terminated, truncated, info["violation"]) == (True, False, True)
    assert mask_to_text(info["head_mask"]) == "11/01"
    assert (info["accuracy"], info["attempted_accuracy"], info["evaluations"]) == (0.9, 0.7, 3)
    assert observation["failed"].tolist() == [0, 1, 0, 0]
    assert observation["last_change"] == np.float32(-0.2)


def test_the_empty_set_costs_a_step_and_no_evaluation() -> None:
    env = golden_env()
    [(observation, reward, terminated, truncated, info)] = play(env, ())
    assert observation["budget"].tolist() == [0.75, 1.0]
    assert (reward, terminated, truncated, info["evaluations"], info["violation"]) == (0.0, False, False, 1, False)
    assert info["attempted_accuracy"] == info["accuracy"] == 1.0


def test_pruned_heads_are_ignored_and_counted() -> None:
    _, (observation, reward, *_, info) = play(golden_env(), (0,), (0,))
    assert (info["ignored_heads"], info["evaluations"], reward) == (1, 2, 0.0)
    assert observation["last_change"] == 0


def test_a_layers_most_important_head_stays() -> None:
    [(_, reward, terminated, _, info)] = play(golden_env(max_heads_per_step=None), (0, 1, 2, 3))
    assert mask_to_text(info["head_mask"]) == "01/01"
    assert (info["protected_heads"], info["attempted_heads"], info["dropped_heads"]) == (2, [0, 2], 0)
    assert (reward, terminated) == (0.5, True), "nothing is left to prune"


def test_the_last_head_of_a_layer_alone_is_a_no_op() -> None:
    _, (*_, info) = play(golden_env(), (0,), (1,))
    assert (info["protected_heads"], info["attempted_heads"], info["evaluations"]) == (1, [], 2)


def test_stop_prunes_first() -> None:
    env = golden_env()
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(action(env, 0, stop=True))
    assert (reward, terminated, truncated, mask_to_text(info["head_mask"])) == (0.25, True, False, "01/11")


def test_stop_alone_ends_with_nothing() -> None:
    env = golden_env(on_violation="reject")
    env.reset(seed=0)
    assert env.step(action(env, stop=True))[1:4] == (0.0, True, False)


def test_reject_undoes_the_set_and_goes_on() -> None:
    first, second, third = play(golden_env(on_violation="reject"), (0, 3), (1, 2), (2,))
    assert first[1] == pytest.approx(-(0.25 + 0.85 - 0.75))
    assert first[2] is False
    assert first[0]["failed"].tolist() == [1, 0, 0, 1]
    assert second[0]["failed"].tolist() == [1, 1, 1, 1], "the mask has not changed since"
    assert third[0]["failed"].tolist() == [0, 0, 0, 0], "now it has"
    assert mask_to_text(third[4]["head_mask"]) == "11/01"
    assert third[4]["evaluations"] == 4


def test_backtrack_restores_the_most_important_head_first() -> None:
    [(observation, reward, terminated, _, info)] = play(golden_env(on_violation="backtrack"), (0, 3))
    assert mask_to_text(info["head_mask"]) == "01/11"
    assert (info["violation"], info["attempted_accuracy"], info["accuracy"]) == (True, 0.75, 0.95)
    assert (info["evaluations"], terminated) == (3, False)
    assert reward == pytest.approx(0.25 - (0.25 + 0.85 - 0.75))
    assert observation["failed"].tolist() == [0, 0, 0, 1]
    assert observation["last_change"] == np.float32(-0.25)


def test_backtrack_keeps_what_meets_the_threshold_exactly() -> None:
    [(observation, _, _, _, info)] = play(golden_env(on_violation="backtrack", threshold=0.9), (1, 2))
    assert (mask_to_text(info["head_mask"]), info["accuracy"]) == ("11/01", 0.9)
    assert observation["failed"].tolist() == [0, 1, 0, 0]


def test_backtrack_undoes_a_set_of_which_nothing_holds() -> None:
    env = golden_env(on_violation="backtrack", threshold=0.95)
    [(observation, reward, _, _, info)] = play(env, (1, 2))
    assert mask_to_text(info["head_mask"]) == "11/11"
    assert info["evaluations"] == 3, "the start, the set, the set without head 1; the start is known"
    assert reward == pytest.approx(-(0.25 + 0.95 - 0.70))
    assert observation["failed"].tolist() == [0, 1, 1, 0]


def test_backtrack_stops_where_the_evaluations_end() -> None:
    [(observation, _, terminated, truncated, info)] = play(
        golden_env(on_violation="backtrack", max_evaluations=2), (0, 3)
    )
    assert (terminated, truncated, info["evaluations"]) == (False, True, 2)
    assert mask_to_text(info["head_mask"]) == "11/11"
    assert observation["budget"].tolist() == [0.75, 0.0]


def test_evaluations_are_distinct_masks() -> None:
    steps = play(golden_env(on_violation="reject", max_evaluations=3), (1,), (1,), (0,))
    assert [info["evaluations"] for *_, info in steps] == [2, 2, 3]
    assert [truncated for _, _, _, truncated, _ in steps] == [False, False, True]


def test_max_steps_truncates() -> None:
    steps = play(golden_env(max_steps=2), (), ())
    assert [(terminated, truncated) for _, _, terminated, truncated, _ in steps] == [(False, False), (False, True)]


def test_termination_goes_before_truncation() -> None:
    assert play(golden_env(max_steps=1), (1,))[0][2:4] == (True, False)


def test_surplus_heads_are_dropped_by_the_environments_own_chance() -> None:
    env = small_env(on_violation="reject")
    tried = []
    for seed in range(8):
        env.reset(seed=seed)
        *_, info = env.step(action(env, 0, 1, 4, 5, 8))
        assert (info["dropped_heads"], len(info["attempted_heads"])) == (3, 2)
        assert set(info["attempted_heads"]) < {0, 1, 4, 5, 8}
        tried.append(tuple(info["attempted_heads"]))
    assert len(set(tried)) > 2


def test_a_drop_is_measured_from_the_full_mask() -> None:
    env = golden_env(max_accuracy_drop=0.05, on_violation="reject")
    observation, info = env.reset(seed=0, options={"mask": np.array([[True, True], [False, True]])})
    assert observation["threshold"] == np.float32(0.95)
    assert (info["feasible"], info["evaluations"]) == (False, 1)
    assert env.step(action(env, 1))[4]["violation"] is True
    with pytest.raises(ThresholdError, match="smaller accuracy drop"):
        BertHeadPruneEnv(
            table({"11": 10, "01": 5, "10": 5}, 20),
            {"m": np.eye(1, 2, dtype=np.float32)},
            EnvConfig(max_accuracy_drop=0.6),
        )


def test_the_lower_bound_asks_for_more_sentences() -> None:
    env = golden_env(threshold_margin="lower_bound", on_violation="reject")
    observation, _ = env.reset(seed=0)
    assert observation["threshold"] == 1.0, ".85 ** 20 < .05 < .85 ** 19, so all 20 are asked for"
    *_, info = env.step(action(env, 0))
    assert info["violation"] is True
    assert info["reward_violation"] == pytest.approx(-(0.25 + 1.0 - 0.95))


def test_reset_takes_a_mask_and_a_threshold_for_one_episode() -> None:
    env = golden_env()
    mask = np.array([[True, False], [True, True]])
    observation, info = env.reset(seed=0, options={"mask": mask, "threshold": 0.9})
    assert (observation["mask"].tolist(), info["pruned_fraction"]) == ([1, 0, 1, 1], 0.25)
    assert info["feasible"] is False
    _, reward, terminated, _, info = env.step(action(env, 2))
    assert (info["violation"], terminated, mask_to_text(info["head_mask"])) == (True, True, "10/11")
    assert reward == pytest.approx(-(0.25 + 0.9 - 0.7))
    observation, info = env.reset(options={"mask": mask})
    assert observation["threshold"] == np.float32(0.85)
    _, reward, terminated, _, info = env.step(action(env, 3))
    assert (reward, terminated, info["accuracy"]) == (0.25, True, 0.95), "a set may lead out of an infeasible start"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"masks": None}, ConfigError, "'masks'"),
        ({"mask": np.ones((2, 3), dtype=bool)}, MaskError, r"shape \(2, 2\)"),
        ({"mask": np.ones((2, 2))}, MaskError, "float64"),
        ({"mask": np.array([[True, True], [False, False]])}, MaskError, "every head of layer 1"),
        ({"threshold": 1.5}, ThresholdError, r"\(0, 1\]"),
        ({"threshold": "high"}, ThresholdError, "'high'"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        golden_env().reset(options=options)


@pytest.mark.parametrize("bits", [np.zeros(4), np.zeros((1, 5)), np.full(5, 2), np.full(5, 0.5), np.full(5, -1)])
def test_bad_actions_are_named(bits: Any) -> None:
    env = golden_env()
    env.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match="expected an action"):
        env.step(bits)


def test_stepping_past_the_end_says_what_to_do() -> None:
    env = golden_env()
    env.reset(seed=0)
    env.step(action(env, stop=True))
    with pytest.raises(gym.error.ResetNeeded, match="after its end"):
        env.step(action(env))


@pytest.mark.parametrize(
    ("importance", "words"),
    [
        ({}, "at least one importance metric"),
        ({"gradient": np.ones((2, 3))}, r"shape \(2, 3\)"),
        ({"gradient": np.array([[1.0, np.nan], [1.0, 1.0]])}, "NaN"),
    ],
)
def test_bad_importance_is_named(importance: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        BertHeadPruneEnv(table(GOLDEN, 20), importance, EnvConfig(threshold=0.85))


def test_other_bad_arguments_are_named() -> None:
    evaluator = table(GOLDEN, 20)
    with pytest.raises(UnknownNameError, match="render_mode 'human'"):
        BertHeadPruneEnv(evaluator, GOLDEN_IMPORTANCE, EnvConfig(threshold=0.85), render_mode="human")
    with pytest.raises(ConfigError, match="use the evaluator's own model"):
        BertHeadPruneEnv(evaluator, GOLDEN_IMPORTANCE, EnvConfig(threshold=0.85), diagnostics=random_model(3, 2, 0))
    with pytest.raises(ConfigError, match="2 layers of 2 heads, got 2 x 1"):
        golden_env(pad_to=(2, 1))


def test_diagnostics_add_the_lfr_of_the_kept_mask_and_nothing_else() -> None:
    lfr = table({key: 20 - count for key, count in GOLDEN.items()}, 20)
    config = EnvConfig(threshold=0.85, on_violation="reject")
    env = BertHeadPruneEnv(table(GOLDEN, 20), GOLDEN_IMPORTANCE, config, diagnostics=lfr)
    plain = golden_env(on_violation="reject")
    for ours, theirs in zip(play(env, (0,), (3,)), play(plain, (0,), (3,)), strict=True):
        assert ours[4].pop("oracle_lfr") == 0.05
        np.testing.assert_equal(ours, theirs)


def test_equal_importance_keeps_the_first_head() -> None:
    env = BertHeadPruneEnv(table(GOLDEN, 20), {"flat": np.full((2, 2), 7.0)}, EnvConfig(threshold=0.7))
    observation, _ = env.reset(seed=0)
    assert observation["importance_flat"].tolist() == [0, 0, 0, 0]
    [(*_, info)] = play(env, (0, 1))
    assert mask_to_text(info["head_mask"]) == "10/11"
