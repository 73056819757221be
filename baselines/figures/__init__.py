"""Figures of records: one file a figure, found by name. Each draws, lists its numbers, and says what they show."""

from __future__ import annotations

from importlib import import_module

from prune_env.baselines.figures.drawing import Drawing
from prune_env.errors import UnknownNameError

FIGURES: dict[str, str] = {
    "removal": "prune_env.baselines.figures.removal:REMOVAL",
    "embeddings": "prune_env.baselines.figures.embeddings:EMBEDDINGS",
    "threshold": "prune_env.baselines.figures.threshold:THRESHOLD",
    "heads": "prune_env.baselines.figures.heads:HEADS",
    "metrics": "prune_env.baselines.figures.metrics:METRICS_AGREEMENT",
    "path": "prune_env.baselines.figures.path:PATH",
    "scarcity": "prune_env.baselines.figures.scarcity:SCARCITY",
    "ground-truth": "prune_env.baselines.figures.ground_truth:GROUND_TRUTH",
    "study": "prune_env.baselines.figures.study:STUDY",
}
"""Name -> "module:attribute"; the attribute is a `Drawing`. The order is that of figures.md."""


def get_figure(name: str) -> Drawing:
    """Returns a registered figure.

    Raises:
        UnknownNameError: No such figure; the message names the nearest.
    """
    if name not in FIGURES:
        raise UnknownNameError("figure", name, FIGURES)
    module, attribute = FIGURES[name].split(":")
    drawing: Drawing = getattr(import_module(module), attribute)
    return drawing
