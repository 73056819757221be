"""The factories behind `gym.make` and `gym.make_vec` of `BertHeadPrune-v0`: names and folders in, environments out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prune_env.config import DEFAULT_METRICS, EnvConfig
from prune_env.engine.device import resolve_device, resolve_dtype
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError, UnknownNameError
from prune_env.importance import load_metric
from prune_env.known_arguments import known_arguments
from prune_env.layout import Layout
from prune_env.oracle import oracle_evaluator
from prune_env.reset_arguments import check_counts
from prune_env.rewards import make_reward
from prune_env.scoring import scoring_of
from prune_env.vector import BertHeadPruneVectorEnv
from prune_env.victims.checkpoint_folder import head_grid
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import open_victim
from prune_env.victims.task import build_task


@known_arguments()
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
    recover_on: int | None = None,
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
        recover_on: Clean sentences of a short recovery after which a mask's accuracy is measured, as
            `prune_env.recovered` says, at most the training split; None measures the masked scoring model itself. A
            drop is then against the full mask after its own recovery.
        diagnostics: Whether `info` carries `oracle_lfr`, the masked scoring model's label flip rate. It looks at
            triggered sentences: for analysis, never for a method that is to be compared with clean-only ones.
        device: "cpu" or "cuda".
        dtype: "float32" or "bfloat16".
        render_mode: "ansi", "rgb_array" or None.

    Raises:
        ConfigError: An argument of another name or of the wrong kind, or outside its range.
        ThresholdError: A threshold or an accuracy drop that is none, or both of them.
        UnknownNameError: A victim, protocol, metric, reward or mode that is not registered.
        DeviceError: A device or dtype that is not there.
        PruneEnvError: As `open_victim` and `build_task` say.
    """
    _check_kinds(victim, task_seed, protocol, data, diagnostics)
    names = _metric_names(metrics)
    chosen = make_reward(_text("reward", reward))
    resolve_device(_text("device", device))
    resolve_dtype(_text("dtype", dtype))
    if render_mode is not None and render_mode not in BertHeadPruneEnv.metadata["render_modes"]:
        raise UnknownNameError("render_mode", str(render_mode), BertHeadPruneEnv.metadata["render_modes"])
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
    rules = get_protocol(opened.manifest.protocol if protocol is None else protocol)
    grid = head_grid(opened.suspect.folder)
    if grid is not None:
        Layout.of(*grid, config.pad_to)
    # All that is cheap has been checked: from here on a model may have to be fine-tuned.
    task = build_task(opened.suspect, rules, task_seed, data=data, device=device)
    scoring = scoring_of(task, device, dtype)
    return BertHeadPruneEnv(
        scoring.recovered(recover_on),
        scoring.importance(names),
        config,
        reward=chosen,
        diagnostics=oracle_evaluator(scoring, opened) if diagnostics else None,
        render_mode=render_mode,
    )


@known_arguments(hands_on_to=make_env)
def make_vector_env(
    victim: str, *, num_envs: int = 1, max_episode_steps: int | None = None, **arguments: Any
) -> BertHeadPruneVectorEnv:
    """Makes K environments on a victim, for `gym.make_vec`; every argument is a JSON value.

    They share their evaluator with every other environment of the process on the same task, device and dtype.

    Args:
        victim: As in `make_env`.
        num_envs: Sub-environments, K >= 1.
        max_episode_steps: Steps until truncation from outside, as `gym.make` would add it; None: `max_steps` alone.
        **arguments: The other arguments of `make_env`.

    Raises:
        ConfigError: `num_envs` or `max_episode_steps` that is no whole number of at least 1.
        PruneEnvError: As `make_env` says.
    """
    check_counts(num_envs, max_episode_steps)
    one = make_env(victim, **arguments)
    return BertHeadPruneVectorEnv(
        one.evaluator,
        one.importance,
        one.config,
        num_envs,
        reward=one.reward,
        diagnostics=one.diagnostics,
        render_mode=one.render_mode,
        max_episode_steps=max_episode_steps,
    )


def _check_kinds(victim: object, task_seed: object, protocol: object, data: object, diagnostics: object) -> None:
    _text("victim", victim)
    for name, value in (("protocol", protocol), ("data", data)):
        if value is not None:
            _text(name, value)
    if isinstance(task_seed, bool) or not isinstance(task_seed, int) or task_seed < 0:
        raise ConfigError(f"expected task_seed to be a whole number >= 0, got {task_seed!r}; the default is 11")
    if not isinstance(diagnostics, bool):
        raise ConfigError(f"expected diagnostics to be True or False, got {diagnostics!r}; give one of them")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"expected {name} to be a text, got {value!r}; arguments are JSON values, see the docstring")
    return value


def _metric_names(metrics: object) -> list[str]:
    if not isinstance(metrics, list | tuple) or not metrics:
        raise ConfigError(f"expected a list of metric names such as {list(DEFAULT_METRICS)}, got {metrics!r}; give one")
    names = [_text("each of metrics", name) for name in metrics]
    for name in names:
        load_metric(name)
    return names


def _constraint(threshold: float | None, drop: float | None, recommended: Mapping[str, float]) -> dict[str, Any]:
    if threshold is None and drop is None:
        return dict(recommended)
    return {"threshold": threshold, "max_accuracy_drop": drop}
