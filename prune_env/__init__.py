"""Prune-Env: choose which attention heads of a backdoored text classifier to prune, as a Gymnasium environment."""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
