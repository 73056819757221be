"""Who is compared: anything that spends a budget of evaluations on a problem, and may leave a policy behind."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from prune_env.agents.budget import Budget
from prune_env.comparison import CONTESTANTS
from prune_env.comparison.problem import METRICS, Seen
from prune_env.config import EnvConfig
from prune_env.errors import ConfigError, UnknownNameError
from prune_env.rollout import Episode, Policy
from prune_env.tabular.registry import SPLITS, get_twin, list_twins

KINDS = ("searcher", "random", "script", "learner", "trained")
"""A search of masks; without any knowledge; a scripted policy; an agent that trains on the victim it is judged on; one
that was trained on other victims and does not train any more."""

LEARNED = ("learner", "trained")


@dataclass(frozen=True)
class Pretraining:
    """How agents are trained before the comparison, on other victims; it costs none of a budget's evaluations.

    Attributes:
        victims: A set of tabular twins, or one twin.
        steps: Environment steps.
        folder: Of the trained agents.
        mode: The environment's `on_violation`, in training as in judgement.
    """

    victims: str
    steps: int
    folder: Path
    mode: str = EnvConfig.on_violation

    @property
    def origins(self) -> dict[str, tuple[str, str]]:
        """The twins that are trained on: name -> SHA-256 of the task, and of what the victim published.

        Raises:
            ConfigError: A set without twins.
            PruneEnvError: As `get_twin` says.
        """
        names = list_twins(self.victims) if self.victims in SPLITS else [self.victims]
        if not names:
            raise ConfigError(
                f"expected twins to train on in the set {self.victims!r}, got none; see `prune-env tabular list`, "
                "or name another set with --train-on"
            )
        twins = [get_twin(name) for name in names]
        return {twin.name: (str(twin.meta["task_sha256"]), str(twin.meta["victim_sha256"])) for twin in twins}

    @property
    def digest(self) -> str:
        """What is trained on, whatever the set is called: the SHA-256 of its tasks together.

        Raises:
            PruneEnvError: As `origins` says.
        """
        return hashlib.sha256(json.dumps(sorted(task for task, _ in self.origins.values())).encode()).hexdigest()

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides how agents are trained, as JSON values.

        Raises:
            PruneEnvError: As `origins` says.
        """
        return {
            "victims": Path(self.victims).stem,
            "count": len(self.origins),
            "digest": self.digest,
            "steps": self.steps,
            "on_violation": self.mode,
        }


@dataclass(frozen=True, eq=False)
class Left:
    """What a contestant leaves behind, beside what its budget has seen.

    Attributes:
        policy: To be judged by one deterministic episode; None for a search of masks.
        episode: An episode that is to be judged as it was played, for scripts.
        steps: Environment steps of training on this victim.
        metrics: What the policy reads.
    """

    policy: Policy | None = None
    episode: Episode | None = None
    steps: int = 0
    metrics: tuple[str, ...] = METRICS


class Contestant(Protocol):
    """A row of the comparison."""

    @property
    def kind(self) -> str:
        """One of `KINDS`."""

    @property
    def settings(self) -> dict[str, Any]:
        """What decides what it does, as JSON values: part of a record's identity."""

    def prepare(self, seed: int, before: Pretraining) -> None:
        """Trains what has to be trained before, if it is not there yet."""

    def play(self, seen: Seen, budget: Budget, seed: int, before: Pretraining) -> Left:
        """Spends a budget; returns early or lets `BudgetSpentError` out of nothing.

        Args:
            seen: Importance and rules.
            budget: What masks are asked of.
            seed: Of all chance.
            before: Where agents that were trained before are.
        """


def get_contestant(name: str) -> Contestant:
    """Returns a registered contestant.

    Raises:
        UnknownNameError: No such contestant; the message names the nearest.
    """
    if name not in CONTESTANTS:
        raise UnknownNameError("contestant", name, CONTESTANTS)
    module, attribute = CONTESTANTS[name].split(":")
    contestant: Contestant = getattr(import_module(module), attribute)
    return contestant
