"""The search for a mask: a method's policy plays its episodes in the environment on a task, on clean data alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from prune_env.config import EnvConfig
from prune_env.engine.evaluator import Evaluator
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.methods import Method, Oracle, PolicyContext
from prune_env.observation import Observation
from prune_env.recovery import Reference
from prune_env.rollout import Episode, rollout
from prune_env.scoring import IMPORTANCE_SENTENCES, Scoring, scoring_of
from prune_env.seeds import derive
from prune_env.types import HeadMask, HeadScores, full_mask, mask_from_text
from prune_env.victims.task import Task

NO_CONSTRAINT = 1e-6
"""Threshold of unconstrained controls: any mask meets it."""


@dataclass(frozen=True)
class Search:
    """How masks are searched.

    Attributes:
        constraint: {"threshold": ...} or {"max_accuracy_drop": ...}.
        device: Where masks are evaluated.
        dtype: Arithmetic of the evaluation.
    """

    constraint: Mapping[str, float]
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True)
class Found:
    """A mask and how it was found.

    Attributes:
        mask: The head mask, (layers, heads).
        importance: What the policy observed, by metric, (layers, heads); empty where no policy chose or read it.
        trace: The episode's steps, as JSON values.
        evaluations: Distinct masks asked for.
        sentence_passes: Sentences it asked to be sent through the model for importance and search, cached or not.
        search_accuracy: Of this mask on `search`, after a short recovery where the method searches so.
        threshold: Accuracy the search had to hold; None where nothing held it.
        certify_accuracy: Of this mask on `certify`, measured once, at the end.
        deviation: What the arithmetic changes against float32 on `search`, for this mask; None in float32.
        seconds: Wall time of importance and search; importance that an earlier process has kept takes none.
    """

    mask: HeadMask
    importance: dict[str, HeadScores]
    trace: list[dict[str, Any]]
    evaluations: int
    sentence_passes: int
    search_accuracy: float
    threshold: float | None
    certify_accuracy: float
    deviation: dict[str, float] | None
    seconds: float


@dataclass(frozen=True)
class Aids:
    """What some methods are given beyond clean data; their regime says so, and all others get none of it.

    Attributes:
        reference: Loads the clean pre-trained encoder (regime "reference").
        oracle: Makes, of the scoring model, what measures the backdoor under a mask (regime "oracle").
    """

    reference: Reference | None = None
    oracle: Callable[[Scoring], Oracle] | None = None


NO_AIDS = Aids()


def environment_config(method: Method, search: Search) -> EnvConfig:
    """Returns the environment's settings for a method: the run's constraint or its own, and what belongs to it."""
    constraint: Mapping[str, Any] = method.constraint or search.constraint
    if method.unconstrained:
        constraint = {"threshold": NO_CONSTRAINT}
    return EnvConfig(**constraint, **method.environment)


def search_config(method: Method, search: Search) -> dict[str, Any]:
    """Returns everything that decides a search, as JSON values."""
    if method.policy is None:
        return {}
    return {
        "environment": asdict(environment_config(method, search)),
        "metrics": list(method.metrics),
        "importance_sentences": IMPORTANCE_SENTENCES,
        "matches": method.matches,
        **({} if method.episodes == 1 else {"episodes": method.episodes}),
        **({"best": True} if method.best else {}),
        **({} if method.recover_on is None else {"recover_on": method.recover_on}),
    }


def find_mask(
    task: Task, method: Method, search: Search, heads_to_prune: int | None = None, aids: Aids = NO_AIDS
) -> Found:
    """Runs a method's policy in the environment on a task.

    Args:
        task: What the defender has.
        method: Whose policy chooses.
        search: Constraint, device, dtype.
        heads_to_prune: For controls of matched size.
        aids: What methods of other regimes than "clean_only" need.

    Raises:
        ConfigError: A method of the regime "oracle" without its aid, or one that knows another victim alone.
    """
    method.check_victim(task.suspect.sha256, task.suspect.name)
    started = time.perf_counter()
    scoring = scoring_of(task, search.device, search.dtype)
    evaluator, certify = scoring.recovered(method.recover_on), scoring.evaluator("certify")
    mask, trace, evaluations, passes = full_mask(evaluator.layers, evaluator.heads), [], 0, 0
    importance: dict[str, HeadScores] = {}
    threshold = None
    if method.policy is not None:
        importance = scoring.importance(method.metrics) if method.reads_importance else {}
        config = environment_config(method, search)
        env = BertHeadPruneEnv(evaluator, importance or _alike(method, mask), config)
        threshold = None if method.unconstrained else _threshold(config, evaluator)
        oracle = _oracle(method, scoring, aids)
        for number in range(method.episodes):
            episode = play(env, method, task.seed, heads_to_prune=heads_to_prune, oracle=oracle, number=number)
            # Each episode asks for the full mask again; it is one distinct mask in all.
            before = max(evaluations - 1, 0)
            of = {"episode": number} if method.best else {}
            trace += [{**step, **of, "evaluations": before + step["evaluations"]} for step in episode.trace]
            mask, evaluations = episode.mask, before + episode.evaluations
        if method.best:
            mask = mask_from_text(best_of(trace)["mask"])
        passes = evaluations * scoring.mask_passes(method.recover_on) + scoring.importance_passes(importance)
    return Found(
        mask=mask,
        importance=importance,
        trace=trace,
        evaluations=evaluations,
        sentence_passes=passes,
        search_accuracy=float(evaluator.accuracy(mask[None])[0]),
        threshold=threshold,
        certify_accuracy=float(certify.accuracy(mask[None])[0]),
        deviation=scoring.deviation(mask),
        seconds=time.perf_counter() - started,
    )


def _alike(method: Method, mask: HeadMask) -> dict[str, HeadScores]:
    """Returns equal scores of all heads by metric, for a method that reads none."""
    return {name: np.zeros(mask.shape, dtype=np.float32) for name in method.metrics}


def best_of(trace: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Returns the last step of the episode that ended with the highest accuracy, the first of equals.

    Args:
        trace: Steps in order; each says in "episode" which one it is of, or is one of its own.

    Raises:
        ConfigError: No step.
    """
    last = {step.get("episode", number): step for number, step in enumerate(trace)}
    if not last:
        raise ConfigError("expected at least one step in the episodes to choose from, got none; let the policy act")
    return max(last.values(), key=lambda step: float(step["accuracy"]))


def members_of(method: Method, trace: Iterable[Mapping[str, Any]]) -> tuple[HeadMask, ...]:
    """Returns the masks of an ensemble's members: of every episode that held the threshold; () for one model."""
    if method.episodes == 1 or method.best:
        return ()
    return tuple(mask_from_text(step["mask"]) for step in trace if not step["violation"])


def _oracle(method: Method, scoring: Scoring, aids: Aids) -> Oracle | None:
    """Returns the backdoor's measure for methods of the regime "oracle", and None for all others."""
    if method.regime != "oracle":
        return None
    if aids.oracle is None:
        raise ConfigError(f"method {method.name!r} needs to see the backdoor, and here is no diagnosis; choose another")
    return aids.oracle(scoring)


def play(
    env: gym.Env[Observation, Any],
    method: Method,
    seed: int,
    *,
    heads_to_prune: int | None = None,
    oracle: Oracle | None = None,
    number: int = 0,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> Episode:
    """Plays a method's episode: the one of its record with this seed, task and constraint.

    Args:
        env: The environment on the task.
        method: Whose policy acts.
        seed: The defender's.
        heads_to_prune: For controls of matched size.
        oracle: For methods of the regime "oracle".
        number: Which of a method's episodes.
        on_step: As `rollout` has it.

    Raises:
        ConfigError: A method without a policy, or a control whose size was not given.
    """
    if method.policy is None or (method.matches is not None and heads_to_prune is None):
        raise ConfigError(f"method {method.name!r} plays no episode of its own; choose gradient or epsilon-greedy")
    layout = env.get_wrapper_attr("layout")
    stream = f"policy:{method.name}" if number == 0 else f"policy:{method.name}:{number}"
    context = PolicyContext(derive(seed, stream), layout.layers, layout.heads, heads_to_prune, oracle)
    return rollout(env, method.policy(context), seed=derive(seed, "episode"), on_step=on_step)


def _threshold(config: EnvConfig, evaluator: Evaluator) -> float:
    """Returns the accuracy that the environment holds a mask to: as given, or as a drop from the full mask's."""
    if config.threshold is not None:
        return config.threshold
    full = float(evaluator.accuracy(full_mask(evaluator.layers, evaluator.heads)[None])[0])
    return full - (config.max_accuracy_drop or 0.0)
