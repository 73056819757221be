"""How good an agent is: an episode in each of K environments, and what comes of them, as regret where it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from prune_env.agents.environments import EnvChoice, Yardsticks
from prune_env.agents.saved import MaskedAgent, SavedAgent, only_victim
from prune_env.errors import ConfigError
from prune_env.observation import Observation


@dataclass(frozen=True, eq=False)
class Judgement:
    """What one episode in each environment came to.

    Attributes:
        returns: float64 (K,).
        lengths: int64 (K,), steps.
        violations: int64 (K,), sets that missed the threshold.
        ends: `info` of each episode's last step.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    violations: NDArray[np.int64]
    ends: tuple[dict[str, Any], ...]

    def mean(self, key: str) -> float:
        """Returns the mean over the episodes of a number in their last `info`."""
        return float(np.mean([info[key] for info in self.ends]))

    @property
    def best(self) -> dict[str, Any]:
        """The last `info` of the best episode, the first of equals."""
        return self.ends[int(self.returns.argmax())]

    def regrets(self, yardsticks: Yardsticks, victim: str) -> dict[str, float]:
        """Returns the mean normalised regrets: of the returns, and of the final masks on sentences no search has seen.

        Args:
            yardsticks: Of each victim.
            victim: What the environment was made with, where `info` names none.
        """
        known = [yardsticks(info.get("victim", victim)) for info in self.ends]
        masks = [in_grid(info["terminal_observation"], "mask").astype(np.bool_) for info in self.ends]
        search = [one.regret(value) for one, value in zip(known, self.returns.tolist(), strict=True)]
        certify = [one.certified_regret(mask) for one, mask in zip(known, masks, strict=True)]
        return {"regret": float(np.mean(search)), "certified_regret": float(np.mean(certify))}

    def numbers(self) -> dict[str, float]:
        """Returns the means by name; the label flip rate, where it was measured, is named "oracle/lfr"."""
        found = {
            "return": float(self.returns.mean()),
            "length": float(self.lengths.mean()),
            "violations": float(self.violations.mean()),
            **{key: self.mean(key) for key in ("accuracy", "pruned_fraction", "evaluations")},
        }
        if all("oracle_lfr" in info for info in self.ends):
            found["oracle/lfr"] = self.mean("oracle_lfr")
        return found


def in_grid(observation: Observation, key: str) -> NDArray[Any]:
    """Returns what an observation says of each head under a key, (layers, heads), without padding."""
    valid = observation["valid"].astype(np.bool_)
    layers = len(np.unique(observation["depth"][valid]))
    grid: NDArray[Any] = observation[key][valid].reshape(layers, -1)
    return grid


def _check_victim(agent: SavedAgent, environments: VecEnv) -> None:
    """Refuses an agent of one model on another; environments that were made without `gym.make_vec` name no victim."""
    known = only_victim(agent.card)
    (spec,) = environments.get_attr("spec", 0) if known else (None,)
    if spec is None or "victim" not in spec.kwargs:
        return
    victim = spec.kwargs["victim"]
    if set(EnvChoice(victim, spec.id).victims_sha256) - {known}:
        trained = agent.card.training["environment"]["victim"]
        raise ConfigError(
            f"expected the victim {trained} that this agent was trained on, got {victim}: its policy "
            f"{agent.card.policy!r} knows one model alone; judge it there, or train one with --policy heads"
        )


def judge(agent: SavedAgent, environments: VecEnv, seed: int, deterministic: bool) -> Judgement:
    """Plays one episode in each environment; no episode is preferred for being short.

    Args:
        agent: Who acts, with masks if it is of a masked kind.
        environments: As `EnvChoice.make` makes them, with the environment's own actions.
        seed: Sub-environment i gets `seed + i`.
        deterministic: Whether the agent acts without chance.

    Raises:
        ConfigError: Another victim than the one that a plain policy was trained on.
    """
    _check_victim(agent, environments)
    environments.seed(seed)
    observations: Any = environments.reset()
    count = environments.num_envs
    returns, lengths, violations = np.zeros(count), np.zeros(count, np.int64), np.zeros(count, np.int64)
    ends: list[dict[str, Any] | None] = [None] * count
    masked = isinstance(agent, MaskedAgent)
    while None in ends:
        extra: Mapping[str, Any] = {"action_masks": np.stack(environments.env_method("action_masks"))} if masked else {}
        actions, _ = agent.predict(observations, deterministic=deterministic, **extra)
        observations, rewards, over, infos = environments.step(actions)
        for row in [row for row in range(count) if ends[row] is None]:
            returns[row] += rewards[row]
            lengths[row] += 1
            violations[row] += infos[row]["violation"]
            if over[row]:
                ends[row] = infos[row]
    return Judgement(returns, lengths, violations, tuple(info for info in ends if info is not None))
