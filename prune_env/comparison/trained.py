"""Agents that were trained on other victims: on the one they are judged on they act, and do not learn.

The first episode is without chance. Where the budget allows more, episodes with chance follow, and the best mask that
was seen counts beside the first episode's own.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym

import prune_env  # noqa: F401 - registers the ids
from prune_env.agents.budget import Budget
from prune_env.agents.linear_epsilon_greedy import LinearEpsilonGreedy, LinearSettings
from prune_env.comparison.contestant import Left, Pretraining
from prune_env.comparison.problem import Seen
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import BudgetSpentError, CheckpointError
from prune_env.rollout import Policy, rollout
from prune_env.seeds import derive
from prune_env.tabular.environment import EVERY_METRIC, TABULAR_ID

IDLE = 50
"""Episodes with chance in a row that ask for nothing new, after which there are no more."""


@dataclass(frozen=True)
class Trained:
    """An agent that is trained before the comparison, once a seed.

    Attributes:
        agent: "linear", or a name of `prune_env.agents.sb3.AGENTS` with the policy over the set of heads.
        kind: "trained".
    """

    agent: str
    kind: str = "trained"

    @property
    def settings(self) -> dict[str, Any]:
        """The agent and its settings; how it is trained stands in the record beside them."""
        if self.agent == "linear":
            return {"agent": self.agent, "settings": asdict(LinearSettings(metrics=EVERY_METRIC))}
        from prune_env.agents.family import FamilyTraining
        from prune_env.agents.sb3 import settings_of

        of = FamilyTraining.of(self.agent)
        algorithm = asdict(settings_of(self.agent, "heads", of.changes))
        of_policy = {"policy": "heads", "arguments": dict(of.policy_arguments), "metric_noise": of.metric_noise}
        return {"agent": self.agent, **of_policy, "algorithm": algorithm}

    def folder(self, seed: int, before: Pretraining) -> Path:
        """Returns where the agent of a seed is."""
        name = f"{self.agent}-{Path(before.victims).stem}-{before.digest[:12]}-{before.mode}-{before.steps}-s{seed}"
        return before.folder / name

    def prepare(self, seed: int, before: Pretraining) -> None:
        """Trains the agent of a seed; a training that was cut off goes on, a finished one is left as it is."""
        folder = self.folder(seed, before)
        if self.agent == "linear":
            self._prepare_linear(folder, seed, before)
            return
        from prune_env.agents.environments import yardsticks_of
        from prune_env.agents.family import FamilyTraining
        from prune_env.agents.train import train

        settings = replace(FamilyTraining.of(self.agent, before.steps, before.mode), train=before.victims)
        training = settings.training(seed)
        train(training, folder, yardsticks_of(training.environment))

    def _prepare_linear(self, folder: Path, seed: int, before: Pretraining) -> None:
        path = folder / "agent.json"
        if path.is_file():
            _load_linear(path, 0)
            return
        folder.mkdir(parents=True, exist_ok=True)
        arguments: dict[str, Any] = {"metrics": list(EVERY_METRIC), "on_violation": before.mode}
        env: Any = gym.make(TABULAR_ID, victim=before.victims, **arguments).unwrapped
        agent = LinearEpsilonGreedy(derive(seed, "linear"), LinearSettings(metrics=EVERY_METRIC))
        agent.learn(env, before.steps, derive(seed, "episodes"))
        agent.save(path)

    def load(self, seed: int, before: Pretraining) -> Policy:
        """Returns the agent of a seed.

        Raises:
            CheckpointError: It was not trained yet, or with other settings.
        """
        folder = self.folder(seed, before)
        if self.agent == "linear":
            return _load_linear(folder / "agent.json", derive(seed, "acting"))
        from prune_env.agents.saved import load_agent

        return load_agent(folder, derive(seed, "acting"))

    def play(self, seen: Seen, budget: Budget, seed: int, before: Pretraining) -> Left:
        """Plays one episode without chance, then others with chance while something new comes up."""
        policy = self.load(seed, before)
        env = BertHeadPruneEnv(budget, seen.by(EVERY_METRIC), seen.config)
        with suppress(BudgetSpentError):
            rollout(env, policy, derive(seed, "episode"), deterministic=True)
            idle, number = 0, 0
            while not budget.spent and idle < IDLE:
                known, number = budget.used, number + 1
                rollout(env, policy, derive(seed, f"episode:{number}"))
                idle = 0 if budget.used > known else idle + 1
        return Left(policy=policy, metrics=EVERY_METRIC)


def _load_linear(path: Path, seed: int) -> LinearEpsilonGreedy:
    """Reads a linear agent after checking that it has the settings of this version.

    Raises:
        CheckpointError: None there, or one with other settings.
    """
    agent = LinearEpsilonGreedy.load(path, seed)
    if agent.settings != LinearSettings(metrics=EVERY_METRIC):
        raise CheckpointError(f"expected an agent of the present settings in {path}, got {agent.settings}; delete it")
    return agent


LINEAR = Trained("linear")
PPO = Trained("ppo")
MASKABLE_PPO = Trained("maskable-ppo")
DQN = Trained("dqn")
