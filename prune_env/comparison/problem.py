"""What is compared on: a victim's accuracies as contestants ask for them, and the judge's view of the masks found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from prune_env.agents.searchers.scripts import script_metrics
from prune_env.config import DEFAULT_METRICS, EnvConfig
from prune_env.engine.evaluator import Evaluator
from prune_env.tabular.certified import Certifier
from prune_env.tabular.environment import EVERY_METRIC
from prune_env.tabular.registry import get_twin
from prune_env.tabular.regret import Yardstick
from prune_env.types import HeadMask, HeadScores

if TYPE_CHECKING:
    from prune_env.comparison.defended import Defences
    from prune_env.victims.task import Task

METRICS = DEFAULT_METRICS
"""Importance metrics that agents and searchers may read; the first protects heads. Scripts read their own, and agents
that were trained on other victims `EVERY_METRIC`."""

TASK_SEED = 11
"""Of the defender's task on a live victim."""

NOT_BUILT = "task not built"


@dataclass(frozen=True)
class Subject:
    """What is known of a victim before anything is evaluated.

    Attributes:
        name: The victim's name.
        identity: SHA-256 of the defender's task: scoring model and sentences. Of a live victim whose task was not built
            yet, of which nothing can have been evaluated, a name for that.
        victim_sha256: Of what the victim published.
        size: Heads in all.
        config: The constraint and the rules of the environment.
    """

    name: str
    identity: str
    victim_sha256: str
    size: int
    config: EnvConfig


@dataclass(frozen=True, eq=False)
class Seen:
    """What a contestant sees of a victim beside its budget, and all it sees.

    Attributes:
        importance: What heads are worth by each of `METRICS`: for agents and searchers.
        scores: The same by `EVERY_METRIC` and those that some script ranks by: for scripts and trained agents.
        config: The constraint and the rules of the environment.
    """

    importance: Mapping[str, HeadScores]
    scores: Mapping[str, HeadScores]
    config: EnvConfig

    @classmethod
    def of(cls, scores: Mapping[str, HeadScores], config: EnvConfig) -> Seen:
        """Picks what agents see out of what is known."""
        return cls({name: scores[name] for name in METRICS}, dict(scores), config)

    def by(self, metrics: Sequence[str]) -> dict[str, HeadScores]:
        """Returns what heads are worth by these metrics, in this order."""
        return {name: self.scores[name] for name in metrics}


@dataclass(frozen=True, eq=False)
class Problem:
    """One victim, ready to be searched and judged: the judge's view, of which contestants get `seen` alone.

    Attributes:
        subject: The victim.
        search: Accuracy on the split that is searched on; contestants ask it through a budget.
        seen: What they see besides.
        certify: Accuracy on the split that nothing is chosen by.
        oracle_lfr: A diagnosis: its accuracy is the label flip rate of the masked model; None without triggered data.
        yardstick: What regret is measured by; None where not every mask is known.
        defences: What comes of masks when the defence goes on to its end, a diagnosis; None of a table, which has no
            model.
    """

    subject: Subject
    search: Evaluator
    seen: Seen
    certify: Evaluator
    oracle_lfr: Evaluator | None = None
    yardstick: Yardstick | None = None
    defences: Defences | None = None

    @property
    def config(self) -> EnvConfig:
        """The constraint and the rules of the environment."""
        return self.subject.config

    def certified(self, mask: HeadMask) -> float:
        """Returns what a mask (layers, heads) is worth on `certify`, see `prune_env.tabular.certified`."""
        return self._certifier.value(mask)

    @cached_property
    def _certifier(self) -> Certifier:
        return Certifier(self.certify, self.config)

    def lfr(self, mask: HeadMask) -> float | None:
        """Returns the label flip rate under a mask, a diagnosis; None if it is not known."""
        return None if self.oracle_lfr is None else float(self.oracle_lfr.accuracy(mask[None])[0])


def subject_of(victim: str, live: bool, mode: str = EnvConfig.on_violation, data: str | None = None) -> Subject:
    """Returns what is known of a victim, without a model being loaded.

    Args:
        victim: A twin's name or file; a victim's folder or embedded name, if it is live.
        live: Whether its masks are evaluated as they are asked for.
        mode: The environment's `on_violation`.
        data: Data folder of live victims on real data.

    Raises:
        PruneEnvError: As `get_twin` and `open_victim` say.
    """
    if not live:
        twin = get_twin(victim)
        config = EnvConfig(**twin.constraint, on_violation=mode)  # type: ignore[arg-type]  # a constraint has one name
        task, published = (str(twin.meta[name]) for name in ("task_sha256", "victim_sha256"))
        return Subject(twin.name, task, published, twin.layers * twin.heads, config)
    from prune_env.victims.checkpoint_folder import head_grid
    from prune_env.victims.protocols import get_protocol
    from prune_env.victims.store import open_victim
    from prune_env.victims.task import is_built

    opened = open_victim(victim)
    built = is_built(opened.suspect, get_protocol(opened.manifest.protocol), TASK_SEED, data=data)
    task = _task(victim, data).sha256 if built else NOT_BUILT
    layers, heads = head_grid(opened.suspect.folder) or (0, 0)
    config = EnvConfig(**opened.manifest.recommended, on_violation=mode)  # type: ignore[arg-type]  # one constraint
    return Subject(opened.name, task, opened.manifest.sha256, layers * heads, config)


@lru_cache(maxsize=64)
def tabular_problem(victim: str, mode: str = EnvConfig.on_violation) -> Problem:
    """Returns the problem of a tabular twin; a process makes each once.

    Args:
        victim: A twin's name or file.
        mode: The environment's `on_violation`.

    Raises:
        PruneEnvError: As `get_twin` says.
    """
    twin, subject = get_twin(victim), subject_of(victim, live=False, mode=mode)
    return Problem(
        subject,
        search=twin.search,
        seen=Seen.of(twin.importance, subject.config),
        certify=twin.certify,
        oracle_lfr=twin.oracle_lfr,
        yardstick=Yardstick(twin, subject.config),
    )


@lru_cache(maxsize=4)
def live_problem(
    victim: str,
    data: str | None = None,
    mode: str = EnvConfig.on_violation,
    device: str = "cpu",
    dtype: str = "float32",
) -> Problem:
    """Returns the problem of a victim whose masks are evaluated as they are asked for.

    Args:
        victim: A victim's folder, or an embedded name.
        data: Data folder of victims on real data.
        mode: The environment's `on_violation`.
        device: Where its masks are evaluated.
        dtype: Arithmetic of the search; importance, `certify` and the diagnosis are float32 whatever it is.

    Raises:
        PruneEnvError: As `open_victim` and `build_task` say.
        DeviceError: A device or dtype that is not there.
    """
    from prune_env.comparison.defended import Defences
    from prune_env.oracle import oracle_evaluator
    from prune_env.scoring import scoring_of
    from prune_env.victims.store import open_victim

    task, opened = _task(victim, data, device), open_victim(victim)
    scoring = scoring_of(task, device)
    subject = subject_of(victim, live=True, mode=mode, data=data)
    return Problem(
        subject,
        search=scoring_of(task, device, dtype).evaluator("search"),
        seen=Seen.of(scoring.importance(tuple(dict.fromkeys((*EVERY_METRIC, *script_metrics())))), subject.config),
        certify=scoring.evaluator("certify"),
        oracle_lfr=oracle_evaluator(scoring, opened),
        defences=Defences(task, opened, device),
    )


@lru_cache(maxsize=16)
def _task(victim: str, data: str | None, device: str = "cpu") -> Task:
    """Returns the defender's task on a live victim, built if it is not there yet; a process opens each once."""
    from prune_env.victims.protocols import get_protocol
    from prune_env.victims.store import open_victim
    from prune_env.victims.task import build_task

    opened = open_victim(victim)
    return build_task(opened.suspect, get_protocol(opened.manifest.protocol), TASK_SEED, data=data, device=device)
