"""Each reward's optimum, found by trying every sequence of actions on a small model."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from prune_env.config import VIOLATIONS
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError, UnknownNameError
from prune_env.rewards import REWARDS, LagrangianReward, Outcome, Reward, SparsityReward, TerminalReward, make_reward
from tests.env.fakes import GOLDEN, golden_env

OUTCOME = Outcome(
    heads=16, gain=0.125, pruned_fraction=0.5, accuracy=0.9, accuracy_change=-0.02, attempted_accuracy=0.9,
    threshold=0.85, violation=False, holds=True, ended=False,
)  # fmt: skip


def best_return(env: BertHeadPruneEnv) -> float:
    """The largest return from the present state, by exhaustive search with get_state and set_state."""
    memory: dict[tuple[bytes, int], float] = {}

    def search() -> float:
        state = env.get_state()
        key = (state.kept.tobytes(), state.steps)
        if key not in memory:
            values = []
            for bits in itertools.product((0, 1), repeat=env.layout.slots + 1):
                env.set_state(state)
                _, reward, terminated, truncated, _ = env.step(np.array(bits, dtype=np.int8))
                values.append(reward if terminated or truncated else reward + search())
            memory[key] = max(values)
        return memory[key]

    env.reset(seed=0)
    return search()


def valid_masks(required: int) -> dict[str, tuple[float, float]]:
    """Pruned fraction and accuracy of every mask of the golden table that meets the threshold."""
    return {mask: (mask.count("0") / 4, count / 20) for mask, count in GOLDEN.items() if count >= required}


@pytest.mark.parametrize("mode", VIOLATIONS)
@pytest.mark.parametrize(("threshold", "required"), [(0.85, 17), (0.95, 19), (1.0, 20)])
def test_sparsity_is_best_at_the_sparsest_valid_mask(mode: str, threshold: float, required: int) -> None:
    env = golden_env(SparsityReward(), on_violation=mode, threshold=threshold, max_heads_per_step=None)
    assert best_return(env) == pytest.approx(max(pruned for pruned, _ in valid_masks(required).values()))


@pytest.mark.parametrize("multiplier", [0.0, 1.0, 4.0, 20.0])
def test_lagrangian_is_best_where_pruning_and_accuracy_balance(multiplier: float) -> None:
    env = golden_env(LagrangianReward(multiplier), on_violation="reject", max_heads_per_step=None)
    wanted = max(pruned + multiplier * (accuracy - 1.0) for pruned, accuracy in valid_masks(17).values())
    assert best_return(env) == pytest.approx(wanted)


@pytest.mark.parametrize("mode", VIOLATIONS)
def test_terminal_is_best_at_the_sparsest_valid_mask(mode: str) -> None:
    env = golden_env(TerminalReward(), on_violation=mode, max_heads_per_step=None)
    assert best_return(env) == pytest.approx(0.5)


def test_overshooting_never_pays() -> None:
    for heads, missing in itertools.product((4, 16, 144), (0.001, 0.1)):
        over = OUTCOME._replace(heads=heads, gain=0.0, violation=True, attempted_accuracy=0.85 - missing)
        cost = sum(SparsityReward().terms(over).values())
        assert cost == pytest.approx(-(1 / heads + missing))
        assert cost + 1 / heads < 0, "not even if it reveals one more head"


@pytest.mark.parametrize(
    ("reward", "change", "terms"),
    [
        (SparsityReward(), {}, {"gain": 0.125, "violation": 0.0}),
        (SparsityReward(2.0), {"gain": 0.0, "violation": True, "attempted_accuracy": 0.75}, {"violation": -0.2625}),
        (LagrangianReward(2.0), {}, {"gain": 0.125, "accuracy": -0.04, "violation": 0.0}),
        (TerminalReward(), {}, {"final": 0.0}),
        (TerminalReward(), {"ended": True}, {"final": 0.5}),
        (TerminalReward(), {"ended": True, "holds": False}, {"final": 0.0}),
    ],
)
def test_terms(reward: Reward, change: dict[str, Any], terms: dict[str, float]) -> None:
    got = reward.terms(OUTCOME._replace(**change))
    assert {name: got[name] for name in terms} == pytest.approx(terms)


def test_rewards_are_made_by_name() -> None:
    assert [type(make_reward(name)).__name__ for name in REWARDS] == [
        "SparsityReward", "LagrangianReward", "TerminalReward",
    ]  # fmt: skip
    with pytest.raises(UnknownNameError, match="did you mean 'sparsity'"):
        make_reward("sparse")


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_are_checked(weight: float) -> None:
    with pytest.raises(ConfigError, match="shortfall_weight"):
        SparsityReward(weight)
    with pytest.raises(ConfigError, match="multiplier"):
        LagrangianReward(weight)
