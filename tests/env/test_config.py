"""Settings are checked where they are made, and survive JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from prune_env.config import EnvConfig
from prune_env.errors import ConfigError, ThresholdError, UnknownNameError


def test_json_round_trip() -> None:
    config = EnvConfig(max_accuracy_drop=0.02, max_heads_per_step=None, pad_to=(12, 12), max_evaluations=50)
    assert EnvConfig(**json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(("heads", "limit"), [(144, 10), (72, 5), (384, 27), (16, 2), (4, 2)])
def test_the_papers_limit_is_scaled(heads: int, limit: int) -> None:
    assert EnvConfig(threshold=0.85).heads_per_step(heads) == limit


def test_limits() -> None:
    assert EnvConfig(threshold=0.85, max_heads_per_step=None).heads_per_step(144) == 144
    assert EnvConfig(threshold=0.85, max_heads_per_step=7).heads_per_step(144) == 7
    assert EnvConfig(threshold=0.85).steps(144) == 144
    assert EnvConfig(threshold=0.85, max_steps=3).steps(144) == 3


@pytest.mark.parametrize(
    "settings",
    [{}, {"threshold": 0.85, "max_accuracy_drop": 0.02}, {"threshold": 0}, {"threshold": 1.1}, {"threshold": True},
     {"max_accuracy_drop": 1}, {"max_accuracy_drop": -0.01}, {"max_accuracy_drop": "2%"}],
)  # fmt: skip
def test_bad_thresholds(settings: dict[str, Any]) -> None:
    with pytest.raises(ThresholdError, match="expected"):
        EnvConfig(**settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_heads_per_step", 0), ("max_heads_per_step", "all"), ("max_heads_per_step", 2.5),
     ("max_heads_per_step", True), ("max_steps", 0), ("max_evaluations", 1),
     ("pad_to", 16), ("pad_to", (4,)), ("pad_to", (4, 0)),
     ("pad_to", ("4", "4"))],
)  # fmt: skip
def test_bad_counts(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        EnvConfig(threshold=0.85, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "near"), [("on_violation", "rejct", "reject"), ("threshold_margin", "points", "point")]
)
def test_bad_choices(name: str, value: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{near}'"):
        EnvConfig(threshold=0.85, **{name: value})  # type: ignore[arg-type]
