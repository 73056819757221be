"""A trained agent as a `Method`: it finds masks, and makes records and rows of tables, as any other does.

method = method_of("runs/first", name="mine")
found = find_mask(task, method, Search({"max_accuracy_drop": 0.02}))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.agents.saved import MaskedAgent, SavedAgent, load_agent
from prune_env.methods import Method, PolicyContext
from prune_env.observation import Observation

_OWN = ("on_violation", "max_heads_per_step", "max_steps", "max_evaluations", "threshold_margin")
"""Arguments of the training's environment that belong to the agent; the accuracy to hold is the run's."""


def method_of(folder: Path | str, name: str, deterministic: bool = True) -> Method:
    """Returns a trained agent as a `Method`: found masks, records and tables as those of any other.

    Args:
        folder: As for `load_agent`.
        name: Of the method.
        deterministic: Whether it acts without chance.

    Raises:
        CheckpointError: No agent there, or a damaged one.
    """
    card = load_agent(folder).card
    arguments = card.training.get("environment", {}).get("arguments", {})

    def policy(context: PolicyContext) -> Any:
        agent = load_agent(folder, context.seed)
        return _Steady(agent) if deterministic else agent

    return Method(
        name=name,
        summary=f"{card.agent} with the policy {card.policy}, trained for {card.training.get('steps', '?')} steps",
        kind="own",
        policy=policy,
        metrics=tuple(card.metrics),
        environment={key: arguments[key] for key in _OWN if key in arguments},
    )


class _Steady:
    """An agent that acts without chance whatever it is asked for; it takes masks, which only some agents read."""

    def __init__(self, agent: SavedAgent) -> None:
        self._agent = agent

    def predict(
        self,
        observation: Observation,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.int8], Any]:
        masks = {"action_masks": action_masks} if isinstance(self._agent, MaskedAgent) else {}
        return self._agent.predict(observation, state, episode_start, deterministic=True, **masks)
