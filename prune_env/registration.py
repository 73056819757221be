"""The factory behind `gym.make("BertHeadPrune-v0", ...)`: names and folders in, a live environment out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prune_env.config import EnvConfig
from prune_env.engine.tokens import tokenize
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.rewards import make_reward
from prune_env.scoring import Scoring, scoring_of
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import Victim, open_victim
from prune_env.victims.task import build_task

DEFAULT_METRICS = ("gradient", "attention_variance")


def make_env(
    victim: str,
    *,
    task_seed: int = 11,
    protocol: str | None = None,
    data: str | None = None,
    threshold: float | None = None,
    max_accuracy_drop: float | None = None,
    threshold_margin: str = EnvConfig.threshold_margin,
    metrics: Sequence[str] = DEFAULT_METRICS,
    reward: str = "sparsity",
    on_violation: str = EnvConfig.on_violation,
    max_heads_per_step: int | str | None = EnvConfig.max_heads_per_step,
    max_steps: int | None = EnvConfig.max_steps,
    max_evaluations: int | None = EnvConfig.max_evaluations,
    pad_to: Sequence[int] | None = None,
    diagnostics: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
    render_mode: str | None = None,
) -> BertHeadPruneEnv:
    """Makes the environment on a victim; every argument is a JSON value.

    Args:
        victim: An embedded victim's name ("tiny-syntactic") or a victim's folder.
        task_seed: The defender's seed: splits, head and fine-tuning of the scoring model.
        protocol: The defender's circumstances; None takes what the victim's manifest recommends.
        data: Data folder for SST-2 protocols; PRUNE_ENV_DATA if None.
        threshold: Accuracy a mask has to reach. Neither this nor a drop given: what the manifest recommends.
        max_accuracy_drop: Accuracy that may be lost against the full mask.
        threshold_margin: "point" or "lower_bound".
        metrics: Importance metrics in the observation; the first protects a layer's last head.
        reward: A reward's name.
        on_violation: "terminate", "reject" or "backtrack".
        max_heads_per_step: A number, "paper", or None for no limit.
        max_steps: Steps until truncation; None: one a head.
        max_evaluations: Distinct masks until truncation; None: no limit.
        pad_to: (layers, heads) of a larger grid for spaces of one size.
        diagnostics: Whether `info` carries `oracle_lfr`, the masked scoring model's label flip rate. It looks at
            triggered sentences: for analysis, never for a method that is to be compared with clean-only ones.
        device: "cpu" or "cuda".
        dtype: "float32" or "bfloat16".
        render_mode: "ansi", "rgb_array" or None.

    Raises:
        PruneEnvError: Any argument that names nothing, or does not fit the others.
    """
    opened = open_victim(victim)
    constraint = _constraint(threshold, max_accuracy_drop, opened.manifest.recommended)
    config = EnvConfig(
        **constraint,
        threshold_margin=threshold_margin,
        on_violation=on_violation,
        max_heads_per_step=max_heads_per_step,
        max_steps=max_steps,
        max_evaluations=max_evaluations,
        pad_to=pad_to,  # type: ignore[arg-type]  # a list where it came through JSON; EnvConfig checks it
    )
    if isinstance(metrics, str) or not metrics:
        raise ConfigError(f"expected a list of metric names such as {list(DEFAULT_METRICS)}, got {metrics!r}")
    chosen = make_reward(reward)
    rules = get_protocol(protocol or opened.manifest.protocol)
    task = build_task(opened.suspect, rules, task_seed, data=data, device=device)
    scoring = scoring_of(task, device, dtype)
    return BertHeadPruneEnv(
        scoring.evaluator("search"),
        scoring.importance(metrics),
        config,
        reward=chosen,
        diagnostics=oracle_evaluator(scoring, opened) if diagnostics else None,
        render_mode=render_mode,
    )


def oracle_evaluator(scoring: Scoring, victim: Victim) -> TransformerEvaluator:
    """Returns an evaluator whose accuracy is the scoring model's LFR: triggered sentences labelled as the target.

    It uses the judge's triggered VALIDATION sentences, so that nothing is ever chosen on the test set.
    """
    diagnosis = open_diagnosis(victim)
    triggered = diagnosis.triggered_dev.excluding(diagnosis.target).relabelled(diagnosis.target)
    length = scoring.task.protocol.training.max_length
    return scoring.evaluate_on(tokenize(scoring.tokenizer, triggered.texts, triggered.labels, length))


def _constraint(threshold: float | None, drop: float | None, recommended: Mapping[str, float]) -> dict[str, Any]:
    if threshold is None and drop is None:
        return dict(recommended)
    return {"threshold": threshold, "max_accuracy_drop": drop}
