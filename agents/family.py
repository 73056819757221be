"""Trained on some victims, judged on others: does what was learned hold for models that were never seen?

result = train_on_family(Path("runs/family"), seed=0)
print(result.regret)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.agents.environments import TABULAR_ID, EnvChoice, yardsticks_of
from prune_env.agents.judge import judge
from prune_env.agents.saved import SavedAgent, load_agent
from prune_env.agents.train import OnStep, train
from prune_env.agents.training import Trained, Training
from prune_env.errors import ConfigError
from prune_env.seeds import derive
from prune_env.tabular.registry import list_twins

_EPISODES = 4
"""On each victim: without chance they differ only where more heads are asked for than a step may prune."""


@dataclass(frozen=True)
class FamilyTraining:
    """How an agent is trained on a family of twins; its rollouts are longer than on one victim, and passed less often.

    Attributes:
        agent: A name of `prune_env.agents.sb3.AGENTS`.
        steps: Environment steps, over all victims together.
        n_envs: Environments that step at once, each on a victim of its own.
        changes: Settings of the agent that are not the defaults.
        policy_arguments: Of the policy over the set of heads.
        environment: Arguments of the environment, in training and judgement alike.
        train: The set of twins to train on.
        test: The set to judge on.
    """

    agent: str = "ppo"
    steps: int = 200_000
    n_envs: int = 64
    changes: Mapping[str, Any] = field(default_factory=lambda: {"n_epochs": 4, "minibatches": 8})
    policy_arguments: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    train: str = "family-train"
    test: str = "family-test"

    def training(self, seed: int) -> Training:
        """Returns the training with this seed; a leg is a tenth of it."""
        return Training(
            self.agent,
            "heads",
            EnvChoice(self.train, TABULAR_ID, self.environment),
            steps=self.steps,
            n_envs=self.n_envs,
            seed=seed,
            changes=self.changes,
            policy_arguments=self.policy_arguments,
            leg=max(1, self.steps // 10),
            episodes=64,
        )


@dataclass(frozen=True)
class OnVictim:
    """How an agent does on one victim: means over its episodes.

    Attributes:
        victim: The twin's name.
        regret: Normalised regret of the return.
        certified_regret: Of the final mask, on sentences that no search has seen.
        evaluations: Distinct masks asked for, the full one included.
        pruned_fraction: Of the final mask.
    """

    victim: str
    regret: float
    certified_regret: float
    evaluations: float
    pruned_fraction: float


@dataclass(frozen=True)
class FamilyResult:
    """What came of a training on a family.

    Attributes:
        trained: The training.
        test: How its best agent does on each victim that it has never seen.
    """

    trained: Trained
    test: tuple[OnVictim, ...]

    @property
    def regret(self) -> float:
        """Mean normalised regret over the victims of the test set."""
        return float(np.mean([one.regret for one in self.test]))


def train_on_family(
    folder: Path, seed: int, settings: FamilyTraining | None = None, report: OnStep | None = None
) -> FamilyResult:
    """Trains a policy over the set of heads on one set of twins, and judges it without chance on another.

    The agent that is judged is the one that did best on the train set; nothing of the test set decides anything. A
    training in the same folder goes on, and a finished one is judged again.

    Args:
        folder: Of everything that is kept.
        seed: Of the training and the judgement.
        settings: How; the defaults if None.
        report: Told (what, steps done, steps in all).

    Raises:
        ConfigError: A set without twins.
        PruneEnvError: As `train` says.
    """
    settings = FamilyTraining() if settings is None else settings
    victims = list_twins(settings.test)
    if not victims:
        raise ConfigError(f"expected twins in the set {settings.test!r}, got none; prune-env tabular list shows all")
    training = settings.training(seed)
    trained = train(training, folder, yardsticks_of(training.environment), report)
    return FamilyResult(trained, judge_on(load_agent(folder), victims, seed, settings.environment))


def judge_on(
    agent: SavedAgent, victims: Iterable[str], seed: int, environment: Mapping[str, Any] | None = None
) -> tuple[OnVictim, ...]:
    """Returns how an agent does without chance on each of these twins.

    Args:
        agent: With a policy over the set of heads, or one of the twins' size.
        victims: Names or files of twins.
        seed: Of the episodes.
        environment: Arguments of the environment.
    """
    return tuple(_judge_on(agent, victim, seed, dict(environment or {})) for victim in victims)


def _judge_on(agent: SavedAgent, victim: str, seed: int, environment: dict[str, Any]) -> OnVictim:
    choice = EnvChoice(victim, TABULAR_ID, {"metrics": list(agent.card.metrics), **environment})
    yardsticks = yardsticks_of(choice)
    found = judge(agent, choice.make(_EPISODES), derive(seed, f"family:{victim}") % 2**32, deterministic=True)
    regrets = {} if yardsticks is None else found.regrets(yardsticks, victim)
    return OnVictim(
        victim, **regrets, evaluations=found.mean("evaluations"), pruned_fraction=found.mean("pruned_fraction")
    )
