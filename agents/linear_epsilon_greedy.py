"""The paper's epsilon-greedy agent, but one that learns: a value for each head, linear in features, from rewards.

The value of pruning a set of heads S in a state is the sum over its heads of w . f(state, head), in heads (rewards are
multiplied by n), and stopping is worth 0. In each step the agent takes the best group of at most k heads, or with
probability epsilon a random one; it stops where no head is worth anything. The weights follow the one-step error of
Q-learning by a normalised semi-gradient,

    error = n * reward + discount * max over groups of value(next state) - value(state, S)
    w    += learning_rate * error * F / |F|^2,     F = sum over S of f(state, head)

and epsilon falls linearly while it learns. Before the first reward the weights are the paper's ranking: the lower a
head's attention variance, the sooner it goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prune_env.agents.head_features import feature_names, head_features
from prune_env.cache import write_text
from prune_env.errors import CheckpointError, ConfigError
from prune_env.observation import Observation
from prune_env.scripted import Action, choose, group_size, prune

SCHEMA = 1
_FIRST_METRIC = "attention_variance"


@dataclass(frozen=True)
class LinearSettings:
    """How the agent acts and learns.

    Attributes:
        epsilon: Chance of a random group at first, in [0, 1].
        final_epsilon: At the end of the learning, and from then on.
        learning_rate: Share of the error that one update mends, in (0, 1].
        discount: Of what comes after. 0 values a head by its own step, which never leads astray where more pruning can
            only follow from less; 1 is the environment's own return, of which linear values give a poor account.
        group: Heads a step; None takes the paper's group, 10 of 144, scaled.
        metrics: Importance metrics it observes.
        slots: Heads with a feature of their own, for a model that it is trained on and judged on alike; 0 for weights
            that fit any model.
    """

    epsilon: float = 0.5
    final_epsilon: float = 0.02
    learning_rate: float = 0.1
    discount: float = 0.0
    group: int | None = None
    metrics: tuple[str, ...] = ("attention_variance", "gradient")
    slots: int = 0

    def __post_init__(self) -> None:
        """Checks the numbers."""
        chances = (self.epsilon, self.final_epsilon, self.discount, self.learning_rate)
        if not all(0 <= value <= 1 for value in chances) or self.learning_rate == 0:
            raise ConfigError(
                f"expected epsilons, discount and learning_rate in [0, 1], the last above 0, got {chances}"
            )
        if not self.metrics or self.slots < 0 or (self.group is not None and self.group < 1):
            raise ConfigError(
                f"expected a metric, slots >= 0 and a group of at least one head, got {self.metrics}, {self.slots} and "
                f"{self.group}"
            )


class LinearEpsilonGreedy:
    """Epsilon-greedy over per-head values that are linear in features of heads.

    Attributes:
        settings: How it acts and learns.
        weights: float64 (features,), in the order of `feature_names`.
        epsilon: Its present chance of a random group.
    """

    def __init__(
        self, seed: int, settings: LinearSettings | None = None, weights: NDArray[np.float64] | None = None
    ) -> None:
        """Starts from the ranking by variance, or from given weights.

        Raises:
            ConfigError: Weights of another length, or not finite.
        """
        self.settings = LinearSettings() if settings is None else settings
        names = feature_names(self.settings.metrics, self.settings.slots)
        self.weights = _by_variance(names, self.settings.metrics) if weights is None else weights.astype(np.float64)
        if self.weights.shape != (len(names),) or not np.isfinite(self.weights).all():
            raise ConfigError(f"expected {len(names)} finite weights, got an array of shape {self.weights.shape}")
        self.epsilon = self.settings.epsilon
        self._rng = np.random.default_rng(seed)

    def values(self, observation: Observation) -> NDArray[np.float64]:
        """Returns what pruning each slot's head is worth, in heads, float64 (slots,)."""
        return self._features(observation) @ self.weights

    def predict(
        self, observation: Observation, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Action, Any]:
        """Returns the best group, or stop where no head is worth anything; at times a random group.

        Args:
            observation: One observation, with the settings' metrics.
            state: Handed back.
            episode_start: Not read.
            deterministic: Whether never to explore.

        Raises:
            ConfigError: An observation without one of the metrics, or of another size than the settings' slots.
        """
        group = self._group(observation, self._features(observation), not deterministic)
        return prune(observation, group, stop=not group), state

    def learn(
        self,
        env: gym.Env[Observation, Any],
        steps: int,
        seed: int,
        progress: Callable[[int], float] | None = None,
    ) -> None:
        """Plays episodes and learns from every step, while epsilon falls.

        Args:
            env: `BertHeadPrune-v0` or its tabular twin, on one victim or many.
            steps: Steps in all.
            seed: Of the first reset.
            progress: Steps so far -> how far the learning is, in [0, 1], which epsilon falls by; None: by the steps. It
                is asked before each step.
        """
        share = progress or (lambda number: number / max(steps - 1, 1))
        observation, _ = env.reset(seed=seed)
        for number in range(steps):
            fallen = min(share(number), 1.0) * (self.settings.final_epsilon - self.settings.epsilon)
            self.epsilon = self.settings.epsilon + fallen
            observation = self._step(env, observation)
        self.epsilon = self.settings.final_epsilon

    def _step(self, env: gym.Env[Observation, Any], observation: Observation) -> Observation:
        """Acts once and learns from what comes; returns the next observation, of a new episode where one ended."""
        features = self._features(observation)
        group = self._group(observation, features, explore=True)
        after, reward, terminated, truncated, _ = env.step(prune(observation, group, stop=not group))
        if group:
            size = int(observation["valid"].sum())
            rest = 0.0 if terminated else self._best(after)
            self._update(features[group].sum(axis=0), float(reward) * size + self.settings.discount * rest)
        if terminated or truncated:
            after, _ = env.reset()
        return after

    def _update(self, features: NDArray[np.float64], target: float) -> None:
        error = target - float(features @ self.weights)
        self.weights += self.settings.learning_rate * error / float(features @ features) * features

    def _best(self, observation: Observation) -> float:
        """Returns what the best group is worth in a state, 0 where stopping is best."""
        features = self._features(observation)
        group = self._group(observation, features, explore=False)
        return float((features[group] @ self.weights).sum())

    def _group(self, observation: Observation, features: NDArray[np.float64], explore: bool) -> list[int]:
        limit = group_size(observation) if self.settings.group is None else self.settings.group
        if explore and self._rng.random() < self.epsilon:
            order = self._rng.permutation(len(features))
            return choose(observation, order, int(self._rng.integers(1, limit + 1)))
        values = features @ self.weights
        order = np.argsort(-values, kind="stable")
        return choose(observation, order[values[order] > 0], limit)

    def _features(self, observation: Observation) -> NDArray[np.float64]:
        missing = [name for name in self.settings.metrics if f"importance_{name}" not in observation]
        if missing or (self.settings.slots and self.settings.slots != len(observation["mask"])):
            raise ConfigError(
                f"expected an observation of {self.settings.slots or 'any'} slots with the importance "
                f"{', '.join(self.settings.metrics)}, got {len(observation['mask'])} slots and no {missing}; "
                "make the environment with these metrics"
            )
        return head_features(observation, self.settings.metrics, self.settings.slots)

    def save(self, path: Path) -> None:
        """Writes settings and weights as JSON.

        Raises:
            OutputError: A path that cannot be written.
        """
        content = {"schema": SCHEMA, "settings": asdict(self.settings), "weights": self.named_weights()}
        write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def named_weights(self) -> dict[str, float]:
        """Returns the weights by the names of their features."""
        names = feature_names(self.settings.metrics, self.settings.slots)
        return dict(zip(names, self.weights.tolist(), strict=True))

    @classmethod
    def load(cls, path: Path, seed: int = 0) -> LinearEpsilonGreedy:
        """Reads what `save` wrote; it explores as at the end of its learning.

        Raises:
            CheckpointError: No such file, or none of this version.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ConfigError(f"schema {content['schema']} instead of {SCHEMA}")
            agent = _from_json(cls, content["settings"], content["weights"], seed)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ConfigError) as error:
            raise CheckpointError(f"expected a saved linear agent in {path}: {error}; train it anew") from error
        agent.epsilon = agent.settings.final_epsilon
        return agent


def _from_json(
    kind: type[LinearEpsilonGreedy], settings: Mapping[str, Any], weights: Mapping[str, float], seed: int
) -> LinearEpsilonGreedy:
    found = LinearSettings(**{**settings, "metrics": tuple(settings["metrics"])})
    names = feature_names(found.metrics, found.slots)
    return kind(seed, found, np.array([weights[name] for name in names], dtype=np.float64))


def _by_variance(names: tuple[str, ...], metrics: tuple[str, ...]) -> NDArray[np.float64]:
    """Returns weights that make a head worth 1 at the lowest importance and 0 at the highest, 1 less once it failed."""
    first = _FIRST_METRIC if _FIRST_METRIC in metrics else metrics[0]
    start = {"one": 1.0, first: -1.0, "failed": -1.0}
    return np.array([start.get(name, 0.0) for name in names])
