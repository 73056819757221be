"""Scenes: what is held fixed where methods are compared, and in which settings the rest differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prune_env.baselines.families import family_of
from prune_env.baselines.summary import constraint_of
from prune_env.records import Record


@dataclass(frozen=True)
class Scene:
    """What is held fixed where methods are compared: the victims, the defender's data and fine-tuning but its rate.

    Attributes:
        family: Victims that differ in the attacker's seed alone.
        attack: Their attack.
        protocol: The defender's protocol.
        own_rate: The protocol's learning rate.
        settings: Protocol and fine-tuning as canonical JSON.
        note: What sets this scene apart from another of the same family and protocol; "" where there is none.
    """

    family: str
    attack: str
    protocol: str
    own_rate: float
    settings: str
    note: str = ""

    @property
    def title(self) -> str:
        """The scene in words."""
        return f"{self.family}, protocol {self.protocol}{f', {self.note}' if self.note else ''}"


def scene_key(record: Record) -> tuple[str, str]:
    """Returns what names a record's scene: the family, and protocol and fine-tuning but for the rate as JSON."""
    config = declared(record)
    training = {name: value for name, value in config["training"].items() if name != "learning_rate"}
    return family_of(record.victim), canonical({"protocol": config["protocol"], "training": training})


def declared(record: Record) -> dict[str, Any]:
    """Returns a record's settings with the precision that its protocol asks for.

    "auto" is bfloat16 on one machine and float32 on another. That sets no scene apart: attackers are independent
    repetitions, and both sides of a difference share theirs (PROTOCOL.md). Tables say who was trained in which.
    """
    asked = record.config["protocol"].get("training", {}).get("precision")
    if asked is None:
        return record.config
    return {**record.config, "training": {**record.config["training"], "precision": asked}}


def scenes(groups: Sequence[list[Record]]) -> dict[tuple[str, str], Scene]:
    """Returns the scene of each key, with a note on what sets apart scenes of one family and protocol."""
    firsts = {scene_key(group[0]): group[0] for group in groups}
    found = {}
    for key, record in firsts.items():
        alike = [one for one in firsts if (one[0], firsts[one].protocol) == (key[0], record.protocol)]
        notes = dict(zip(alike, differences([json.loads(settings) for _, settings in alike]), strict=True))
        protocol = record.config["protocol"]
        # A protocol without its own settings, as in a record by hand, has the rate of the record.
        own = rate(protocol.get("training", record.config["training"]))
        found[key] = Scene(key[0], record.attack, record.protocol, own, key[1], notes[key])
    return found


def label(record: Record) -> tuple[object, ...]:
    """Returns what a row is called by: records of one label and different settings need a note."""
    return (*scene_key(record), record.method, constraint_of(record), rate(record.config["training"]))


def rate(training: dict[str, Any]) -> float:
    """Returns the learning rate to six digits: 2.5 * 2e-5 and 5e-5 are one rate."""
    return float(f"{training['learning_rate']:.6g}")


def differences(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Says for each configuration in which settings it differs from the others: "training.epochs=3"; "" if in none."""
    flat = [_flatten(config) for config in configs]
    names = sorted({name for one in flat for name in one})
    apart = [name for name in names if len({canonical(one.get(name)) for one in flat}) > 1]
    return [", ".join(f"{name}={one[name]}" for name in apart if name in one) for one in flat]


def canonical(value: Any) -> str:
    """Returns a value as JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True)


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    parts = [_flatten(one, f"{prefix}.{name}" if prefix else name) for name, one in value.items()]
    return {name: one for part in parts for name, one in part.items()}
