"""Weights that were trained on small victims, in a policy for the spaces of any other model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from prune_env.agents.head_set import metrics_of
from prune_env.agents.policies import HeadSetBase
from prune_env.agents.q_policy import HeadSetQPolicy
from prune_env.errors import ConfigError
from prune_env.layout import Layout
from prune_env.observation import Observer


def transfer(source: BasePolicy | Path | str, observation_space: Any, action_space: Any, **changes: Any) -> BasePolicy:
    """Returns a policy with the same weights for other spaces, which Stable-Baselines3's own `load` refuses.

    transfer("runs/tiny", environments.single_observation_space, environments.single_action_space)

    Args:
        source: A policy over the set of heads, or the folder of a saved agent that has one.
        observation_space: Of the other environment, with the same metrics and any number of slots.
        action_space: Its action space.
        **changes: Arguments of the policy that are to be other ones, such as `most_heads`.

    Raises:
        ConfigError: A policy of one size, or an environment that shows other metrics.
        CheckpointError: A folder without a saved agent, or a damaged one.
    """
    if isinstance(source, (str, Path)):
        from prune_env.agents.saved import load_agent

        source = load_agent(Path(source)).policy
    if not isinstance(source, (HeadSetBase, HeadSetQPolicy)):
        raise ConfigError(
            f"expected a policy over the set of heads, got {type(source).__name__}, which fits one model alone; "
            "train one with --policy heads"
        )
    both: tuple[Any, Any] = (source.observation_space, observation_space)
    trained, shown = (metrics_of(space.spaces) for space in both)
    if trained != shown:
        raise ConfigError(
            f"expected an environment that shows {', '.join(trained)}, got {', '.join(shown) or 'none'}; "
            "name the same metrics in its argument `metrics`"
        )
    arguments = {**source._get_constructor_parameters(), "observation_space": observation_space}
    arguments |= {"action_space": action_space, **changes}
    found = type(source)(**arguments).to(source.device)
    found.load_state_dict(source.state_dict())
    found.set_training_mode(False)
    return found


def spaces_for(slots: int, metrics: Sequence[str]) -> tuple[spaces.Dict[Any], spaces.MultiBinary]:
    """Returns the spaces of an environment with this many slots that shows these metrics.

    Raises:
        ConfigError: No slot or no metric.
    """
    if slots < 1:
        raise ConfigError(f"expected at least one slot, got {slots}; one a head of the model")
    scores = {metric: np.zeros((1, slots), dtype=np.float32) for metric in metrics}
    return Observer(Layout.of(1, slots), scores, sentences=1).space, spaces.MultiBinary(slots + 1)
