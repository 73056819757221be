"""A trained agent in a folder: weights as safetensors and a card in JSON, nothing pickled; and what it does elsewhere.

agent = load_agent("runs/first")
action, _ = agent.predict(observation, deterministic=True)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from stable_baselines3.common.policies import BasePolicy

from prune_env.agents.action_masks import masks_of
from prune_env.agents.one_head import one_bit
from prune_env.agents.sb3 import get_agent, policy_class
from prune_env.agents.transfer import spaces_for, transfer
from prune_env.cache import write_text
from prune_env.errors import CheckpointError, ConfigError, OutputError, PruneEnvError
from prune_env.observation import Observation
from prune_env.victims.manifest import hash_file

CARD, WEIGHTS = "agent.json", "weights.safetensors"
BEST, LAST = "best", "last"
"""Of a training's folder: the agent as its evaluations liked it most, and as it was at the end."""

SCHEMA = 1


@dataclass(frozen=True)
class AgentCard:
    """What a saved agent is, as JSON values.

    Attributes:
        agent: A name of `prune_env.agents.sb3.AGENTS`.
        policy: "heads" or "mlp".
        policy_arguments: Of the policy's class.
        metrics: Importance metrics it observes, in the order of its environment: the first one protects heads.
        slots: Heads of the grid it was trained on.
        training: How it was trained: environment, steps, seed, settings, versions.
        sha256: Of the weights.
        schema: Of this card.
    """

    agent: str
    policy: str
    policy_arguments: Mapping[str, Any]
    metrics: tuple[str, ...]
    slots: int
    training: Mapping[str, Any]
    sha256: str = ""
    schema: int = SCHEMA


def only_victim(card: AgentCard) -> str | None:
    """Returns the SHA-256 of the one victim that an agent knows; None for one that may act on any.

    A plain policy that was trained on one victim knows heads by their numbers, which mean nothing on another model of
    as many. Of an agent whose card does not name its victim nothing is known.
    """
    return card.training.get("victim_sha256") if card.policy == "mlp" else None


class SavedAgent:
    """A policy as the environment wants it: one bit a slot and stop, whatever the agent's own actions are.

    A policy over the set of heads acts on a model of any size. One with `one_head` prunes up to two a step in a grid of
    twice the slots that it was trained on, and so on: the same share of the grid, which padding may have made larger
    than the models in it. DQN prunes one a step, and has no chance of its own: it acts the same either way.

    `predict` is told no victim: a plain policy acts on every model of its size, where `prune_env.agents.judge.judge`
    and a `Method` of it refuse all but the one that it was trained on.

    Attributes:
        card: What it is.
        policy: Stable-Baselines3's, for the spaces it was trained on.
        steady: Whether it acts without chance whatever it is asked for; at first it does not.
    """

    def __init__(self, card: AgentCard, policy: BasePolicy, seed: int = 0) -> None:
        """Takes a policy.

        Args:
            card: What it is.
            policy: With the card's weights.
            seed: Of its draws where it acts by chance.
        """
        self.card, self.policy, self.steady = card, policy, False
        self._random = np.random.default_rng(seed)
        self._sized = {card.slots: policy}

    def __repr__(self) -> str:
        card = self.card
        return (
            f"{type(self).__name__}({card.agent}, policy {card.policy}, {card.slots} slots, "
            f"metrics {', '.join(card.metrics)})"
        )

    def predict(
        self, observation: Observation, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[np.int8], Any]:
        """Returns the action of one observation, or of a batch of them, as Stable-Baselines3's `predict` does.

        Raises:
            ConfigError: An observation of another model, for a policy of one size, or one that lacks a metric.
        """
        return self._act(observation, deterministic, {}), state

    def _act(self, observation: Observation, deterministic: bool, extra: dict[str, Any]) -> NDArray[np.int8]:
        policy = self._policy_for(observation)
        seen: Any = {key: observation[key] for key in policy.observation_space.spaces}  # type: ignore[attr-defined]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._random.integers(2**63)))
            actions, _ = policy.predict(seen, deterministic=deterministic or self.steady, **extra)
        bits = observation["mask"].shape[-1] + 1
        if isinstance(policy.action_space, spaces.Discrete):
            return one_bit(actions, bits)
        return np.asarray(actions).astype(np.int8)

    def _policy_for(self, observation: Observation) -> BasePolicy:
        missing = [name for name in self.card.metrics if f"importance_{name}" not in observation]
        if missing:
            raise ConfigError(
                f"expected an observation with the importance {', '.join(missing)}, got {', '.join(observation)}; "
                f"make the environment with metrics={list(self.card.metrics)}"
            )
        slots = int(observation["mask"].shape[-1])
        if slots not in self._sized:
            observation_space, bits = spaces_for(slots, self.card.metrics)
            one_head = isinstance(self.policy.action_space, spaces.Discrete)
            action_space = spaces.Discrete(slots + 1) if one_head else bits
            share = (
                {"most_heads": max(1, slots // self.card.slots)} if self.card.policy_arguments.get("one_head") else {}
            )
            self._sized[slots] = transfer(self.policy, observation_space, action_space, **share)
        return self._sized[slots]


class MaskedAgent(SavedAgent):
    """One that is told what each bit may be: by who asks, or else by the observation."""

    def predict(
        self,
        observation: Observation,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.int8], Any]:
        """Returns the action, see `SavedAgent`; `action_masks` are those of the environment, which None reads off."""
        masks = masks_of(observation) if action_masks is None else action_masks
        return self._act(observation, deterministic, {"action_masks": masks}), state


def acting(card: AgentCard, policy: BasePolicy, seed: int = 0) -> SavedAgent:
    """Returns a policy as an agent; one of a masked kind takes masks."""
    return (MaskedAgent if get_agent(card.agent).masked else SavedAgent)(card, policy, seed)


def save_agent(folder: Path, card: AgentCard, policy: BasePolicy) -> AgentCard:
    """Writes an agent: weights first, then the card that names them by their SHA-256.

    Returns:
        The card as it was written.

    Raises:
        OutputError: The folder cannot be written.
    """
    tensors = {name: weight.detach().cpu().contiguous().clone() for name, weight in policy.state_dict().items()}
    part = folder / f".{WEIGHTS}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, str(part))
        written = AgentCard(**{**_fields(card), "sha256": hash_file(part)})
        part.replace(folder / WEIGHTS)
        write_text(folder / CARD, json.dumps(asdict(written), indent=2, sort_keys=True) + "\n")
    except (OSError, SafetensorError) as error:
        raise OutputError(f"expected to be able to write to {folder}, got: {error}; choose another folder") from error
    return written


def load_agent(folder: Path | str, seed: int = 0, device: str = "cpu") -> SavedAgent:
    """Reads an agent that `save_agent` or a training wrote; of a training the best one.

    Args:
        folder: Of an agent, or of a training.
        seed: Of its draws where it acts by chance.
        device: Where its network is.

    Raises:
        CheckpointError: No agent there, or a damaged one, or one of another version.
        ConfigError: An agent of sb3-contrib, which is not installed.
    """
    place = Path(folder)
    if not (place / CARD).exists() and (place / BEST / CARD).exists():
        place = place / BEST
    card = _read_card(place)
    observation_space, bits = spaces_for(card.slots, card.metrics)
    action_space = spaces.Discrete(card.slots + 1) if get_agent(card.agent).one_head else bits
    made = policy_class(card.agent, card.policy)(
        observation_space, action_space, lambda _: 0.0, **card.policy_arguments
    ).to(device)
    try:
        if hash_file(place / WEIGHTS) != card.sha256:
            raise CheckpointError(f"expected the weights that {place / CARD} names, got others; train or copy it again")
        made.load_state_dict(load_file(str(place / WEIGHTS)))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"expected weights in {place / WEIGHTS}: {error}; train or copy it again") from error
    made.set_training_mode(False)
    return acting(card, made, seed)


def _read_card(folder: Path) -> AgentCard:
    try:
        content = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise CheckpointError(
                f"expected an agent of schema {SCHEMA} in {folder}, got {content['schema']}; "
                "use the version that wrote it"
            )
        content["metrics"] = tuple(content["metrics"])
        return AgentCard(**content)
    except PruneEnvError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(
            f"expected a saved agent in {folder}, got no {CARD}; prune-env train makes one"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"expected a saved agent in {folder}: {error}; prune-env train makes one") from error


def _fields(card: AgentCard) -> dict[str, Any]:
    return {field.name: getattr(card, field.name) for field in fields(card)}
