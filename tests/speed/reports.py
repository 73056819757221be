"""A whole report of round numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prune_env.speed.conditions import Conditions
from prune_env.speed.contestants import OURS, RELEASED, TUNED
from prune_env.speed.environments import SINGLE, VECTOR
from prune_env.speed.processes import SIDE_BY_SIDE
from prune_env.speed.report import Report, Shape
from prune_env.speed.rows import SENTENCES, STEPS
from tests.speed.rows import W1, rate, seconds

VERSIONS = {
    "python": "3.11",
    "torch": "2.13",
    "transformers": "5.23",
    "processor": "a chip",
    "device": "cpu",
    "source": "x",
}

ROWS = [
    *W1,
    replace(
        seconds("W4", "300 epsilon-greedy steps", OURS, "float32", 0.25, 320, 320),
        details={"hit_rate": 0.25, "layers_saved": 0.5, "prefix_bytes_peak": 3.0 * 2**20},
    ),
    rate("W5", "K = 64, 872 sentences", SINGLE, STEPS, 10.0),
    rate("W5", "K = 64, 872 sentences", VECTOR, STEPS, 120.0),
    rate("W6", "one environment", SINGLE, STEPS, 50_000.0),
    rate("W7", SIDE_BY_SIDE, RELEASED, SENTENCES, 10.0),
    rate("W7", SIDE_BY_SIDE, TUNED, SENTENCES, 40.0),
    rate("W7", SIDE_BY_SIDE, OURS, SENTENCES, 60.0),
    seconds("growth", "1 x sentences", OURS, "float32", 1.0),
]


def make_report(**changes: Any) -> Report:
    """A report of an idle machine of two cores."""
    content: dict[str, Any] = {
        "shape": Shape("minilm", "trained", 6, 12, 384, 872, 25.0, 66),
        "conditions": Conditions(dict(VERSIONS), "Linux", 2, 2, "cpu", True, [0.1, 0.1, 0.1]),
        "settings": {"rounds": 3, "quick": False},
        "rows": list(ROWS),
        "agreement": {f"{TUNED} float32": 1e-6, f"{OURS} float32": 2e-6, f"{OURS} bfloat16": 0.01},
        "batches": {"float32": 64, "bfloat16": 128},
        "ceiling": {"float32": 2000.0, "bfloat16": 10_000.0},
        "ceiling_size": 2048,
        "exponents": {"sentences": 0.98, "layers": 1.2},
        "distinct": {"W4": 200},
        "prefix_budget_bytes": 512 * 2**20,
        "rss_peak_bytes": 100.0 * 2**20,
        "seconds": 600.0,
    }
    return Report(**{**content, **changes})
