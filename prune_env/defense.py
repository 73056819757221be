"""A defence from end to end: choose a mask on the clean data, put it on the suspicious encoder, fine-tune, done.

The mask is searched on the task's scoring model but applied to the ORIGINAL suspicious encoder, with a fresh head, and
held while that is fine-tuned on the clean data (paper, section 5; the released protocol). Nothing here opens a
diagnosis: what a purified model does on triggered sentences is for `prune_env.victims.judge`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prune_env.config import EnvConfig
from prune_env.engine.device import resolve_device
from prune_env.engine.evaluator import Evaluator
from prune_env.engine.masking import apply_mask
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.methods import Method, PolicyContext, get_method
from prune_env.observation import Observation
from prune_env.rollout import Episode, rollout
from prune_env.scoring import IMPORTANCE_SENTENCES, scoring_of
from prune_env.seeds import derive
from prune_env.types import HeadMask, HeadScores, full_mask
from prune_env.victims.checkpoint import fresh_head
from prune_env.victims.task import OnStep, Task
from prune_env.victims.training import TrainingConfig, cross_entropy, train

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
        importance: What the policy observed, by metric, (layers, heads); empty where no policy chose.
        trace: The episode's steps, as JSON values.
        evaluations: Distinct masks asked for.
        sentence_passes: Sentences it asked to be sent through the model for importance and search, cached or not.
        search_accuracy: Of this mask on `search`.
        threshold: Accuracy the search had to hold; None where nothing held it.
        certify_accuracy: Of this mask on `certify`, measured once, at the end.
        deviation: What the arithmetic changes against float32 on `search`, for this mask; None in float32.
        seconds: Wall time of importance and search.
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
class Purified:
    """A purified model with its tokenizer, and the wall time of its fine-tuning in seconds."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    seconds: float


Known = Callable[[Method], Found | None]
"""What finds a method's mask among earlier results, if it is there."""


def defend(
    task: Task,
    method: Method,
    search: Search,
    training: TrainingConfig,
    *,
    known: Known | None = None,
    on_step: OnStep | None = None,
) -> tuple[Found, Purified]:
    """Defends: the suspicious encoder and clean data that a task holds, and a method, to a purified model.

    Args:
        task: What the defender has.
        method: Whose mask.
        search: How masks are searched, and the device of everything.
        training: The final fine-tuning.
        known: Gives masks that were found before for the same task and search.
        on_step: Called with (steps done, steps in all) while the purified model is fine-tuned.

    Returns:
        The mask with its search, and the model.
    """
    found = search_mask(task, method, search, known)
    return found, purify(task, found.mask, training, device=search.device, on_step=on_step)


def search_mask(task: Task, method: Method, search: Search, known: Known | None = None) -> Found:
    """Finds a method's mask; a control of matched size has the other method's mask found first."""
    found = None if known is None else known(method)
    if found is not None:
        return found
    heads = None
    if method.matches is not None:
        matched = search_mask(task, get_method(method.matches), search, known)
        heads = int(np.count_nonzero(~matched.mask))
    return find_mask(task, method, search, heads)


def environment_config(method: Method, search: Search) -> EnvConfig:
    """Returns the environment's settings for a method: the run's constraint, and what belongs to the method."""
    constraint: dict[str, Any] = {"threshold": NO_CONSTRAINT} if method.unconstrained else dict(search.constraint)
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
    }


def find_mask(task: Task, method: Method, search: Search, heads_to_prune: int | None = None) -> Found:
    """Runs a method's policy in the environment on a task.

    Args:
        task: What the defender has.
        method: Whose policy chooses.
        search: Constraint, device, dtype.
        heads_to_prune: For controls of matched size.
    """
    started = time.perf_counter()
    scoring = scoring_of(task, search.device, search.dtype)
    evaluator, certify = scoring.evaluator("search"), scoring.evaluator("certify")
    mask, trace, evaluations, passes = full_mask(evaluator.layers, evaluator.heads), [], 0, 0
    importance: dict[str, HeadScores] = {}
    threshold = None
    if method.policy is not None:
        importance, config = scoring.importance(method.metrics), environment_config(method, search)
        env = BertHeadPruneEnv(evaluator, importance, config)
        threshold = None if method.unconstrained else _threshold(config, evaluator)
        episode = play(env, method, task.seed, heads_to_prune=heads_to_prune)
        mask, trace, evaluations = episode.mask, list(episode.trace), episode.evaluations
        passes = evaluations * evaluator.sentences + scoring.importance_passes(method.metrics)
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


def play(
    env: gym.Env[Observation, Any],
    method: Method,
    seed: int,
    *,
    heads_to_prune: int | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> Episode:
    """Plays a method's episode: the one of its record with this seed, task and constraint.

    Args:
        env: The environment on the task.
        method: Whose policy acts.
        seed: The defender's.
        heads_to_prune: For controls of matched size.
        on_step: As `rollout` has it.

    Raises:
        ConfigError: A method without a policy, or a control whose size was not given.
    """
    if method.policy is None or (method.matches is not None and heads_to_prune is None):
        raise ConfigError(f"method {method.name!r} plays no episode of its own; choose gradient or epsilon-greedy")
    layout = env.get_wrapper_attr("layout")
    context = PolicyContext(derive(seed, f"policy:{method.name}"), layout.layers, layout.heads, heads_to_prune)
    return rollout(env, method.policy(context), seed=derive(seed, "episode"), on_step=on_step)


def _threshold(config: EnvConfig, evaluator: Evaluator) -> float:
    """Returns the accuracy that the environment holds a mask to: as given, or as a drop from the full mask's."""
    if config.threshold is not None:
        return config.threshold
    full = float(evaluator.accuracy(full_mask(evaluator.layers, evaluator.heads)[None])[0])
    return full - (config.max_accuracy_drop or 0.0)


def purify(
    task: Task,
    mask: HeadMask,
    training: TrainingConfig,
    *,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Purified:
    """Puts a mask on the suspect's own encoder, draws a fresh head and fine-tunes on the clean data, mask held.

    With every head kept and the protocol's own settings this is what built the scoring model, which is returned.

    Args:
        task: What the defender has.
        mask: Heads to keep, (layers, heads).
        training: Fine-tuning settings.
        device: Where to fine-tune.
        on_step: Called with (steps done, steps in all).
    """
    if bool(mask.all()) and training == task.protocol.training:
        model = task.scoring_model()
        return Purified(model, task.tokenizer(model), task.build_seconds)
    started = time.perf_counter()
    model = task.suspect.model()
    model.to(resolve_device(device))  # type: ignore[arg-type]
    tokenizer = task.suspect.tokenizer(model)
    fresh_head(model, derive(task.seed, "defender-head"))
    apply_mask(model, mask)
    tokens = task.tokens("train", tokenizer)
    seed = derive(task.seed, "defender-training")
    train(model, tokens, training, seed, loss=cross_entropy(mask), on_step=on_step)
    # Training never moves a skipped head's output columns; zeroed again all the same, since this is the export.
    apply_mask(model, mask)
    return Purified(model.cpu(), tokenizer, time.perf_counter() - started)


def training_for(task_training: TrainingConfig, learning_rate: float | None) -> TrainingConfig:
    """Returns the protocol's settings at another rate; None keeps its own."""
    return task_training if learning_rate is None else replace(task_training, learning_rate=learning_rate)
