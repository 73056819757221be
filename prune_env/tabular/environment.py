"""`BertHeadPruneTabular-v0`: the live environment's classes over stored tables; needs neither torch nor a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prune_env.config import DEFAULT_METRICS, EnvConfig
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError, UnknownNameError
from prune_env.known_arguments import known_arguments
from prune_env.reset_arguments import check_counts
from prune_env.rewards import make_reward
from prune_env.tabular.family import BertHeadPruneFamilyEnv
from prune_env.tabular.family_vector import BertHeadPruneFamilyVectorEnv
from prune_env.tabular.registry import SPLITS, common_grid, get_twin, list_twins
from prune_env.tabular.twin import TabularTwin
from prune_env.types import HeadScores
from prune_env.vector import BertHeadPruneVectorEnv

TABULAR_ID = "BertHeadPruneTabular-v0"
"""As registered with Gymnasium."""

EVERY_METRIC = (*DEFAULT_METRICS, "uncertainty", "taylor", "confidence", "adversarial_gate")
"""What every twin holds: all that a defender computes of heads from clean data, before the first step."""


@known_arguments()
def make_tabular_env(
    victim: str,
    *,
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
    render_mode: str | None = None,
) -> BertHeadPruneEnv:
    """Makes the environment on a twin, or on a set of them; every argument is a JSON value.

    Args:
        victim: A twin's name, the path of its file, or a set of twins ("embedded", "family-train", "family-test") of
            which each reset draws one: a `BertHeadPruneFamilyEnv`.
        threshold: Accuracy a mask has to reach. Neither this nor a drop given: what the victim's manifest recommends.
        max_accuracy_drop: Accuracy that may be lost against the full mask.
        threshold_margin: "point" or "lower_bound".
        metrics: Importance metrics in the observation; the first protects a layer's last head.
        reward: A reward's name.
        on_violation: "terminate", "reject" or "backtrack".
        max_heads_per_step: A number, "paper", or None for no limit.
        max_steps: Steps until truncation; None: one a head.
        max_evaluations: Distinct masks until truncation; None: no limit.
        pad_to: (layers, heads) of a larger grid. None: no padding; for a set, what holds every twin that ships.
        diagnostics: Whether `info` carries `oracle_lfr`: for analysis, never for a method that is to be compared with
            clean-only ones.
        render_mode: "ansi", "rgb_array" or None.

    Raises:
        ConfigError: An argument of another name or of the wrong kind, or outside its range.
        ThresholdError: A threshold or an accuracy drop that is none, or both of them.
        UnknownNameError: A victim, metric, reward or mode that is not there.
        IntegrityError: A file that is no twin, or has changed.
    """
    _check_kinds(victim, diagnostics)
    several = victim in SPLITS
    twins = [get_twin(name) for name in list_twins(victim)] if several else [get_twin(victim)]
    if not twins:
        raise ConfigError(f"expected twins in the set {victim!r}, got none; build them with `prune-env tabular build`")
    settings: dict[str, Any] = {
        "threshold_margin": threshold_margin,
        "on_violation": on_violation,
        "max_heads_per_step": max_heads_per_step,
        "max_steps": max_steps,
        "max_evaluations": max_evaluations,
        "pad_to": common_grid() if several and pad_to is None else pad_to,
    }
    given = {"threshold": threshold, "max_accuracy_drop": max_accuracy_drop}
    settings |= {name: value for name, value in given.items() if value is not None}
    made = {
        twin.name: BertHeadPruneEnv(
            twin.search,
            importance_of(twin, metrics),
            twin.config(**settings),
            reward=make_reward(reward),
            diagnostics=twin.oracle_lfr if diagnostics else None,
            render_mode=render_mode,
        )
        for twin in twins
    }
    return BertHeadPruneFamilyEnv(made) if several else made[twins[0].name]


@known_arguments(hands_on_to=make_tabular_env)
def make_tabular_vector_env(
    victim: str, *, num_envs: int = 1, max_episode_steps: int | None = None, **arguments: Any
) -> BertHeadPruneVectorEnv:
    """Makes K environments on a twin or on a set of them, for `gym.make_vec`; every argument is a JSON value.

    Args:
        victim: As in `make_tabular_env`; of a set, every sub-environment draws its own twin at each of its resets.
        num_envs: Sub-environments, K >= 1.
        max_episode_steps: Steps until truncation from outside; None: `max_steps` alone.
        **arguments: The other arguments of `make_tabular_env`.

    Raises:
        ConfigError: `num_envs` or `max_episode_steps` that is no whole number of at least 1.
        PruneEnvError: As `make_tabular_env` says.
    """
    check_counts(num_envs, max_episode_steps)
    one = make_tabular_env(victim, **arguments)
    if isinstance(one, BertHeadPruneFamilyEnv):
        return BertHeadPruneFamilyVectorEnv(one.members, num_envs, max_episode_steps=max_episode_steps)
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


def importance_of(twin: TabularTwin, metrics: Sequence[str]) -> Mapping[str, HeadScores]:
    """Returns a twin's scores by these metrics, in this order.

    Raises:
        ConfigError: No list of names.
        UnknownNameError: A metric that the twin does not hold.
    """
    if not isinstance(metrics, list | tuple) or not metrics:
        raise ConfigError(f"expected a list of metric names such as {list(DEFAULT_METRICS)}, got {metrics!r}; give one")
    for name in metrics:
        if name not in twin.importance:
            raise UnknownNameError(f"metric of the twin {twin.name!r}", str(name), twin.importance)
    return {name: twin.importance[name] for name in metrics}


def _check_kinds(victim: object, diagnostics: object) -> None:
    if not isinstance(victim, str) or not victim:
        raise ConfigError(f"expected victim to be the name of a tabular victim, got {victim!r}; see `tabular list`")
    if not isinstance(diagnostics, bool):
        raise ConfigError(f"expected diagnostics to be True or False, got {diagnostics!r}; give one of them")
