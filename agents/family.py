"""Trained on some victims, judged on others: does what was learned hold for models that were never seen?

result = train_on_family(Path("runs/family"), seed=0)
print(result.regret)

`train_family` and `judge_on` are its halves, for who judges in another way or judges an agent of another training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.agents.environments import LIVE_ONLY, EnvChoice, exact_yardsticks, yardsticks_of
from prune_env.agents.judge import judge
from prune_env.agents.saved import SavedAgent, load_agent
from prune_env.agents.sb3 import get_agent
from prune_env.agents.train import OnStep, train
from prune_env.agents.training import Trained, Training
from prune_env.config import EnvConfig
from prune_env.errors import ConfigError
from prune_env.seeds import derive
from prune_env.tabular.environment import EVERY_METRIC, TABULAR_ID
from prune_env.tabular.registry import SPLITS, get_twin, list_twins

_EPISODES = 4
"""On each victim: without chance they differ only where more heads are asked for than a step may prune."""


@dataclass(frozen=True)
class FamilyTraining:
    """How an agent is trained on a family of twins; its rollouts are longer than on one victim, and passed less often.

    The network has no attention between heads by default, and importance is noisy: on victims of seven attackers that
    were held out of the train set agents did worse than on the others, with noise of 0.2 less so in one training of
    three, and in the only one without attention (`agents/results/family-tuning.jsonl`).

    Attributes:
        agent: A name of `prune_env.agents.sb3.AGENTS`.
        steps: Environment steps, over all victims together.
        n_envs: Environments that step at once, each on a victim of its own.
        changes: Settings of the agent that are not the defaults.
        policy_arguments: Of the policy over the set of heads.
        environment: Arguments of the environment, `on_violation` among them, in training and judgement alike.
        metric_noise: On importance while training, see `prune_env.agents.noise`.
        train: The set of twins to train on.
        test: The set to judge on; no victim is in both.
    """

    agent: str = "ppo"
    steps: int = 400_000
    n_envs: int = 256
    changes: Mapping[str, Any] = field(default_factory=lambda: {"n_epochs": 4, "minibatches": 8})
    policy_arguments: Mapping[str, Any] = field(default_factory=lambda: {"one_head": True, "blocks": 0, "width": 64})
    environment: Mapping[str, Any] = field(default_factory=lambda: {"metrics": list(EVERY_METRIC)})
    metric_noise: float = 0.2
    train: str = "family-train"
    test: str = "family-test"

    @classmethod
    def of(cls, agent: str, steps: int | None = None, on_violation: str = EnvConfig.on_violation) -> FamilyTraining:
        """Returns the training of any agent: what the defaults change of PPO it changes where it has it, too.

        Args:
            agent: A name of `prune_env.agents.sb3.AGENTS`.
            steps: Environment steps; None for the default.
            on_violation: Of the environment.

        Raises:
            UnknownNameError: No such agent.
        """
        kind, plain = get_agent(agent), cls()
        known = {name: value for name, value in plain.changes.items() if hasattr(kind.settings, name)}
        return replace(
            plain,
            agent=agent,
            steps=plain.steps if steps is None else steps,
            changes=known,
            policy_arguments={
                name: value for name, value in plain.policy_arguments.items() if name != "one_head" or not kind.one_head
            },
            environment={**plain.environment, "on_violation": on_violation},
        )

    def training(self, seed: int) -> Training:
        """Returns the training with this seed; a leg is a tenth of it."""
        return Training(
            self.agent,
            "heads",
            EnvChoice(self.train, TABULAR_ID, self.environment, metric_noise=self.metric_noise),
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
        PruneEnvError: As `train_family` says.
    """
    settings = FamilyTraining() if settings is None else settings
    trained = train_family(folder, seed, settings, report)
    return FamilyResult(trained, judge_on(load_agent(folder), list_twins(settings.test), seed, settings.environment))


def train_family(folder: Path, seed: int, settings: FamilyTraining, report: OnStep | None = None) -> Trained:
    """Trains a policy over the set of heads on the train set; `load_agent(folder)` is the agent that did best there.

    Args:
        folder: Of everything that is kept.
        seed: Of the training.
        settings: How.
        report: Told (what, steps done, steps in all).

    Raises:
        ConfigError: A test set without twins, or a victim that is in both sets.
        PruneEnvError: As `train` says.
    """
    _check_sets(settings)
    training = settings.training(seed)
    return train(training, folder, yardsticks_of(training.environment), report)


def _check_sets(settings: FamilyTraining) -> None:
    """Compares victims, not names: a copy under another name is the same model."""
    test = _victims_of(settings.test)
    if not test:
        raise ConfigError(f"expected twins in the set {settings.test!r}, got none; prune-env tabular list shows all")
    trained_on = _victims_of(settings.train)
    shared = sorted(test[one] for one in test.keys() & trained_on.keys())
    if shared:
        raise ConfigError(
            f"expected sets without a common victim, got {', '.join(shared)} in {settings.train!r} and "
            f"{settings.test!r}; judge on a set that was not trained on"
        )


def _victims_of(split: str) -> dict[str, str]:
    """Returns the names of the twins of a set, or of one twin, by the SHA-256 of their victims."""
    names = list_twins(split) if split in SPLITS else [split]
    return {get_twin(name).meta["victim_sha256"]: name for name in names}


def judge_on(
    agent: SavedAgent, victims: Iterable[str], seed: int, environment: Mapping[str, Any] | None = None
) -> tuple[OnVictim, ...]:
    """Returns how an agent does without chance on each of these twins.

    Args:
        agent: With a policy over the set of heads, or one of the twins' size.
        victims: Names or files of twins.
        seed: Of the episodes.
        environment: Arguments of the environment; None takes those that the agent was trained with, as far as
            a table knows them.
    """
    trained_with = agent.card.training.get("environment", {}).get("arguments", {})
    given = {name: value for name, value in trained_with.items() if name not in LIVE_ONLY}
    arguments = dict(given if environment is None else environment)
    return tuple(_judge_on(agent, victim, seed, arguments) for victim in victims)


def _judge_on(agent: SavedAgent, victim: str, seed: int, environment: dict[str, Any]) -> OnVictim:
    choice = EnvChoice(victim, TABULAR_ID, {"metrics": list(agent.card.metrics), **environment})
    found = judge(agent, choice.make(_EPISODES), derive(seed, f"family:{victim}") % 2**32, deterministic=True)
    return OnVictim(
        victim,
        **found.regrets(exact_yardsticks(choice), victim),
        evaluations=found.mean("evaluations"),
        pruned_fraction=found.mean("pruned_fraction"),
    )
