"""What a folder keeps of an agent, what of it is refused, and how it acts on other models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import BasePolicy

from prune_env.agents.learned import method_of
from prune_env.agents.policies import FlatPolicy, HeadSetPolicy
from prune_env.agents.saved import AgentCard, SavedAgent, acting, load_agent, save_agent
from prune_env.agents.sb3 import policy_class
from prune_env.agents.transfer import spaces_for, transfer
from prune_env.config import EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import CheckpointError, ConfigError
from prune_env.methods import PolicyContext
from prune_env.rollout import rollout
from prune_env.wrappers import OneHeadPerStep
from tests.env.fakes import random_model

METRICS = ("variance", "gradient")
"""Not in alphabetical order: the first one protects heads."""


def env(layers: int = 3, heads: int = 4, metrics: tuple[str, ...] = METRICS) -> BertHeadPruneEnv:
    generator = np.random.default_rng(1)
    scores = {name: generator.random((layers, heads), np.float32) for name in metrics}
    return BertHeadPruneEnv(random_model(layers, heads, 1), scores, EnvConfig(threshold=0.8, on_violation="reject"))


def agent(kind: str = "ppo", policy: str = "heads", slots: int = 12, seed: int = 0) -> SavedAgent:
    """An untrained agent whose last layers are not near zero, so that it has preferences."""
    observation_space, bits = spaces_for(slots, METRICS)
    space = OneHeadPerStep(env()).action_space if kind == "dqn" else bits
    torch.manual_seed(seed)
    made: BasePolicy = policy_class(kind, policy)(observation_space, space, lambda _: 1e-3)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    card = AgentCard(
        kind, policy, {}, METRICS, slots, {"steps": 7, "environment": {"arguments": {"on_violation": "reject"}}}
    )
    return acting(card, made)


@pytest.mark.parametrize("policy", ["heads", "mlp"])
@pytest.mark.parametrize("kind", ["ppo", "a2c", "dqn", "maskable-ppo"])
def test_a_loaded_agent_acts_as_the_saved_one(kind: str, policy: str, tmp_path: Path) -> None:
    saved = agent(kind, policy)
    save_agent(tmp_path, saved.card, saved.policy)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    assert load_agent(tmp_path).card.metrics == METRICS
    for deterministic in (True, False):
        both = (agent(kind, policy), load_agent(tmp_path))
        one, other = (rollout(env(), found, seed=3, deterministic=deterministic) for found in both)
        assert one.trace == other.trace and one.trace


def test_a_masked_agent_asks_for_no_head_that_is_gone(tmp_path: Path) -> None:
    saved = agent("maskable-ppo")
    save_agent(tmp_path, saved.card, saved.policy)
    loaded = load_agent(tmp_path, seed=5)
    infos: list[dict[str, Any]] = []
    for seed in range(5):
        rollout(env(), loaded, seed=seed, on_step=infos.append)
    assert len(infos) > 10
    assert sum(info["ignored_heads"] for info in infos) == 0


def test_a_masked_agent_that_is_handed_no_masks_reads_them_off(tmp_path: Path) -> None:
    saved = agent("maskable-ppo")
    save_agent(tmp_path, saved.card, saved.policy)
    loaded, environment, ignored, steps = load_agent(tmp_path, seed=5), env(), 0, 0
    for seed in range(5):
        observation, _ = environment.reset(seed=seed)
        done = False
        while not done:
            action, _ = loaded.predict(observation)
            observation, _, terminated, truncated, info = environment.step(action)
            done, ignored, steps = terminated or truncated, ignored + info["ignored_heads"], steps + 1
    assert steps > 10
    assert ignored == 0


def test_draws_come_from_the_seed(tmp_path: Path) -> None:
    saved = agent()
    save_agent(tmp_path, saved.card, saved.policy)
    traces = [rollout(env(), load_agent(tmp_path, seed), seed=0).trace for seed in (1, 1, 2)]
    assert traces[0] == traces[1] != traces[2]


@pytest.mark.parametrize("kind", ["ppo", "dqn", "maskable-ppo"])
def test_weights_of_a_small_model_act_on_a_large_one(kind: str, tmp_path: Path) -> None:
    saved = agent(kind, slots=12)
    save_agent(tmp_path, saved.card, saved.policy)
    large = env(6, 12)
    episode = rollout(large, load_agent(tmp_path), seed=0, deterministic=True)
    assert episode.mask.shape == (6, 12) and episode.trace
    space = OneHeadPerStep(large).action_space if kind == "dqn" else large.action_space
    moved = transfer(tmp_path, large.observation_space, space)
    assert moved.observation_space == large.observation_space
    for name, weight in saved.policy.state_dict().items():
        assert torch.equal(moved.state_dict()[name], weight)


def test_on_a_model_of_the_trained_size_a_transferred_policy_is_the_policy() -> None:
    trained = agent().policy
    observation, _ = env().reset(seed=0)
    moved = transfer(trained, trained.observation_space, trained.action_space)
    assert isinstance(trained, HeadSetPolicy) and isinstance(moved, HeadSetPolicy)
    seen = trained.obs_to_tensor(observation)[0]
    with torch.no_grad():
        (odds, value), (moved_odds, moved_value) = trained.net(seen), moved.net(seen)
    assert torch.equal(odds, moved_odds) and torch.equal(value, moved_value)


def test_what_fits_one_model_is_not_transferred(tmp_path: Path) -> None:
    flat = agent("ppo", "mlp")
    assert isinstance(flat.policy, FlatPolicy)
    with pytest.raises(ConfigError, match="fits one model alone"):
        transfer(flat.policy, *spaces_for(72, METRICS))
    with pytest.raises(ConfigError, match="fits one model alone"):
        rollout(env(6, 12), flat, seed=0)
    with pytest.raises(ConfigError, match="shows gradient, variance"):
        transfer(agent().policy, *spaces_for(72, ("gradient",)))
    with pytest.raises(ConfigError, match="importance variance"):
        rollout(env(metrics=("gradient",)), agent(), seed=0)


def test_an_agent_is_a_method(tmp_path: Path) -> None:
    saved = agent("maskable-ppo")
    save_agent(tmp_path / "best", saved.card, saved.policy)
    method = method_of(tmp_path, "learned")
    assert method.metrics == METRICS and method.environment == {"on_violation": "reject"} and method.policy is not None
    assert "7 steps" in method.summary
    policy = method.policy(PolicyContext(seed=3, layers=3, heads=4))
    traces = [rollout(env(), policy, seed=0).trace for _ in range(2)]
    assert traces[0] == traces[1] == rollout(env(), load_agent(tmp_path), seed=0, deterministic=True).trace
    chancy = method_of(tmp_path, "learned", deterministic=False).policy
    assert chancy is not None
    assert rollout(env(), chancy(PolicyContext(3, 3, 4)), seed=0).trace != traces[0]


def test_an_agent_says_what_it_is() -> None:
    assert repr(agent()) == "SavedAgent(ppo, policy heads, 12 slots, metrics variance, gradient)"
    assert repr(agent("maskable-ppo", "mlp")).startswith("MaskedAgent(maskable-ppo, policy mlp")


def test_damage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"got no agent\.json; prune-env train makes one"):
        load_agent(tmp_path)
    saved = agent()
    save_agent(tmp_path, saved.card, saved.policy)
    card = json.loads((tmp_path / "agent.json").read_text())
    (tmp_path / "agent.json").write_text(json.dumps({**card, "schema": 99}))
    with pytest.raises(CheckpointError, match="schema 1"):
        load_agent(tmp_path)
    (tmp_path / "agent.json").write_text(json.dumps(card))
    weights = tmp_path / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="got others"):
        load_agent(tmp_path)
    weights.unlink()
    with pytest.raises(CheckpointError, match="weights"):
        load_agent(tmp_path)
