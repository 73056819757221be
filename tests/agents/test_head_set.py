"""The network over heads: it does not know their order nor how many there are, and padding is not there for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prune_env.agents.environments import EnvChoice
from prune_env.agents.head_set import HeadSetNet
from prune_env.agents.maskable import MaskableHeadSetPolicy
from prune_env.agents.policies import HeadSetPolicy
from prune_env.agents.q_policy import HeadSetQPolicy
from prune_env.agents.saved import AgentCard, SavedAgent
from prune_env.agents.training import Training
from prune_env.agents.transfer import spaces_for
from prune_env.config import EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.observation import Observation
from tests.env.fakes import random_model

METRICS = ("gradient", "variance")


def network(seed: int = 0) -> HeadSetNet:
    torch.manual_seed(seed)
    found = HeadSetNet(METRICS, width=16, blocks=2, attention_heads=4)
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.5)
    return found


def observed(layers: int, heads: int, seed: int, pad_to: tuple[int, int] | None = None) -> Observation:
    """What is seen after one random step, some heads of which may have failed."""
    generator = np.random.default_rng(seed)
    scores = {name: generator.random((layers, heads), np.float32).round(1) for name in METRICS}
    config = EnvConfig(threshold=0.8, on_violation="reject", max_heads_per_step=None, pad_to=pad_to)
    env = BertHeadPruneEnv(random_model(layers, heads, seed), scores, config)
    env.reset(seed=seed)
    asked = env.layout.flat(generator.random((layers, heads)) < 0.3)
    return env.step(np.append(asked, False).astype(np.int8))[0]


def shown(net: HeadSetNet, observation: Observation) -> tuple[NDArray[np.float32], float]:
    with torch.no_grad():
        odds, value = net({key: torch.as_tensor(array)[None] for key, array in observation.items()})
    return odds[0].numpy(), float(value)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_exchanging_heads_of_a_layer_exchanges_their_outputs(layers: int, heads: int, seed: int) -> None:
    observation = observed(layers, heads, seed)
    generator = np.random.default_rng(seed)
    order = np.concatenate([layer * heads + generator.permutation(heads) for layer in range(layers)])
    moved = {key: array[order] if len(array) == layers * heads > 2 else array for key, array in observation.items()}
    for key in ("mask", "valid", "failed", "depth", *(f"importance_{name}" for name in METRICS)):
        moved[key] = observation[key][order]
    net = network()
    (odds, value), (moved_odds, moved_value) = shown(net, observation), shown(net, moved)
    assert np.allclose(moved_odds[:-1], odds[:-1][order], atol=1e-4)
    assert moved_odds[-1] == pytest.approx(odds[-1], abs=1e-4)
    assert moved_value == pytest.approx(value, abs=1e-4)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_padding_changes_nothing(layers: int, heads: int, seed: int) -> None:
    plain, padded = observed(layers, heads, seed), observed(layers, heads, seed, (layers + 1, heads + 2))
    net = network()
    (odds, value), (padded_odds, padded_value) = shown(net, plain), shown(net, padded)
    there = padded["valid"].astype(bool)
    assert np.allclose(padded_odds[:-1][there], odds[:-1], atol=1e-4)
    assert padded_odds[-1] == pytest.approx(odds[-1], abs=1e-4)
    assert padded_value == pytest.approx(value, abs=1e-4)


def test_heads_that_look_different_are_told_apart() -> None:
    odds, _ = shown(network(), observed(2, 3, 1))
    assert np.ptp(odds[:-1]) > 0.01


def test_features_that_follow_from_an_observation() -> None:
    """Two layers of two heads, head 1 pruned, worked out by hand."""
    observation: dict[str, Any] = {
        "mask": [1, 0, 1, 1], "valid": [1, 1, 1, 1], "failed": [0, 0, 1, 0], "depth": [0.0, 0.0, 1.0, 1.0],
        "importance_gradient": [0.5, 0.1, 0.2, 1.0],
        "accuracy": [0.92], "last_change": [-0.01], "threshold": [0.9], "budget": [0.75, 1.0],
    }  # fmt: skip
    tensors = {key: torch.tensor([array]) for key, array in observation.items()}
    tokens, heads = HeadSetNet(("gradient",), 4, 0, 1).tokens(tensors)
    assert heads.all()
    alone_in_layer, rank, kept, slack = 3, 5, -2, -1
    assert tokens[0, :, alone_in_layer].tolist() == [1.0, 1.0, 0.5, 0.5]
    assert tokens[0, :, rank].tolist() == [0.25, 0.0, 0.0, 0.5], "kept heads below it, of four"
    assert tokens[0, :, kept].tolist() == [0.75] * 4
    assert tokens[0, :, slack].tolist() == pytest.approx([0.4] * 4, abs=1e-5)


def policy(slots: int, **arguments: Any) -> HeadSetPolicy:
    torch.manual_seed(0)
    return HeadSetPolicy(*spaces_for(slots, METRICS), lambda _: 1e-3, **arguments)


@pytest.mark.parametrize(("layers", "heads"), [(4, 4), (6, 12)])
def test_an_untrained_policy_is_cautious_on_any_size(layers: int, heads: int) -> None:
    observation = observed(layers, heads, 0)
    observation["mask"][:] = 1
    count = layers * heads

    def asked(**arguments: Any) -> float:
        found = policy(count, **arguments)
        torch.manual_seed(1)
        batch: Any = {key: np.tile(array, (2_000, 1)) for key, array in observation.items()}
        return float(found.predict(batch)[0][:, :-1].sum(axis=1).mean())

    # A set that is not empty has a little more than the 1.5 heads that independent bits would.
    assert 1.4 < asked() < 2.1
    assert asked(wanted_heads=None) == pytest.approx(count / 2, rel=0.05)


@pytest.mark.parametrize("kind", [HeadSetPolicy, MaskableHeadSetPolicy])
@pytest.mark.parametrize("eager", [False, True], ids=["cautious", "eager"])
def test_padding_is_never_pruned(kind: type[HeadSetPolicy], eager: bool) -> None:
    observation = observed(3, 4, 0, pad_to=(4, 4))
    torch.manual_seed(0)
    found = kind(*spaces_for(16, METRICS), lambda _: 1e-3, wanted_heads=None if eager else 1.5)
    if eager:
        torch.nn.init.constant_(found.net.head.bias, 3.0)
    seen = {key: torch.as_tensor(np.tile(array, (500, 1))) for key, array in observation.items()}
    padding = np.append(observation["valid"] == 0, False)
    with torch.no_grad():
        drawn, _, chances = found(seen)
        likeliest = found(seen, deterministic=True)[0]
        odds = found.get_distribution(seen)
        padded = torch.where(torch.as_tensor(padding), 1.0, drawn)
        assert not drawn[:, padding].any() and not likeliest[:, padding].any()
        assert (drawn.sum(dim=1) > 0).all() and (likeliest.sum(dim=1) > 0).all(), "a head or stop, not padding, is set"
        entropy = odds.entropy()
        assert entropy is not None and torch.isfinite(entropy).all() and torch.isfinite(chances).all()
        assert (odds.log_prob(padded) < -1e6).all(), "no chance at all"


@pytest.mark.parametrize("kind", [HeadSetPolicy, MaskableHeadSetPolicy])
def test_one_head_a_step_is_one_that_is_left_or_stopping(kind: type[HeadSetPolicy]) -> None:
    observation = observed(2, 3, 5, pad_to=(3, 4))
    torch.manual_seed(0)
    one = kind(*spaces_for(12, METRICS), lambda _: 1e-3, one_head=True)
    assert one._get_constructor_parameters()["one_head"]
    rows = {key: torch.as_tensor(array)[None].expand(4000, -1) for key, array in observation.items()}
    actions = one.get_distribution(rows).sample()
    assert (actions.sum(dim=1) == 1).all()
    left = np.append((observation["mask"] == 1) & (observation["valid"] == 1), True)
    assert 0 < left[:-1].sum() < observation["valid"].sum()
    assert set(actions.argmax(dim=1).tolist()) == set(np.flatnonzero(left))
    assert float(actions[:, -1].mean()) == pytest.approx(1 / left.sum(), abs=0.03), "at first as likely as any head"
    assert one.get_distribution(rows).mode()[0].argmax() in np.flatnonzero(left)


def test_on_a_larger_model_the_same_share_goes_in_a_step() -> None:
    torch.manual_seed(0)
    small = HeadSetPolicy(*spaces_for(6, METRICS), lambda _: 1e-3, one_head=True)
    card = AgentCard("ppo", "heads", {"one_head": True}, METRICS, 6, {})
    agent, observation = SavedAgent(card, small), observed(5, 4, 5)
    left = np.append(observation["mask"] == 1, True)
    drawn = [agent.predict(observation)[0] for _ in range(200)]
    assert {int(bits.sum()) for bits in drawn} == {1, 2, 3}, "20 slots are three times 6"
    assert not any(bits[~left].any() for bits in drawn)
    assert all(bits.sum() == 1 for bits in drawn if bits[-1]), "after stopping nothing comes"
    best = agent.predict(observation, deterministic=True)[0]
    odds: Any = agent._policy_for(observation)
    seen = {key: torch.as_tensor(array)[None] for key, array in observation.items()}
    order = odds.get_distribution(seen)._logits[0].argsort(descending=True)[:3].tolist()
    expected = order[: order.index(20)] if 20 in order[1:] else order[:1] if order[0] == 20 else order
    assert sorted(np.flatnonzero(best)) == sorted(expected)
    assert agent.predict(observed(2, 3, 5))[0].sum() == 1


def test_without_padding_nothing_is_forbidden() -> None:
    observation = observed(2, 2, 0)
    seen = {key: torch.as_tensor(array)[None] for key, array in observation.items()}
    every = torch.tensor([[1.0] * 5])
    with torch.no_grad():
        assert float(policy(4).get_distribution(seen).log_prob(every)) > -20


def test_chances_do_not_depend_on_padding() -> None:
    plain, padded = observed(3, 4, 0), observed(3, 4, 0, pad_to=(4, 4))
    small, large = policy(12), policy(16)
    large.load_state_dict(small.state_dict())
    there = torch.as_tensor(np.append(padded["valid"] > 0, True))
    bits = torch.tensor([[1.0, 0.0, 0.0, 1.0] * 3 + [0.0]])
    wide = torch.zeros(1, 17)
    wide[:, there] = bits
    chances = []
    for one, observation, action in ((small, plain, bits), (large, padded, wide)):
        seen = {key: torch.as_tensor(array)[None] for key, array in observation.items()}
        with torch.no_grad():
            _, chance, entropy = one.evaluate_actions(seen, action)
        assert entropy is not None
        chances.append((float(chance), float(entropy)))
    assert chances[0] == pytest.approx(chances[1], abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [({"width": 6}, "multiple"), ({"blocks": -1}, "blocks"), ({"wanted_heads": 0.0}, "above 0")],
)
def test_sizes_that_do_not_go_together_are_refused(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        policy(4, **arguments)


@pytest.mark.parametrize("arguments", [{"most_heads": 0, "one_head": True}, {"most_heads": 2}, {"most_heads": True}])
def test_more_heads_than_one_need_a_policy_of_one_head(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="most_heads"):
        policy(4, **arguments)


def test_nobody_trains_with_more_heads_than_one() -> None:
    with pytest.raises(ConfigError, match="most_heads=1"):
        Training("ppo", "heads", EnvChoice("tiny-style"), policy_arguments={"one_head": True, "most_heads": 2})


def test_dqn_refuses_the_same_sizes() -> None:
    observation_space, _ = spaces_for(4, METRICS)
    with pytest.raises(ConfigError, match="multiple"):
        HeadSetQPolicy(observation_space, spaces.Discrete(5), lambda _: 1e-3, width=6)


def test_other_spaces_are_refused() -> None:
    observation_space, action_space = spaces_for(4, METRICS)
    with pytest.raises(ConfigError, match="spaces of BertHeadPrune"):
        HeadSetPolicy(observation_space["mask"], action_space, lambda _: 1e-3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least one slot"):
        spaces_for(0, METRICS)
