"""Methods by name: each is there, says what it needs, and an unknown one is answered with the nearest."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from prune_env.errors import ConfigError, UnknownNameError
from prune_env.importance import METRICS
from prune_env.methods import CANDIDATES, METHODS, Method, PolicyContext, get_method, kind_of
from prune_env.search import Search, find_mask

AIDED = {"restart": "reference", "oracle": "oracle"}
"""The only methods that are given more than clean data, and what."""


@pytest.mark.parametrize("name", METHODS)
def test_every_registered_method_is_there(name: str) -> None:
    method = get_method(name)
    assert method.name == name
    assert method.summary
    assert method.regime == AIDED.get(name, "clean_only")
    assert set(method.metrics) <= set(METRICS)
    assert method.matches is None or method.matches in METHODS


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown method 'gradiant': did you mean 'gradient'"):
        get_method("gradiant")


def test_an_unknown_regime_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="regime"):
        Method("mine", "a test", regime="guesses")


def test_a_policy_needs_a_metric() -> None:
    def policy(_: PolicyContext) -> object:
        return object()

    with pytest.raises(ConfigError, match="no importance metric"):
        Method("mine", "a test", policy=policy)  # type: ignore[arg-type]


def test_a_method_of_one_model_refuses_any_other_before_it_searches() -> None:
    learned = replace(get_method("gradient"), name="learned", victim_sha256="1" * 64)
    learned.check_victim("1" * 64, "mine")
    get_method("gradient").check_victim("2" * 64, "any")
    task: Any = SimpleNamespace(suspect=SimpleNamespace(sha256="2" * 64, name="other"))
    with pytest.raises(ConfigError, match=r"that method 'learned' was trained on, got other: .*--policy heads"):
        find_mask(task, learned, Search({"threshold": 0.9}))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown kind of method 'miracle'"):
        Method("mine", "a test", kind="miracle")


def test_kinds_are_what_the_methods_are() -> None:
    kinds = {name: kind_of(name) for name in METHODS}
    assert {name for name, kind in kinds.items() if kind == "own"} == {"hybrid", *CANDIDATES}
    assert all(name.startswith("candidate-") for name in CANDIDATES)
    assert kind_of("a method of another version") == "strategy"
    assert {name for name, kind in kinds.items() if kind == "baseline"} == {"ft", "fth", "meft", "pure"}
    assert all(kind == "control" for name, kind in kinds.items() if name.startswith(("random", "as-released")))
    assert all(kinds[name] == "control" for name in ("reinit", *AIDED))
    assert kinds["gradient"] == kinds["ensemble"] == kinds["epsilon-greedy"] == kinds["anp"] == "strategy"


@pytest.mark.parametrize("more", [{"environment": {"threshold": 0.9}}, {"constraint": {"threshold": 0.9}}])
def test_an_accuracy_to_hold_stands_in_one_place(more: dict[str, dict[str, float]]) -> None:
    with pytest.raises(ConfigError, match="in `constraint` alone"):
        Method("mine", "a test", unconstrained="constraint" in more, **more)  # type: ignore[arg-type]
