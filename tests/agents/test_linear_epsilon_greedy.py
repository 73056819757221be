"""The linear agent learns what its first ranking gets wrong, and is what it was after it was saved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from prune_env.agents.head_features import feature_names, head_features
from prune_env.agents.linear_epsilon_greedy import LinearEpsilonGreedy, LinearSettings
from prune_env.config import EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import CheckpointError, ConfigError
from prune_env.rollout import rollout
from prune_env.types import mask_to_text
from tests.env.fakes import FakeEvaluator, action, random_model, table
from tests.policies import priced

METRIC = "attention_variance"
ONE = LinearSettings(metrics=(METRIC,))

# Of 20 sentences heads 1 and 2 together cost 1, and every mask without head 0 or head 3 costs 8 or more.
ONE_ANSWER = {
    "11/11": 20, "10/11": 19, "11/01": 19, "10/01": 19,
    "01/11": 12, "11/10": 12, "01/01": 10, "10/10": 10, "01/10": 8,
}  # fmt: skip
MISLEADING = {METRIC: np.array([[0.1, 0.8], [0.9, 0.2]], dtype=np.float32)}


def one_answer(**config: object) -> BertHeadPruneEnv:
    """The 2x2 table with one right answer, and a ranking that says the opposite."""
    return BertHeadPruneEnv(table(ONE_ANSWER, 20), MISLEADING, EnvConfig(threshold=0.85, **config))  # type: ignore[arg-type]  # the test's own keywords


def small(seed: int) -> BertHeadPruneEnv:
    """A 3x4 model whose importance says nothing of it."""
    scores = np.random.default_rng(seed).random((3, 4)).astype(np.float32)
    return BertHeadPruneEnv(random_model(3, 4, seed), {METRIC: scores, "gradient": scores}, EnvConfig(threshold=0.9))


@pytest.mark.parametrize("mode", ["terminate", "reject"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_the_one_right_answer(mode: str, seed: int) -> None:
    env = one_answer(on_violation=mode)
    agent = LinearEpsilonGreedy(seed, ONE)
    before = rollout(env, agent, seed=0, deterministic=True)
    assert before.episode_return < 0, "the ranking by variance picks the wrong heads first"
    agent.learn(env, 600, seed)
    after = rollout(env, agent, seed=0, deterministic=True)
    assert mask_to_text(after.mask) == "10/01"
    assert after.episode_return == pytest.approx(0.5)


def test_heads_of_their_own_learn_what_no_metric_says() -> None:
    # The two dear heads look cheap, and all others alike: 0, 2 and 3 are the best heads to lose.
    alike = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]], dtype=np.float32)
    env = BertHeadPruneEnv(priced(), {METRIC: alike}, EnvConfig(threshold=0.85))
    agent = LinearEpsilonGreedy(0, LinearSettings(metrics=(METRIC,), slots=6))
    assert rollout(env, agent, seed=0, deterministic=True).episode_return < 0
    agent.learn(env, 1500, seed=0)
    assert mask_to_text(rollout(env, agent, seed=0, deterministic=True).mask) == "010/011"


def test_it_starts_with_the_lowest_variance() -> None:
    env = one_answer()
    observation, _ = env.reset(seed=0)
    agent = LinearEpsilonGreedy(0, ONE)
    # Scaled to [0, 1]: 0, .875 / 1, .125.
    assert agent.values(observation) == pytest.approx([1.0, 0.125, 0.0, 0.875])
    assert np.flatnonzero(agent.predict(observation, deterministic=True)[0]).tolist() == [0, 3]


def test_an_update_by_hand() -> None:
    model = FakeEvaluator(1, 2, 10, lambda mask: 9)
    env = BertHeadPruneEnv(model, {METRIC: np.array([[0.0, 1.0]], dtype=np.float32)}, EnvConfig(threshold=0.8))
    agent = LinearEpsilonGreedy(0, LinearSettings(metrics=(METRIC,), epsilon=0.0, final_epsilon=0.0, learning_rate=0.5))
    agent.weights[:] = 0.0
    agent.weights[0] = 0.4
    agent.learn(env, 1, seed=0)
    # Head 0 goes and wins 1 of 2 heads: worth 1. Its features: one = 1, slack = (.9 - .8) * 10 = 1, the others 0.
    assert agent.named_weights()["one"] == pytest.approx(0.4 + 0.5 * 0.6 / 2)
    assert agent.named_weights()["slack"] == pytest.approx(0.5 * 0.6 / 2)
    assert agent.named_weights()[METRIC] == 0.0


def test_it_stops_where_nothing_is_worth_pruning() -> None:
    observation, _ = one_answer().reset(seed=0)
    agent = LinearEpsilonGreedy(0, ONE, weights=-np.ones(len(feature_names((METRIC,)))))
    assert np.flatnonzero(agent.predict(observation, deterministic=True)[0]).tolist() == [4]


def test_features_by_hand() -> None:
    env = one_answer(pad_to=(3, 3))
    env.reset(seed=0)
    observation, *_ = env.step(action(env, 1))
    rows = head_features(observation, (METRIC,), slots=9)
    names = feature_names((METRIC,), slots=9)
    assert rows.shape == (9, len(names))
    row = dict(zip(names, rows[0], strict=True))
    assert row["layer_pruned"] == 0.5
    assert row["pruned"] == 0.25
    assert row["slack"] == pytest.approx(1.0)
    assert row["last_change"] == pytest.approx(-0.5)
    assert row["slot_0"] == 1.0
    assert rows[:, names.index("slot_0")].sum() == 1.0
    assert dict(zip(names, rows[3], strict=True))["layer_pruned"] == 0.0


def test_epsilon_falls_while_it_learns() -> None:
    agent = LinearEpsilonGreedy(0, LinearSettings(metrics=(METRIC,), epsilon=0.8, final_epsilon=0.1))
    agent.learn(one_answer(), 5, seed=0)
    assert agent.epsilon == 0.1
    observation, _ = one_answer().reset(seed=0)
    greedy = agent.predict(observation, deterministic=True)[0]
    others = [(agent.predict(observation)[0] != greedy).any() for _ in range(400)]
    assert 0.0 < np.mean(others) < 0.15


def test_a_seed_decides_the_learning() -> None:
    weights = []
    for seed in (3, 3, 4):
        agent = LinearEpsilonGreedy(seed)
        agent.learn(small(1), 300, seed)
        weights.append(agent.weights)
    assert (weights[0] == weights[1]).all()
    assert (weights[0] != weights[2]).any()


def test_a_saved_agent_acts_as_before(tmp_path: Path) -> None:
    agent = LinearEpsilonGreedy(0, LinearSettings(group=3))
    agent.learn(small(2), 200, seed=0)
    agent.save(tmp_path / "agent.json")
    again = LinearEpsilonGreedy.load(tmp_path / "agent.json")
    assert again.settings == agent.settings
    assert (again.weights == agent.weights).all()
    traces = [rollout(small(2), one, seed=0, deterministic=True).trace for one in (agent, again)]
    assert traces[0] == traces[1]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    LinearEpsilonGreedy(0).save(path)
    whole = json.loads(path.read_text())
    changes: list[dict[str, object]] = [
        {"schema": 2},
        {"weights": {}},
        {"settings": {"epsilon": 3.0, "metrics": ["gradient"]}},
    ]
    for change in changes:
        path.write_text(json.dumps({**whole, **change}))
        with pytest.raises(CheckpointError, match="train it anew"):
            LinearEpsilonGreedy.load(path)
    with pytest.raises(CheckpointError):
        LinearEpsilonGreedy.load(tmp_path / "nothing.json")


def test_wrong_settings_and_observations_are_refused() -> None:
    for wrong in ({"epsilon": 1.5}, {"learning_rate": 0.0}, {"metrics": ()}, {"group": 0}, {"slots": -1}):
        with pytest.raises(ConfigError):
            LinearSettings(**wrong)
    with pytest.raises(ConfigError, match="finite weights"):
        LinearEpsilonGreedy(0, weights=np.ones(2))
    observation, _ = one_answer().reset(seed=0)
    with pytest.raises(ConfigError, match="gradient"):
        LinearEpsilonGreedy(0).predict(observation)
    with pytest.raises(ConfigError, match="5 slots"):
        LinearEpsilonGreedy(0, LinearSettings(metrics=(METRIC,), slots=5)).predict(observation)
