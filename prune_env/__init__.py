"""Prune-Env: choose which attention heads of a backdoored text classifier to prune, as a Gymnasium environment."""

from __future__ import annotations

from gymnasium.envs.registration import register

__version__ = "0.1.0"

__all__ = ["__version__"]

register(
    id="BertHeadPrune-v0",
    entry_point="prune_env.registration:make_env",
    vector_entry_point="prune_env.registration:make_vector_env",
)
register(
    id="BertHeadPruneTabular-v0",
    entry_point="prune_env.tabular.environment:make_tabular_env",
    vector_entry_point="prune_env.tabular.environment:make_tabular_vector_env",
)
