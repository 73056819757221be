"""What is compared on: a victim's accuracies as contestants ask for them, and the judge's view of the masks found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from prune_env.agents.objective import certified_value
from prune_env.config import EnvConfig
from prune_env.engine.evaluator import Evaluator
from prune_env.tabular.registry import get_twin
from prune_env.tabular.regret import Yardstick
from prune_env.types import HeadMask, HeadScores

METRICS = ("gradient", "attention_variance")
"""Importance metrics that every contestant may read; the first protects heads."""

TASK_SEED = 11
"""Of the defender's task on a live victim."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One victim, ready to be searched and judged.

    Attributes:
        name: The victim's name.
        identity: SHA-256 of what is evaluated: the twin's task, or the live task.
        search: Accuracy on the split that is searched on: all that contestants see, through a budget.
        importance: What heads are worth by each metric: what they see besides.
        config: The constraint and the rules of the environment.
        certify: Accuracy on the split that nothing is chosen by.
        oracle_lfr: A diagnosis: its accuracy is the label flip rate of the masked model; None without triggered data.
        yardstick: What regret is measured by; None where not every mask is known.
    """

    name: str
    identity: str
    search: Evaluator
    importance: Mapping[str, HeadScores]
    config: EnvConfig
    certify: Evaluator
    oracle_lfr: Evaluator | None = None
    yardstick: Yardstick | None = None

    def certified(self, mask: HeadMask) -> float:
        """Returns what a mask (layers, heads) is worth on `certify`, see `prune_env.agents.objective`."""
        return certified_value(self.certify, mask, self.config)

    def lfr(self, mask: HeadMask) -> float | None:
        """Returns the label flip rate under a mask, a diagnosis; None if it is not known."""
        return None if self.oracle_lfr is None else float(self.oracle_lfr.accuracy(mask[None])[0])


@lru_cache(maxsize=64)
def tabular_problem(victim: str, mode: str = EnvConfig.on_violation) -> Problem:
    """Returns the problem of a tabular twin; a process makes each once.

    Args:
        victim: A twin's name or file.
        mode: The environment's `on_violation`.

    Raises:
        PruneEnvError: As `get_twin` says.
    """
    twin = get_twin(victim)
    config = EnvConfig(**twin.constraint, on_violation=mode)
    return Problem(
        name=twin.name,
        identity=str(twin.meta["task_sha256"]),
        search=twin.search,
        importance={name: twin.importance[name] for name in METRICS},
        config=config,
        certify=twin.certify,
        oracle_lfr=twin.oracle_lfr,
        yardstick=Yardstick(twin, config),
    )


@lru_cache(maxsize=4)
def live_problem(victim: str, data: str | None = None, mode: str = EnvConfig.on_violation) -> Problem:
    """Returns the problem of a victim whose masks are evaluated as they are asked for.

    Args:
        victim: A victim's folder, or an embedded name.
        data: Data folder of victims on real data.
        mode: The environment's `on_violation`.

    Raises:
        PruneEnvError: As `open_victim` and `build_task` say.
    """
    from prune_env.oracle import oracle_evaluator
    from prune_env.scoring import scoring_of
    from prune_env.victims.protocols import get_protocol
    from prune_env.victims.store import open_victim
    from prune_env.victims.task import build_task

    opened = open_victim(victim)
    task = build_task(opened.suspect, get_protocol(opened.manifest.protocol), TASK_SEED, data=data)
    scoring = scoring_of(task)
    return Problem(
        name=opened.name,
        identity=task.sha256,
        search=scoring.evaluator("search"),
        importance=scoring.importance(METRICS),
        config=EnvConfig(**opened.manifest.recommended, on_violation=mode),  # type: ignore[arg-type]  # a constraint
        certify=scoring.evaluator("certify"),
        oracle_lfr=oracle_evaluator(scoring, opened),
    )


def with_mode(problem: Problem, mode: str) -> Problem:
    """Returns the problem with another rule for violations; values of masks do not depend on it."""
    return replace(problem, config=replace(problem.config, on_violation=mode))
