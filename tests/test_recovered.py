"""Accuracy after a short recovery: an evaluator like any other, for the environment, for methods and for replay."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

import prune_env  # noqa: F401  # registers the environment
from prune_env import recovered
from prune_env.baselines import cells
from prune_env.baselines.cells import Cell, run_cell
from prune_env.engine.evaluator import Evaluator
from prune_env.engine.masking import apply_mask
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import ConfigError
from prune_env.methods import get_method
from prune_env.recheck import searched
from prune_env.recovered import RecoveredEvaluator, passes_a_mask
from prune_env.scoring import scoring_of
from prune_env.search import best_of, find_mask, members_of, search_config
from prune_env.seeds import derive
from prune_env.types import full_mask, mask_from_text
from prune_env.victims.checkpoint import fresh_head
from prune_env.victims.training import cross_entropy, train
from tests.test_defense import SEARCH, task
from tests.victims_factory import world

MASKS = np.stack([full_mask(2, 2), mask_from_text("10/11"), mask_from_text("01/10")])
METHOD = replace(get_method("gradient"), name="patient", recover_on=32)


def by_hand(mask: np.ndarray, sentences: int) -> float:
    """The same recovery in plain steps."""
    model = task().suspect.model()
    tokenizer = task().suspect.tokenizer(model)
    fresh_head(model, derive(12, "defender-head"))
    apply_mask(model, mask)
    rng = np.random.default_rng(derive(12, "short-recovery-sample"))
    chosen = np.sort(rng.choice(96, size=sentences, replace=False))
    config = replace(task().protocol.training, epochs=1, learning_rate=5e-3)
    tokens = task().tokens("train", tokenizer).subset(chosen)
    train(model, tokens, config, derive(12, "short-recovery"), loss=cross_entropy(mask))
    return float(TransformerEvaluator(model, task().tokens("search", tokenizer)).accuracy(mask[None])[0])


def test_a_mask_is_measured_after_its_own_recovery() -> None:
    evaluator = RecoveredEvaluator(task(), 64)
    assert isinstance(evaluator, Evaluator)
    assert (evaluator.layers, evaluator.heads, evaluator.sentences) == (2, 2, 40)
    found = evaluator.accuracy(MASKS)
    assert found.tolist() == [by_hand(mask, 64) for mask in MASKS]
    again = RecoveredEvaluator(task(), 64)
    torch.manual_seed(5)
    assert again.accuracy(MASKS[::-1]).tolist() == found[::-1].tolist()


def test_a_mask_is_recovered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*args: object, **kwargs: object) -> None:
        calls.append(args)

    monkeypatch.setattr(recovered, "train", counted)
    evaluator = RecoveredEvaluator(task(), 8)
    evaluator.accuracy(MASKS)
    evaluator.accuracy(MASKS[1:])
    assert len(calls) == 3


@pytest.mark.parametrize("size", [0, True, 8.0])
def test_sizes_that_are_none_are_refused(size: object) -> None:
    with pytest.raises(ConfigError, match="at least 1, got"):
        RecoveredEvaluator(task(), size)  # type: ignore[arg-type]


def test_the_environment_runs_on_it() -> None:
    env = gym.make("BertHeadPrune-v0", victim="tiny-syntactic", recover_on=32, max_accuracy_drop=0.5)
    _, info = env.reset(seed=3)
    evaluator = env.unwrapped.evaluator  # type: ignore[attr-defined]
    assert isinstance(evaluator, RecoveredEvaluator)
    assert info["accuracy"] == evaluator.accuracy(full_mask(4, 4)[None])[0]
    action = np.zeros(17, dtype=np.int8)
    action[0] = 1
    _, _, _, _, info = env.step(action)
    mask = full_mask(4, 4)
    mask[0, 0] = False
    assert info["accuracy"] == evaluator.accuracy(mask[None])[0]


def test_a_method_may_search_under_it_and_its_record_says_so_and_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_mask(task(), METHOD, SEARCH)
    evaluator = scoring_of(task()).recovered(32)
    assert found.search_accuracy == evaluator.accuracy(found.mask[None])[0]
    assert found.sentence_passes == found.evaluations * passes_a_mask(40, 32) + 96
    assert passes_a_mask(40, 32) == 40 + 3 * 32
    assert passes_a_mask(40, None) == 40
    assert search_config(METHOD, SEARCH)["recover_on"] == 32
    assert "recover_on" not in search_config(get_method("gradient"), SEARCH)
    monkeypatch.setattr(cells, "get_method", lambda name: METHOD if name == "patient" else get_method(name))
    settings = world().settings(world().root / "patient")
    settings.out.mkdir(exist_ok=True)
    records = run_cell(Cell((world().victim("alpha"),), "patient", 12, None), settings)
    mine = next(record for record in records if record.role == "victim")
    assert mine.config["search"]["recover_on"] == 32
    assert all(check.holds() for check in searched(mine, scoring_of(task())))
    plain = replace(mine, config={**mine.config, "search": {**mine.config["search"], "recover_on": None}})
    assert not all(check.holds() for check in searched(plain, scoring_of(task())))


def test_a_methods_own_constraint_stands_above_the_runs() -> None:
    own = replace(METHOD, constraint={"max_accuracy_drop": 0.25})
    assert search_config(own, SEARCH)["environment"]["max_accuracy_drop"] == 0.25
    assert search_config(METHOD, SEARCH)["environment"]["max_accuracy_drop"] == 0.1


def test_the_best_of_several_episodes_is_kept_and_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    method = replace(get_method("candidate-best"), name="best", recover_on=48, episodes=5)
    found = find_mask(task(), method, SEARCH)
    masks = [step["mask"] for step in found.trace]
    accuracies = [float(scoring_of(task()).recovered(48).accuracy(mask_from_text(mask)[None])[0]) for mask in masks]
    assert len(masks) == 5 and len(set(masks)) > 1
    assert [step["accuracy"] for step in found.trace] == accuracies
    assert np.array_equal(found.mask, mask_from_text(masks[int(np.argmax(accuracies))]))
    assert members_of(method, found.trace) == ()
    made = [
        {"mask": "10/10", "accuracy": 0.5},
        {"mask": "01/10", "accuracy": 0.75},
        {"mask": "11/10", "accuracy": 0.75},
    ]
    assert best_of(made) is made[1]
    monkeypatch.setattr(cells, "get_method", lambda name: method if name == "best" else get_method(name))
    settings = world().settings(world().root / "best")
    settings.out.mkdir(exist_ok=True)
    records = run_cell(Cell((world().victim("alpha"),), "best", 12, None), settings)
    mine = next(record for record in records if record.role == "victim")
    assert mine.config["search"]["best"] is True
    assert all(check.holds() for check in searched(mine, scoring_of(task())))
    other = next(mask for mask in masks if mask != mine.mask)
    assert not all(check.holds() for check in searched(replace(mine, mask=other), scoring_of(task())))


def test_the_best_episode_is_the_one_that_ended_best() -> None:
    steps = ((0, 0.9), (0, 0.5), (1, 0.75), (2, 0.6), (2, 0.75), (2, 0.7))
    trace = [{"episode": episode, "accuracy": accuracy} for episode, accuracy in steps]
    # Three episodes, which end at 0.5, 0.75 and 0.7: what a first step had in between counts for nothing.
    assert best_of(trace) is trace[2]
    assert best_of(trace[:2]) is trace[1]
    assert best_of([{"accuracy": 0.5}, {"accuracy": 0.75}, {"accuracy": 0.75}])["accuracy"] == 0.75
    with pytest.raises(ConfigError, match="at least one step"):
        best_of([])
