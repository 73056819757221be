"""Restart: plain fine-tuning, but of the clean encoder, and nothing of the suspect is left."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from transformers import PreTrainedModel

from prune_env.aids import aids_for
from prune_env.baselines import cells
from prune_env.baselines.cells import Cell, run_cell
from prune_env.baselines.restart import RESTART, CleanEncoder
from prune_env.defense import defend, purify
from prune_env.errors import ConfigError
from prune_env.purification import Order, purify_checkpoint
from prune_env.recovery import Job, Purified
from prune_env.search import Aids
from prune_env.types import full_mask
from prune_env.victims.checkpoint import load_model
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.store import open_victim
from prune_env.victims.task import build_task
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY, make_checkpoint, world

FULL = full_mask(2, 2)


def load(seed: int) -> PreTrainedModel:
    with TemporaryDirectory() as folder:
        return load_model(make_checkpoint(Path(folder) / "clean", seed))


def test_on_the_suspects_own_encoder_it_is_plain_fine_tuning() -> None:
    # A clip of another value but no effect keeps plain recovery from handing out the scoring model.
    training = replace(TINY.training, max_grad_norm=1.0 + 1e-12)
    again = CleanEncoder().purify(Job(task(), FULL, training, reference=task().suspect.model))
    assert equal(again.model, purify(task(), FULL, training).model)
    assert not again.model.training


def test_nothing_of_the_suspect_is_left() -> None:
    victim = open_victim(world().victim("alpha"))
    twin = open_diagnosis(victim).twin
    assert twin is not None
    tasks = (task(), build_task(twin, TINY, 12, data=world().data))
    aids = Aids(reference=lambda: load(7))
    found, purified = zip(*(defend(one, RESTART, SEARCH, TINY.training, aids=aids) for one in tasks), strict=True)
    assert equal(purified[0].model, purified[1].model), "its LFR is its own floor"
    assert not equal(purified[0].model, task().scoring_model())
    assert all(one.mask.all() and one.evaluations == 0 for one in found)


def test_the_suspects_of_a_cell_share_one_restart_and_are_judged_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The victims' own backbone is random weights; a checkpoint of the same tokenizer stands for the clean encoder.
    monkeypatch.setattr(cells, "aids_for", lambda *_: Aids(reference=partial(load, 7)))
    fitted: list[int] = []
    purify = CleanEncoder.purify

    def counted(self: CleanEncoder, job: Job) -> Purified:
        fitted.append(1)
        return purify(self, job)

    monkeypatch.setattr(CleanEncoder, "purify", counted)
    (tmp_path / "alone").mkdir()
    settings, names = world().settings(tmp_path), (world().victim("alpha"), world().victim("beta"))
    together = run_cell(Cell(names, "restart", 11, None), settings)
    assert (len(together), len(fitted)) == (4, 1)
    alone = [run_cell(Cell((name,), "restart", 11, None), world().settings(tmp_path / "alone")) for name in names]
    assert len(fitted) == 3
    timeless = {one.key: replace(one, seconds=0.0, search_seconds=0.0) for one in together}
    assert timeless == {one.key: replace(one, seconds=0.0, search_seconds=0.0) for group in alone for one in group}
    for name in ("alpha", "beta"):
        victim, twin = sorted((one for one in together if one.victim == name), key=lambda one: one.role, reverse=True)
        assert victim.flipped == twin.flipped and victim.floor_lfr == twin.lfr
        assert victim.model_sha256 != twin.model_sha256 and victim.task_sha256 != twin.task_sha256


def test_another_encoder_gives_another_model() -> None:
    jobs = [Job(task(), FULL, TINY.training, reference=partial(load, seed)) for seed in (7, 7, 8)]
    models = [CleanEncoder().purify(job) for job in jobs]
    assert equal(models[0].model, models[1].model)
    assert not equal(models[0].model, models[2].model)


def test_it_needs_a_clean_encoder() -> None:
    with pytest.raises(ConfigError, match="expected a clean encoder"):
        defend(task(), RESTART, SEARCH, TINY.training)


def test_it_is_no_method_of_clean_data() -> None:
    assert RESTART.regime == "reference"
    assert RESTART.policy is None
    with pytest.raises(ConfigError, match="needs reference information"):
        purify_checkpoint(Order(model="none", train=world().data, valid=world().data, method="restart"))


def test_an_embedded_victim_has_a_clean_encoder_drawn_by_the_defender() -> None:
    victim = open_victim("tiny-syntactic")
    aids = [aids_for(RESTART, victim, seed).reference for seed in (1, 1, 2)]
    models = [reference() for reference in aids if reference is not None]
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])
