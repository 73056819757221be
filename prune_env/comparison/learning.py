"""Agents that train on the victim they are judged on: every distinct mask of their training is paid for.

When the budget is spent training ends where it is; what is kept is the best mask seen, and the policy as it is then.
Steps on masks that are known cost nothing, but there are at most `STEPS` of them in all. What falls with time, learning
rates and chance, falls with the steps or the evaluations, whichever are nearer to their end.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from prune_env.agents.budget import Budget
from prune_env.agents.linear_epsilon_greedy import LinearEpsilonGreedy, LinearSettings
from prune_env.comparison.contestant import Left, Pretraining
from prune_env.comparison.problem import METRICS, Seen
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import BudgetSpentError
from prune_env.seeds import derive

STEPS = 20_000
"""Environment steps of a training at most, whatever the budget."""


@dataclass(frozen=True)
class LinearLearner:
    """The linear epsilon-greedy agent, `LinearEpsilonGreedy`; epsilon falls with the evaluations that are spent.

    Attributes:
        slots: Whether each head has a weight of its own.
        steps_an_evaluation: Steps at most for each evaluation of the budget, up to `STEPS`: most are on known masks.
        kind: "learner".
    """

    slots: bool = False
    steps_an_evaluation: int = 40
    kind: str = "learner"

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings, the defaults of the agent included."""
        return {**asdict(self), "agent": asdict(LinearSettings(metrics=METRICS)), "steps": STEPS}

    def prepare(self, seed: int, before: Pretraining) -> None:
        """Needs nothing."""

    def play(self, seen: Seen, budget: Budget, seed: int, before: Pretraining) -> Left:
        """Learns until the budget or the steps are spent."""
        size = budget.layers * budget.heads
        settings = LinearSettings(metrics=METRICS, slots=size if self.slots else 0)
        agent = LinearEpsilonGreedy(derive(seed, "linear"), settings)
        env = BertHeadPruneEnv(budget, seen.importance, seen.config)
        steps, planned = 0, min(STEPS, self.steps_an_evaluation * budget.limit)

        def progress(done: int) -> float:
            nonlocal steps
            steps = done
            return max(done / planned, budget.used / budget.limit)

        with suppress(BudgetSpentError):
            agent.learn(env, planned, derive(seed, "episodes"), progress)
        agent.epsilon = agent.settings.final_epsilon
        return Left(policy=agent, steps=steps)


@dataclass(frozen=True)
class DeepLearner:
    """An algorithm of Stable-Baselines3 with this project's defaults.

    Attributes:
        agent: A name of `prune_env.agents.sb3.AGENTS`.
        policy: "heads" or "mlp".
        evaluations_an_environment: One environment steps for so many evaluations of the budget, up to `most` of them:
            a small budget would otherwise be spent before the first update.
        most: Environments at most.
        steps_an_evaluation: Steps that a training is planned for, for each evaluation of the budget, up to `STEPS`.
        kind: "learner".
    """

    agent: str
    policy: str = "heads"
    evaluations_an_environment: int = 50
    most: int = 32
    steps_an_evaluation: int = 4
    kind: str = "learner"

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings, the defaults of the algorithm included."""
        from prune_env.agents.sb3 import settings_of

        return {
            **asdict(self),
            "algorithm": asdict(settings_of(self.agent, self.policy, {})),
            "steps": STEPS,
            "schedules": "steps or evaluations",
        }

    def prepare(self, seed: int, before: Pretraining) -> None:
        """Needs nothing."""

    def play(self, seen: Seen, budget: Budget, seed: int, before: Pretraining) -> Left:
        """Learns until the budget or the steps are spent."""
        from prune_env.agents.sb3 import make_algorithm, settings_of
        from prune_env.comparison.schedules import FadingByProgress, follow, of_steps_and

        count = max(1, min(self.most, budget.limit // self.evaluations_an_environment))
        planned = min(STEPS, max(self.steps_an_evaluation * budget.limit, count))
        settings: Any = settings_of(self.agent, self.policy, {})
        if hasattr(settings, "learning_starts"):
            settings = replace(settings, learning_starts=min(settings.learning_starts, budget.limit // 2))
        environments, own = self._environments(seen, budget, count), derive(seed, self.agent) % 2**32
        algorithm = make_algorithm(self.agent, self.policy, environments, settings, seed=own, policy_arguments={})
        environments.seed(derive(seed, "episodes") % 2**31)
        follow(algorithm, of_steps_and(budget))
        fading: list[Any] = [FadingByProgress(settings.ent_coef)] if hasattr(settings, "ent_coef") else []
        with suppress(BudgetSpentError):
            algorithm.learn(planned, callback=fading)
        algorithm.policy.set_training_mode(False)
        return Left(policy=_acting(self, algorithm.policy, seen), steps=algorithm.num_timesteps)

    def _environments(self, seen: Seen, budget: Budget, count: int) -> Any:
        from prune_env.agents.one_head import VectorOneHeadPerStep
        from prune_env.agents.sb3 import get_agent
        from prune_env.agents.vec_env import PruneVecEnv
        from prune_env.vector import BertHeadPruneVectorEnv

        made: Any = BertHeadPruneVectorEnv(budget, seen.importance, seen.config, count)
        return PruneVecEnv(VectorOneHeadPerStep(made) if get_agent(self.agent).one_head else made)


def _acting(learner: DeepLearner, policy: Any, seen: Seen) -> Any:
    """Returns a trained policy with the environment's own actions."""
    from prune_env.agents.saved import AgentCard, acting

    size = next(iter(seen.importance.values())).size
    card = AgentCard(learner.agent, learner.policy, {}, tuple(seen.importance), size, {})
    return acting(card, policy)


LINEAR = LinearLearner()
LINEAR_SLOTS = LinearLearner(slots=True)
PPO = DeepLearner("ppo")
PPO_MLP = DeepLearner("ppo", "mlp")
MASKABLE_PPO = DeepLearner("maskable-ppo")
A2C = DeepLearner("a2c")
DQN = DeepLearner("dqn")
