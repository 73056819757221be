"""A budget counts distinct masks, stops exactly, and keeps the best of what was seen."""

from __future__ import annotations

import numpy as np
import pytest

from prune_env.agents.budget import Budget
from prune_env.agents.objective import Objective
from prune_env.config import EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import BudgetSpentError, ConfigError, MaskError
from prune_env.rewards import LagrangianReward, Outcome, Reward, TerminalReward
from prune_env.rollout import rollout
from prune_env.tabular.certified import Certifier
from prune_env.types import HeadMasks, mask_from_text, mask_to_text
from tests.env.fakes import GOLDEN, GOLDEN_IMPORTANCE, action, table

CONFIG = EnvConfig(threshold=0.85)


def masks(*texts: str) -> HeadMasks:
    """Masks from their texts, (K, layers, heads)."""
    return np.array([mask_from_text(text) for text in texts])


def golden(limit: int, **options: object) -> Budget:
    """A budget on the 2x2 model whose every number is written down."""
    return Budget(table(GOLDEN, 20), CONFIG, limit, **options)  # type: ignore[arg-type]  # the test's own keywords


def test_the_full_mask_is_the_first_evaluation_and_known_masks_are_free() -> None:
    budget = golden(3)
    assert budget.used == 1
    budget.counts(masks("11/11", "01/11", "01/11"))
    budget.accuracy(masks("01/11"))
    assert (budget.used, budget.spent) == (2, False)


def test_it_stops_exactly_and_takes_what_still_fits() -> None:
    evaluator = table(GOLDEN, 20)
    budget = Budget(evaluator, CONFIG, 3)
    with pytest.raises(BudgetSpentError, match="at most 3 evaluations"):
        budget.counts(masks("01/11", "11/01", "01/01"))
    assert (budget.used, budget.spent) == (3, True)
    assert set(evaluator.asked) == {"11/11", "01/11", "11/01"}
    assert budget.counts(masks("11/01")).tolist() == [18], "what is known may be asked for after the end"


def test_values_by_hand() -> None:
    budget = golden(9)
    # 18 of 20 without two of four heads; 14 of 20 is .15 below the threshold, and one head is 1/4.
    assert budget.values(masks("11/11", "01/01", "10/01")) == pytest.approx([0.0, 0.5, -(0.25 + 0.15)])
    assert budget.guide(masks("01/01")) == pytest.approx([0.5 + 0.9 / 8])


@pytest.mark.parametrize("reward", [None, LagrangianReward(0.7), TerminalReward()])
def test_a_value_is_the_return_of_the_episode_that_goes_there_at_once(reward: Reward | None) -> None:
    env = BertHeadPruneEnv(
        table(GOLDEN, 20), GOLDEN_IMPORTANCE, EnvConfig(threshold=0.85, max_heads_per_step=None), reward=reward
    )
    budget = Budget(table(GOLDEN, 20), CONFIG, 9, reward=reward)
    for text in GOLDEN:
        (mask,) = masks(text)
        env.reset(seed=0)
        _, paid, *_ = env.step(action(env, *np.flatnonzero(~mask).tolist(), stop=True))
        assert budget.values(mask[None])[0] == pytest.approx(paid), text


def test_a_reward_that_takes_no_arrays_is_asked_mask_by_mask() -> None:
    class Picky:
        def terms(self, outcome: Outcome) -> dict[str, float]:
            return {"only": 1.0 if outcome.pruned_fraction > 0.4 and not outcome.violation else 0.0}

    assert Budget(table(GOLDEN, 20), CONFIG, 9, reward=Picky()).values(masks("01/11", "01/01")).tolist() == [0.0, 1.0]


def test_the_curve_holds_the_best_so_far_and_the_first_of_equals() -> None:
    budget = golden(9)
    budget.counts(masks("10/11", "01/11", "11/01", "01/01", "10/10"))
    assert budget.curve.tolist() == [0.0, 0.0, 0.25, 0.25, 0.5, 0.5]
    assert [(one.evaluation, mask_to_text(one.mask)) for one in budget.improvements] == [
        (1, "11/11"),
        (3, "01/11"),
        (5, "01/01"),
    ]
    assert budget.best.value == 0.5


def test_patience_ends_a_search_that_has_seen_everything() -> None:
    budget = golden(50, patience=3)
    budget.counts(masks("01/11"))
    budget.counts(masks("01/11", "11/11", "01/11"))
    with pytest.raises(BudgetSpentError, match="4 known ones in a row"):
        budget.counts(masks("01/11"))


def test_an_environment_on_a_budget_pays_for_its_distinct_masks() -> None:
    class Single:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):  # type: ignore[no-untyped-def]
            bits = np.zeros(5, dtype=np.int8)
            bits[int(observation["mask"].sum()) % 4] = 1
            return bits, state

    budget = golden(9)
    env = BertHeadPruneEnv(budget, GOLDEN_IMPORTANCE, CONFIG)
    episode = rollout(env, Single(), seed=0)
    assert budget.used == episode.evaluations
    rollout(env, Single(), seed=1)
    assert budget.used == episode.evaluations


def test_certified_values_by_hand() -> None:
    certify = table({**GOLDEN, "01/01": 16}, 20)
    assert Certifier(certify, CONFIG).value(masks("10/10")[0]) == pytest.approx(0.5)
    # 16 of 20 is .05 below the threshold.
    assert Certifier(certify, CONFIG).value(masks("01/01")[0]) == pytest.approx(0.5 - (0.25 + 0.05))
    relative = EnvConfig(max_accuracy_drop=0.2)
    assert Certifier(certify, relative).value(masks("01/01")[0]) == pytest.approx(0.5)


def test_wrong_budgets_and_masks_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        golden(0)
    with pytest.raises(ConfigError, match="at least 1"):
        golden(3, patience=0)
    with pytest.raises(MaskError):
        golden(3).counts(masks("111/111"))
    with pytest.raises(MaskError):
        golden(3).counts(masks("00/11"))


def test_an_objective_of_no_masks_is_empty() -> None:
    objective = Objective.of(table(GOLDEN, 20), CONFIG)
    assert objective.values(np.zeros((0, 2, 2), dtype=np.bool_), np.zeros(0, dtype=np.int64)).shape == (0,)
