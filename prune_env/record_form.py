"""The form of a record's JSON: every field's kind, and what readers look up inside `config`, `trace` and the bits."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from prune_env.errors import MaskError
from prune_env.types import mask_from_text

CONFIG: dict[str, Any] = {"protocol": dict[str, Any], "search": dict[str, Any], "training": dict[str, Any]}
"""What `config` holds at least."""

STEP: dict[str, Any] = {
    "attempted": str, "attempted_accuracy": float, "mask": str, "accuracy": float, "evaluations": int,
}  # fmt: skip
"""What an entry of `trace` holds at least."""


def problem(content: Mapping[str, Any], kinds: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with a record's fields, in words that name the first one; None if they can be read.

    Args:
        content: The fields, all of them there.
        kinds: Each field's type, as `typing.get_type_hints` gives it.
    """
    found = _wrong(content, kinds, "")
    found = found or _wrong(content["config"], CONFIG, "config.")
    found = found or _wrong(content["config"]["training"], {"learning_rate": float}, "config.training.")
    for number, step in enumerate(content["trace"] if found is None else (), 1):
        found = found or _wrong(step, STEP, f"trace, step {number}: ")
    return found or _wrong_shape(content)


def fits(value: object, kind: Any) -> bool:
    """Whether a JSON value is of a kind such as `float | None` or `dict[str, list[int]]`; bools are no numbers."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is UnionType:
        return any(fits(value, one) for one in inner)
    if origin is dict:
        return isinstance(value, dict) and all(fits(one, inner[1]) for one in value.values())
    if origin is list:
        return isinstance(value, list) and all(fits(one, inner[0]) for one in value)
    if kind in {int, float}:
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _wrong(content: Mapping[str, Any], kinds: Mapping[str, Any], where: str) -> str | None:
    for name, kind in kinds.items():
        if name not in content:
            return f"{where}{name} is missing"
        if not fits(content[name], kind):
            return f"expected {where}{name} to be {_words(kind)}, got {str(content[name])[:40]!r}"
    return None


def _wrong_shape(content: Mapping[str, Any]) -> str | None:
    """Returns the first mask or importance that has another shape than the final mask."""
    try:
        shape = mask_from_text(content["mask"]).shape
        for step in content["trace"]:
            for name in ("attempted", "mask"):
                if mask_from_text(step[name]).shape != shape:
                    return f"expected masks of {shape[0]} layers of {shape[1]} heads, got {step[name][:40]!r} in trace"
    except MaskError as error:
        return str(error)
    for metric, scores in content["importance"].items():
        if [len(row) for row in scores] != [shape[1]] * shape[0]:
            return f"expected importance {metric} of {shape[0]} layers of {shape[1]} heads"
    return None


def _words(kind: Any) -> str:
    if get_origin(kind) is UnionType:
        return " or ".join(_words(one) for one in get_args(kind))
    names = {str: "text", int: "a whole number", float: "a number", dict: "an object", list: "a list", NoneType: "null"}
    return names.get(get_origin(kind) or kind, str(kind))
