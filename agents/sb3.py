"""Stable-Baselines3's algorithms with defaults for this problem, by name: what a newcomer trains first.

Episodes are short and the reward undiscounted, so gamma is 1 everywhere; many environments step at once, so that a
rollout is short in each of them. What is paid for chance ends before the training does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import import_module
from typing import Any, TypeAlias

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from prune_env.errors import ConfigError, UnknownNameError

_LAST_RATE = 0.05
"""What is left of the learning rate at the end."""


@dataclass(frozen=True)
class ActorCriticSettings:
    """What PPO's and A2C's own arguments share, see Stable-Baselines3; the learning rate falls linearly."""

    learning_rate: float = 1e-3
    gamma: float = 1.0
    gae_lambda: float = 0.95
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5


@dataclass(frozen=True)
class PPOSettings(ActorCriticSettings):
    """PPO's and MaskablePPO's own arguments.

    Attributes:
        minibatches: Parts of a rollout for one gradient step each, at most: as many as divide it. It stands for
            `batch_size`, which would have to be changed with the number of environments.
    """

    n_steps: int = 25
    minibatches: int = 4
    n_epochs: int = 8
    clip_range: float = 0.2


@dataclass(frozen=True)
class A2CSettings(ActorCriticSettings):
    """A2C's own arguments."""

    n_steps: int = 8
    normalize_advantage: bool = True


@dataclass(frozen=True)
class DQNSettings:
    """DQN's own arguments, see Stable-Baselines3; one head a step."""

    learning_rate: float = 1e-3
    buffer_size: int = 50_000
    learning_starts: int = 1_000
    batch_size: int = 128
    gamma: float = 1.0
    train_freq: int = 4
    gradient_steps: int = 8
    target_update_interval: int = 512
    exploration_fraction: float = 0.5
    exploration_final_eps: float = 0.05


Settings: TypeAlias = PPOSettings | A2CSettings | DQNSettings


@dataclass(frozen=True)
class Kind:
    """An algorithm by name.

    Attributes:
        algorithm: "module:class" of the algorithm.
        policies: Policy name -> "module:class".
        settings: Its arguments' defaults.
        of_heads: What of them is another with the policy "heads": its shared weights take larger steps.
        masked: Whether it is told what each bit may be.
        one_head: Whether an action is one head.
    """

    algorithm: str
    policies: Mapping[str, str]
    settings: Settings
    of_heads: Mapping[str, Any] = field(default_factory=dict)
    masked: bool = False
    one_head: bool = False


_ACTOR_CRITIC = {"heads": "prune_env.agents.policies:HeadSetPolicy", "mlp": "prune_env.agents.policies:FlatPolicy"}
_MASKABLE = {
    "heads": "prune_env.agents.maskable:MaskableHeadSetPolicy",
    "mlp": "prune_env.agents.maskable:MaskableFlatPolicy",
}
_VALUES = {
    "heads": "prune_env.agents.q_policy:HeadSetQPolicy",
    "mlp": "stable_baselines3.dqn.policies:MultiInputPolicy",
}
_LARGER_STEPS = {"learning_rate": 3e-3}

AGENTS: dict[str, Kind] = {
    "ppo": Kind("stable_baselines3:PPO", _ACTOR_CRITIC, PPOSettings(), _LARGER_STEPS),
    "a2c": Kind("stable_baselines3:A2C", _ACTOR_CRITIC, A2CSettings()),
    "dqn": Kind("stable_baselines3:DQN", _VALUES, DQNSettings(), one_head=True),
    "maskable-ppo": Kind("sb3_contrib:MaskablePPO", _MASKABLE, PPOSettings(), _LARGER_STEPS, masked=True),
}
"""Every agent that `prune-env train` knows."""

POLICIES = ("heads", "mlp")
"""A network over the set of heads, for any model; a plain one, for one model."""


def get_agent(name: str) -> Kind:
    """Returns an agent by name.

    Raises:
        UnknownNameError: No such agent; the message names the nearest.
    """
    if name not in AGENTS:
        raise UnknownNameError("agent", name, AGENTS)
    return AGENTS[name]


def settings_of(agent: str, policy: str, changes: Mapping[str, Any]) -> Settings:
    """Returns an agent's settings for a policy, with some changed.

    Raises:
        UnknownNameError: An agent or setting that does not exist.
        ConfigError: A value of another kind than the default.
    """
    kind = get_agent(agent)
    default = replace(kind.settings, **(kind.of_heads if policy == "heads" else {}))
    known = {one.name: getattr(default, one.name) for one in fields(default)}
    for name, value in changes.items():
        if name not in known:
            raise UnknownNameError(f"setting of {agent}", name, known)
        fits = isinstance(value, type(known[name])) or (isinstance(known[name], float) and type(value) is int)
        if not fits or (isinstance(value, bool) and not isinstance(known[name], bool)):
            raise ConfigError(f"expected {name} to be like {known[name]!r}, got {value!r}; correct it")
    return replace(default, **changes)


def policy_class(agent: str, policy: str) -> type[BasePolicy]:
    """Returns the class of an agent's policy.

    Raises:
        UnknownNameError: No such agent or policy.
        ConfigError: An agent of sb3-contrib, which is not installed.
    """
    policies = get_agent(agent).policies
    if policy not in policies:
        raise UnknownNameError("policy", policy, policies)
    found: type[BasePolicy] = _load(policies[policy])
    return found


def make_algorithm(
    agent: str,
    policy: str,
    environments: VecEnv,
    settings: Settings,
    *,
    seed: int,
    policy_arguments: Mapping[str, Any],
    device: str = "cpu",
) -> BaseAlgorithm:
    """Makes an untrained algorithm.

    Args:
        agent: A name of `AGENTS`.
        policy: A name of `POLICIES`.
        environments: What `EnvChoice.make` returned.
        settings: The agent's.
        seed: Of its weights and draws; Stable-Baselines3 seeds the process's generators with it.
        policy_arguments: Of the policy's class.
        device: Where the network is.

    Raises:
        UnknownNameError: No such agent or policy.
        ConfigError: Settings of another agent, or sb3-contrib is missing.
    """
    kind = get_agent(agent)
    if type(settings) is not type(kind.settings):
        raise ConfigError(f"expected {type(kind.settings).__name__} for {agent}, got {settings}; see settings_of")
    arguments = asdict(settings)
    if isinstance(settings, PPOSettings):
        arguments["batch_size"] = batch_size(environments.num_envs * settings.n_steps, arguments.pop("minibatches"))
    if not kind.one_head:
        arguments["learning_rate"] = falling(arguments["learning_rate"])
    algorithm: BaseAlgorithm = _load(kind.algorithm)(
        policy_class(agent, policy),
        environments,
        seed=seed,
        policy_kwargs=dict(policy_arguments),
        device=device,
        **arguments,
    )
    return algorithm


def batch_size(rollout: int, minibatches: int) -> int:
    """Returns the size of the largest number of equal minibatches, at most so many, that a rollout of steps makes."""
    return rollout // next(
        parts for parts in range(max(1, min(minibatches, rollout // 2)), 0, -1) if rollout % parts == 0
    )


def falling(rate: float) -> Callable[[float], float]:
    """Returns a learning rate that falls linearly with the remaining fraction of the training."""
    return lambda remaining: rate * max(remaining, _LAST_RATE)


def _load(path: str) -> Any:
    module, attribute = path.split(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"expected {error.name} for this agent, got an environment without it; "
            'pip install "prune-env[contrib]", or choose ppo'
        ) from error
