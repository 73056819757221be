"""A trained agent as a `Method`: it finds masks, and makes records and rows of tables, as any other does.

method = method_of("runs/first", name="mine")
found = find_mask(task, method, Search({"max_accuracy_drop": 0.02}))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prune_env.agents.saved import load_agent, only_victim
from prune_env.methods import Method, PolicyContext

_OWN = ("on_violation", "max_heads_per_step", "max_steps", "max_evaluations", "threshold_margin")
"""Arguments of the training's environment that belong to the agent; the accuracy to hold is the run's."""


def method_of(folder: Path | str, name: str, deterministic: bool = True) -> Method:
    """Returns a trained agent as a `Method`: found masks, records and tables as those of any other.

    One with a plain policy finds masks of the victim that it was trained on, and of no other model: not of that
    victim's never-poisoned twin either, so that a table with floors wants the policy "heads".

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
        agent.steady = deterministic
        return agent

    return Method(
        name=name,
        summary=f"{card.agent} with the policy {card.policy}, trained for {card.training.get('steps', '?')} steps; "
        f"weights {card.sha256[:16]}",
        kind="own",
        policy=policy,
        metrics=tuple(card.metrics),
        environment={key: arguments[key] for key in _OWN if key in arguments},
        victim_sha256=only_victim(card),
    )
