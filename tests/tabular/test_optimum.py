"""The exact optimum: against every way of playing small models, by hand, and never beaten."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.config import VIOLATIONS, EnvConfig
from prune_env.engine.table import TableEvaluator
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.rewards import REWARDS, LagrangianReward, Outcome, make_reward
from prune_env.rollout import rollout
from prune_env.tabular.optimum import OptimalPolicy, Optimum, optimal_return
from prune_env.types import mask_from_text, mask_to_text
from prune_env.vector import BertHeadPruneVectorEnv
from tests.tabular.twins import env_on, golden_twin, random_twin

GOLDEN = golden_twin()


def best_by_playing(env: BertHeadPruneEnv, mask: Any = None) -> float:
    """The best return over every sequence of actions, in the environment itself; no set is larger than its limit."""
    known: dict[Any, float] = {}

    def best() -> float:
        here = env.get_state()
        key = (here.kept.tobytes(), here.steps, frozenset(here.counts))
        if key not in known:
            slots = np.flatnonzero(here.kept).tolist()
            sets = [chosen for size in range(env.rules.limit + 1) for chosen in combinations(slots, size)]
            values = []
            for chosen in sets:
                for stop in (0, 1):
                    action = np.zeros(env.layout.slots + 1, dtype=np.int8)
                    action[[*chosen]] = 1
                    action[-1] = stop
                    env.set_state(here)
                    _, reward, terminated, truncated, _ = env.step(action)
                    values.append(reward + (0.0 if terminated or truncated else best()))
            known[key] = max(values)
        return known[key]

    env.reset(seed=0, options=None if mask is None else {"mask": mask})
    return best()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 500),
    threshold=st.sampled_from([0.8, 0.9, 0.94, 0.97, 0.995]),
    reward=st.sampled_from(sorted(REWARDS)),
    mode=st.sampled_from(VIOLATIONS),
    limit=st.sampled_from([1, 2, None]),
    max_steps=st.sampled_from([1, 2, 3]),
    max_evaluations=st.sampled_from([None, 2, 3]),
    start=st.sampled_from([None, "10/11", "01/10"]),
)
def test_no_way_of_playing_a_2x2_model_is_better(
    seed: int, threshold: float, reward: str, mode: str, limit: Any, max_steps: int, max_evaluations: Any, start: Any
) -> None:
    config = {"max_heads_per_step": limit, "max_steps": max_steps, "max_evaluations": max_evaluations}
    env = env_on(random_twin(2, 2, seed), make_reward(reward), threshold=threshold, on_violation=mode, **config)
    mask = None if start is None else mask_from_text(start)
    found = Optimum(random_twin(2, 2, seed), env.config, env.reward)
    assert found.plan(mask).value == pytest.approx(best_by_playing(env, mask), abs=1e-12)


@pytest.mark.parametrize("mode", VIOLATIONS)
@pytest.mark.parametrize(("weight", "best"), [(0.0, 0.5), (1.0, 0.45), (20.0, 0.0)])
def test_golden_values(mode: str, weight: float, best: float) -> None:
    # 11/11 has 20 of 20, 10/10 and 01/01 have 19 and 18: half the heads for one sentence in twenty.
    config = EnvConfig(threshold=0.85, on_violation=mode)
    assert optimal_return(GOLDEN, config, LagrangianReward(weight)) == pytest.approx(best)


def test_golden_ways() -> None:
    # With two heads a step 10/10 is one step away; with one head it lies behind 10/11, which misses, and 11/10.
    config = EnvConfig(threshold=0.85)
    for limit, ways in ((2, ["11/11", "10/10"]), (1, ["11/11", "11/10", "10/10"])):
        plan = Optimum(GOLDEN, replace(config, max_heads_per_step=limit), LagrangianReward(1.0)).plan()
        assert [mask_to_text(mask) for mask in plan.masks] == ways
    assert Optimum(GOLDEN, replace(config, max_heads_per_step=1)).plan().sets == [[3], [1]]
    # Two evaluations are the start and one set; one head of four is what it can win.
    assert optimal_return(GOLDEN, replace(config, max_heads_per_step=1, max_evaluations=2)) == 0.25
    # At .95 the only masks left are 01/11 and 10/10, which two heads a step reach directly.
    assert optimal_return(GOLDEN, EnvConfig(threshold=0.95)) == 0.5
    assert optimal_return(GOLDEN, EnvConfig(threshold=0.95, max_heads_per_step=1)) == 0.25


@pytest.mark.parametrize("reward", sorted(REWARDS))
@pytest.mark.parametrize("mode", VIOLATIONS)
@pytest.mark.parametrize("config", [{}, {"max_heads_per_step": None, "pad_to": (4, 5)}, {"max_evaluations": 3}])
def test_the_policy_reaches_the_optimum(reward: str, mode: str, config: dict[str, Any]) -> None:
    twin = random_twin(3, 3, 4)
    env = env_on(twin, make_reward(reward), on_violation=mode, **config)
    optimum = Optimum(twin, env.config, env.reward)
    policy = OptimalPolicy(optimum)
    episode = rollout(env, policy, seed=0, deterministic=True)
    assert episode.episode_return == pytest.approx(optimum.plan().value)
    assert not any(step["violation"] for step in episode.trace)
    mask = mask_from_text("110/011/111")
    again = rollout(env, policy, seed=0, options={"mask": mask})
    assert again.episode_return == pytest.approx(optimum.plan(mask).value)


@pytest.mark.parametrize("mode", VIOLATIONS)
def test_nobody_beats_the_optimum_in_ten_thousand_random_episodes(mode: str) -> None:
    twin, best = random_twin(3, 3, 4), 0.0
    for reward in map(make_reward, REWARDS):
        config = EnvConfig(threshold=0.95, on_violation=mode)
        env = BertHeadPruneVectorEnv(twin.search, twin.importance, config, 500, reward=reward)
        optimum, rng = optimal_return(twin, config, reward), np.random.default_rng(0)
        env.reset(seed=0)
        totals = np.zeros(500)
        finished: list[float] = []
        while len(finished) < 3334:
            _, rewards, terminated, truncated, _ = env.step((rng.random((500, 10)) < 0.2).astype(np.int8))
            totals += rewards
            ended = terminated | truncated
            finished += totals[ended].tolist()
            totals[ended] = 0.0
        assert max(finished) <= optimum + 1e-9
        best = max(best, max(finished) / optimum)
    assert best > 0.6, "an optimum that nobody comes near would prove nothing"


def test_a_large_table_takes_seconds_at_most() -> None:
    counts = np.random.default_rng(0).integers(500, 600, 15**4)
    table = TableEvaluator(4, 4, counts, 600)
    optimum = Optimum(table, EnvConfig(threshold=0.9))
    plan = optimum.plan()
    assert plan.value >= 0.5
    assert all(len(heads) <= 2 for heads in plan.sets)
    assert all(table.accuracy(mask[None])[0] >= 0.9 for mask in plan.masks[1:])


def test_wrong_questions_say_what_to_do() -> None:
    class Other:
        def terms(self, outcome: Outcome) -> dict[str, float]:
            return {"nothing": 0.0}

    with pytest.raises(ConfigError, match=r"prune_env\.rewards"):
        optimal_return(GOLDEN, EnvConfig(threshold=0.9), Other())
    policy = OptimalPolicy(Optimum(GOLDEN, EnvConfig(threshold=0.9)))
    with pytest.raises(ConfigError, match="2 x 2"):
        policy.predict(env_on(random_twin(3, 3, 4)).reset(seed=0)[0])
