"""Recovery: what a method brings of its own decides its records, and gets only what its regime entitles it to."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedModel

from prune_env import aids
from prune_env.baselines import cells
from prune_env.baselines.cells import Cell, Settings
from prune_env.defense import defend, purify, search_mask, training_for
from prune_env.errors import CheckpointError, ConfigError
from prune_env.methods import Method, PolicyContext, get_method
from prune_env.observation import Observation
from prune_env.recovery import PLAIN, Job, Purified, begin, finish, fit, settings_of
from prune_env.scripted import Action, prune
from prune_env.search import NO_AIDS, Aids, Search, find_mask, members_of
from prune_env.types import full_mask, mask_from_text, mask_to_text
from prune_env.victims.store import open_victim
from prune_env.victims.training import cross_entropy
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY, world

GRADIENT = get_method("gradient")


@dataclass(frozen=True)
class Longer:
    """Plain fine-tuning of more epochs, noting what it was given."""

    epochs: int = 2

    def purify(self, job: Job) -> Purified:
        JOBS.append(job)
        begun = begin(job)
        fit(job, begun, cross_entropy(job.mask), training=replace(job.training, epochs=self.epochs))
        return finish(job, begun)


JOBS: list[Job] = []


def test_a_recovery_of_ones_own_is_used_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    method = replace(GRADIENT, name="longer", recovery=Longer(), mask_of="gradient")
    monkeypatch.setattr(cells, "get_method", lambda name: method if name == "longer" else get_method(name))
    victim = open_victim(world().victim("alpha"))
    settings = Settings(world().data, data=str(world().data), protocol="sentences")
    plans = [cells.plan(victim, "victim", Cell(("alpha",), name, 1, None), settings) for name in ("longer", "gradient")]
    assert plans[0].config["recovery"] == {"name": "Longer", "epochs": 2}
    assert "recovery" not in plans[1].config
    assert plans[0].config["search"] == plans[1].config["search"]
    assert plans[0].key != plans[1].key
    found, purified = defend(task(), method, SEARCH, TINY.training)
    assert np.array_equal(JOBS[-1].mask, found.mask)
    assert not equal(purified.model, purify(task(), found.mask, TINY.training).model)


def test_the_steps_of_a_recovery_are_plain_fine_tuning() -> None:
    mask = mask_from_text("10/11")
    job = Job(task(), mask, TINY.training)
    begun = begin(job)
    fit(job, begun, cross_entropy(mask))
    assert equal(finish(job, begun).model, purify(task(), mask, TINY.training).model)
    assert equal(PLAIN.purify(job).model, purify(task(), mask, TINY.training).model)


def test_settings_are_read_off_a_dataclass_only() -> None:
    class Loose:
        def purify(self, job: Job) -> Purified:
            raise NotImplementedError

    assert settings_of(Longer(epochs=5)) == {"name": "Longer", "epochs": 5}
    with pytest.raises(ConfigError, match="expected the recovery Loose to be a frozen dataclass"):
        settings_of(Loose())


def test_a_mask_of_another_method_is_searched_once() -> None:
    asked: list[str] = []
    found = find_mask(task(), GRADIENT, SEARCH)

    def known(method: Method) -> Any:
        asked.append(method.name)
        return found if method.name == "gradient" else None

    taken = search_mask(task(), replace(GRADIENT, name="other", mask_of="gradient"), SEARCH, known)
    assert taken is found and asked == ["other", "gradient"]


def test_a_method_of_its_own_rate_keeps_it() -> None:
    method = replace(get_method("ft"), name="warm", rate_factor=2.5)
    for rate in (None, 1e-3):
        assert training_for(TINY.training, rate, method).learning_rate == TINY.training.learning_rate * 2.5
    assert training_for(TINY.training, 1e-3).learning_rate == 1e-3
    with pytest.raises(ConfigError, match="positive rate_factor"):
        replace(method, rate_factor=0.0)


@pytest.mark.parametrize(
    ("name", "passes"),
    [("ft", 1), ("fth", 1), ("gradient", 1), ("meft", 2), ("pure", 1), ("reinit", 1), ("ensemble", 5), ("restart", 1)],
)
def test_sentences_of_a_recovery_are_counted_over_stages_and_members(name: str, passes: int) -> None:
    # 96 training sentences, one epoch: an epoch of entropy before it is another pass, and so is every member.
    aid = Aids(reference=task().suspect.model)
    _, purified = defend(task(), get_method(name), Search({"threshold": 0.05}), TINY.training, aids=aid)
    assert purified.sentences == 96 * passes


def test_epochs_count_and_a_stage_says_what_it_did() -> None:
    job = Job(task(), full_mask(2, 2), TINY.training)
    begun = begin(job)
    log = fit(job, begun, cross_entropy(), training=replace(TINY.training, epochs=2))
    assert (log.sentences, begun.logs) == (192, [log])
    assert finish(job, begun).sentences == 192


def test_the_shortcut_costs_what_the_scoring_model_cost() -> None:
    job = Job(task(), full_mask(2, 2), TINY.training)
    content = json.loads((task().folder / "task.json").read_text(encoding="utf-8"))
    assert PLAIN.purify(job).sentences == content["training"]["sentences"] == 96
    warm = replace(TINY.training, learning_rate=2e-3)
    assert PLAIN.purify(replace(job, training=warm)).sentences == 96


class OneHead:
    """Prunes a head that its seed draws, and stops."""

    def __init__(self, context: PolicyContext) -> None:
        self._rng = np.random.default_rng(context.seed)

    def predict(self, observation: Observation, *_: Any, **__: Any) -> tuple[Action, Any]:
        return prune(observation, [int(self._rng.integers(2))], stop=True), None


MEMBERS = Method(
    "members", "one head each", policy=OneHead, metrics=("gradient",), unconstrained=True, episodes=4
)  # fmt: skip


def test_an_ensemble_is_searched_in_episodes_of_its_own() -> None:
    found = find_mask(task(), MEMBERS, SEARCH)
    masks = members_of(MEMBERS, found.trace)
    assert len(masks) == len(found.trace) == 4
    assert all(mask.sum() == 3 for mask in masks)
    assert len({mask_to_text(mask) for mask in masks}) == 2, "episodes draw for themselves"
    assert np.array_equal(found.mask, masks[-1])
    counts = [step["evaluations"] for step in found.trace]
    assert counts == [2, 3, 4, 5] and found.evaluations == 5
    assert members_of(GRADIENT, found.trace) == ()
    again = find_mask(task(), MEMBERS, SEARCH)
    assert again.trace == found.trace


def test_a_member_that_misses_the_threshold_does_not_count() -> None:
    strict = replace(MEMBERS, unconstrained=False, environment={"on_violation": "terminate"})
    found = find_mask(task(), strict, Search({"threshold": 1.0}))
    assert members_of(strict, found.trace) == ()
    assert found.mask.all()


def test_aids_go_to_the_regime_that_names_them() -> None:
    victim = open_victim(world().victim("alpha"))
    assert aids.aids_for(GRADIENT, victim, 1) is NO_AIDS
    seeing = replace(GRADIENT, name="seeing", regime="oracle")
    with pytest.raises(ConfigError, match="needs to see the backdoor"):
        find_mask(task(), seeing, SEARCH)
    given: list[Any] = []

    def policy(context: PolicyContext) -> Any:
        given.append(context.oracle)
        return OneHead(context)

    for method in (replace(seeing, policy=policy), replace(GRADIENT, policy=policy)):
        find_mask(task(), method, SEARCH, aids=aids.aids_for(seeing, victim, 1))
    assert given[1] is None
    lfr = given[0](full_mask(2, 2)[None])
    assert lfr.shape == (1,) and 0.0 <= lfr[0] <= 1.0


def test_a_reference_is_handed_to_its_regime_only() -> None:
    def encoder() -> PreTrainedModel:
        raise AssertionError("loaded")

    for regime in ("reference", "clean_only"):
        method = Method("with", "x", recovery=Longer(1), regime=regime)
        defend(task(), method, SEARCH, TINY.training, aids=Aids(reference=encoder))
        assert (JOBS[-1].reference is encoder) is (regime == "reference")


def test_a_reference_is_the_encoder_that_the_manifest_names() -> None:
    tiny = open_victim("tiny-syntactic").manifest
    first, again, other = (aids.reference_of(tiny, seed)() for seed in (1, 1, 2))
    assert equal(first, again) and not equal(first, other)
    assert first.config.num_hidden_layers == 4
    victim = open_victim(world().victim("alpha"))
    lost = replace(victim.manifest, backbone="nobody sha256:0123456789abcdef")
    with pytest.raises(CheckpointError, match="nobody"):
        aids.reference_of(lost, 1)()
