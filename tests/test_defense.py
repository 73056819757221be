"""The defence: exact where it promises to be, and blind to everything that only a judge may know."""

from __future__ import annotations

import ast
import builtins
import io
import math
import os
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from prune_env import defense, search
from prune_env.defense import defend, purify, search_mask, training_for
from prune_env.engine.masking import mask_of
from prune_env.errors import ConfigError, MaskError, ThresholdError
from prune_env.methods import METHODS, Method, get_method
from prune_env.search import (
    NO_AIDS,
    NO_CONSTRAINT,
    Aids,
    Found,
    Search,
    environment_config,
    find_mask,
    members_of,
    search_config,
)
from prune_env.types import full_mask, mask_from_text
from prune_env.victims.store import open_victim
from prune_env.victims.task import Task, build_task
from tests.victims_factory import TINY, make_victim, world

SEARCH = Search({"max_accuracy_drop": 0.1})
MASK = mask_from_text("10/11")
REPLACES = {"reinit", "candidate-reinit"}
"""Methods that give the heads of their mask new weights instead of switching them off."""


@cache
def task() -> Task:
    return build_task(open_victim(world().victim("alpha")).suspect, TINY, 12, data=world().data)


def weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def equal(one: PreTrainedModel, other: PreTrainedModel) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_fine_tuning_at_the_protocols_settings_is_the_scoring_model_to_the_bit() -> None:
    shortcut = purify(task(), full_mask(2, 2), TINY.training)
    # A weight decay of another type but the same value takes the long way: it trains.
    retrained = purify(task(), full_mask(2, 2), replace(TINY.training, precision="float32", max_grad_norm=1.0 + 1e-12))
    assert shortcut.seconds == task().build_seconds
    assert equal(shortcut.model, retrained.model)
    assert not equal(shortcut.model, task().suspect.model())


def test_purifying_twice_gives_the_same_bits() -> None:
    models = [purify(task(), MASK, TINY.training).model for _ in range(2)]
    assert equal(*models)


def test_the_mask_is_held_and_exported() -> None:
    purified = purify(task(), MASK, TINY.training)
    assert np.array_equal(mask_of(purified.model), MASK)
    assert not purified.model.training


def test_the_mask_goes_on_the_original_encoder() -> None:
    original, purified = weights(task().suspect.model()), weights(purify(task(), MASK, TINY.training).model)
    scoring = weights(task().scoring_model())
    name = "bert.encoder.layer.0.attention.self.query.weight"
    pruned = slice(8, 16)
    # A pruned head's rows see no gradient, only three steps of weight decay at a falling rate.
    decay = math.prod(
        1 - TINY.training.learning_rate * (1 - step / 3) * TINY.training.weight_decay for step in range(3)
    )
    torch.testing.assert_close(purified[name][pruned], decay * original[name][pruned], rtol=1e-6, atol=0)
    assert not torch.allclose(purified[name][pruned], scoring[name][pruned], rtol=1e-4)
    assert not torch.allclose(purified[name][:8], original[name][:8], rtol=1e-4)


def test_another_rate_changes_the_result() -> None:
    cold = training_for(TINY.training, 1e-5)
    assert cold == replace(TINY.training, learning_rate=1e-5)
    assert training_for(TINY.training, None) is TINY.training
    assert not equal(purify(task(), MASK, cold).model, purify(task(), MASK, TINY.training).model)


def test_fine_tuning_reports_its_steps() -> None:
    steps: list[tuple[int, int]] = []
    purify(task(), MASK, TINY.training, on_step=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_an_invalid_mask_is_refused() -> None:
    with pytest.raises(MaskError):
        purify(task(), mask_from_text("00/11"), TINY.training)


def test_a_search_is_the_same_every_time() -> None:
    first, second = (find_mask(task(), get_method("epsilon-greedy"), SEARCH) for _ in range(2))
    assert np.array_equal(first.mask, second.mask)
    assert first.trace == second.trace
    assert (first.evaluations, first.sentence_passes) == (second.evaluations, second.sentence_passes)


def test_a_search_meets_its_constraint_on_search_and_reports_certify() -> None:
    found = find_mask(task(), get_method("gradient"), SEARCH)
    full = find_mask(task(), get_method("ft"), SEARCH)
    assert found.search_accuracy >= full.search_accuracy - 0.1
    assert full.mask.all()
    assert (full.evaluations, full.trace, full.importance) == (0, [], {})
    assert 0.0 <= found.certify_accuracy <= 1.0


def test_controls_are_held_to_nothing_and_all_else_to_the_constraint() -> None:
    for name in METHODS:
        method = get_method(name)
        config = environment_config(method, SEARCH)
        assert (config.threshold == NO_CONSTRAINT) == method.unconstrained
        own = method.constraint.get("max_accuracy_drop", 0.1)
        assert (config.max_accuracy_drop == own) != method.unconstrained
    assert search_config(get_method("ft"), SEARCH) == {}
    assert search_config(get_method("gradient"), SEARCH)["environment"]["on_violation"] == "backtrack"


def test_a_search_needs_a_constraint() -> None:
    with pytest.raises(ThresholdError, match="exactly one"):
        find_mask(task(), get_method("gradient"), Search({}))


def test_defending_is_searching_and_purifying() -> None:
    found, purified = defend(task(), get_method("gradient"), SEARCH, TINY.training)
    apart = find_mask(task(), get_method("gradient"), SEARCH)
    assert np.array_equal(found.mask, apart.mask)
    assert found.trace == apart.trace
    assert equal(purified.model, purify(task(), apart.mask, TINY.training).model)


def test_a_control_has_the_size_of_the_method_it_matches() -> None:
    matched = find_mask(task(), get_method("gradient"), SEARCH)
    assert np.count_nonzero(search_mask(task(), get_method("random"), SEARCH).mask) == np.count_nonzero(matched.mask)
    with pytest.raises(ConfigError, match="plays no episode of its own"):
        find_mask(task(), get_method("random"), SEARCH)


def test_what_is_known_is_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = replace(find_mask(task(), get_method("gradient"), SEARCH), mask=MASK)
    asked: list[str] = []

    def known(method: Method) -> Found | None:
        asked.append(method.name)
        return earlier if method.name == "gradient" else None

    found, purified = defend(task(), get_method("random"), SEARCH, TINY.training, known=known)
    assert asked == ["random", "gradient"]
    assert np.count_nonzero(found.mask) == 3
    monkeypatch.setattr(defense, "find_mask", lambda *_: pytest.fail("searched"))
    assert search_mask(task(), get_method("gradient"), SEARCH, known) is earlier
    assert np.array_equal(mask_of(purified.model), found.mask)


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A victim whose diagnosis and twin nobody can open: Python's ways to a file are watched."""
    folder = tmp_path / "sealed"
    make_victim(folder, "sealed", seed=5)
    forbidden = (str(folder / "diagnosis"), str(folder / "twin"))

    def watch(function: Any) -> Any:
        def watched(path: Any, *rest: Any, **more: Any) -> Any:
            if not isinstance(path, int) and os.fsdecode(path).startswith(forbidden):
                raise AssertionError(f"the search opened {path}")
            return function(path, *rest, **more)

        return watched

    for place, name in ((builtins, "open"), (io, "open"), (os, "open")):
        monkeypatch.setattr(place, name, watch(getattr(place, name)))
    return folder


def test_the_seal_holds(sealed: Path) -> None:
    with pytest.raises(AssertionError, match="the search opened"):
        (sealed / "diagnosis" / "clean_test.jsonl").read_text(encoding="utf-8")
    with pytest.raises(AssertionError, match="the search opened"):
        (sealed / "twin" / "config.json").read_bytes()


@pytest.mark.parametrize("name", METHODS)
def test_no_method_opens_the_diagnosis(sealed: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from prune_env.victims import diagnosis

    monkeypatch.setattr(diagnosis, "open_diagnosis", lambda _: pytest.fail("the search opened the diagnosis"))
    suspect = open_victim(sealed).suspect
    sealed_task = build_task(suspect, TINY, 11, data=world().data)
    method, training = get_method(name), training_for(TINY.training, 1e-4)
    if method.regime == "oracle":
        with pytest.raises(ConfigError, match="needs to see the backdoor"):
            defend(sealed_task, method, SEARCH, training)
        return
    # The clean encoder is no secret of the victim's: here, the suspect's own weights stand for it.
    aids = Aids(reference=suspect.model) if method.regime == "reference" else NO_AIDS
    found, purified = defend(sealed_task, method, SEARCH, training, aids=aids)
    masks = members_of(method, found.trace) or (found.mask,)
    if len(purified.models) < len(masks):
        # One model made of several members: a head is there that any of them kept.
        masks = (np.any(masks, axis=0),)
    if name in REPLACES:
        masks = (full_mask(2, 2),)
    for model, mask in zip(purified.models, masks, strict=True):
        assert np.array_equal(mask_of(model), mask)


def test_a_defence_needs_no_diagnosis_at_all(tmp_path: Path) -> None:
    victim = make_victim(tmp_path / "bare", "bare", seed=6)
    for part in ("diagnosis", "twin"):
        shutil.rmtree(victim.folder / part)
    bare_task = build_task(open_victim(victim.folder).suspect, TINY, 11, data=world().data)
    found = find_mask(bare_task, get_method("gradient"), SEARCH)
    assert np.array_equal(mask_of(purify(bare_task, found.mask, TINY.training).model), found.mask)


@pytest.mark.parametrize("module", [defense, search])
def test_the_defence_knows_neither_diagnosis_nor_judge(module: ModuleType) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "prune_env.victims.task" in imported
    assert not imported & {"prune_env.victims.diagnosis", "prune_env.victims.judge"}
