"""A defender's task: disjoint clean splits, a fine-tuned scoring model, cached, checked, without test data."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune_env.errors import ConfigError, DataError, IntegrityError, ManifestError, UnknownNameError
from prune_env.seeds import derive
from prune_env.victims import protocols, task
from prune_env.victims.checkpoint import fresh_head
from prune_env.victims.data import Sentences
from prune_env.victims.protocols import (
    PROTOCOLS,
    CleanData,
    Protocol,
    draw,
    fingerprint,
    get_protocol,
    own_data,
    sample,
)
from prune_env.victims.store import Suspect
from prune_env.victims.task import SPLITS, Task, build_task, open_task
from prune_env.victims.training import TrainingConfig, train
from tests.victims.layout import make_layout, sentences
from tests.victims_factory import make_checkpoint

TRAINING = TrainingConfig(learning_rate=5e-4, epochs=2, batch_size=16, precision="float32")
OWN = Protocol("own-data", "own-data", None, 10, TRAINING)
TRAIN, VALID = sentences(140, seed=8), sentences(60, seed=9)


@pytest.fixture(scope="module")
def suspect(tmp_path_factory: pytest.TempPathFactory) -> Suspect:
    """A random checkpoint."""
    return Suspect.at(make_checkpoint(tmp_path_factory.mktemp("suspect") / "model"))


@pytest.fixture
def build(suspect: Suspect, cache_folder: Path) -> Callable[..., Task]:
    """Builds a task on one's own data, in a cache of this test."""

    def built(seed: int = 11, protocol: Protocol = OWN, **options: Any) -> Task:
        return build_task(suspect, protocol, seed, clean=own_data(TRAIN, VALID, seed), **options)

    return built


def test_splits_are_disjoint_and_complete(build: Callable[..., Task]) -> None:
    found = build()
    texts = [set(split.texts) for split in (found.train, found.search, found.certify)]
    assert [len(split) for split in texts] == [126, 60, 14]
    assert not texts[0] & texts[1] | texts[0] & texts[2] | texts[1] & texts[2]
    assert texts[0] | texts[2] == set(TRAIN.texts)
    assert found.search == VALID


def test_a_task_has_no_test_data(build: Callable[..., Task]) -> None:
    found = build()
    assert {field.name for field in fields(found)} == {
        "suspect", "protocol", "seed", "folder", "train", "search", "certify",
    }  # fmt: skip
    assert not [name for name in dir(found) if "test" in name or "trigger" in name or "diagnos" in name]
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "certify.jsonl.gz", "model", "search.jsonl.gz", "task.json", "timing.json", "train.jsonl.gz",
    ]  # fmt: skip
    tokenizer = found.tokenizer(found.scoring_model())
    assert len(found.tokens("certify", tokenizer)) == 14
    with pytest.raises(ConfigError, match="expected a split among train, search, certify, got 'test'"):
        found.tokens("test", tokenizer)


def test_the_scoring_model_is_plain_fine_tuning_of_the_suspect(build: Callable[..., Task], suspect: Suspect) -> None:
    found = build()
    model = suspect.model()
    tokens = found.tokens("train", suspect.tokenizer(model))
    fresh_head(model, derive(11, "defender-head"))
    train(model, tokens, TRAINING, derive(11, "defender-training"))
    scoring = found.scoring_model()
    assert all(torch.equal(weight, scoring.state_dict()[name]) for name, weight in model.state_dict().items())


def test_a_cached_task_is_opened_and_not_trained(build: Callable[..., Task]) -> None:
    first = build()
    again = build(on_step=lambda *_: pytest.fail("trained again"))
    assert (first.folder, first.sha256, first.build_seconds) == (again.folder, again.sha256, again.build_seconds)
    assert again.build_seconds > 0


def test_a_task_built_twice_is_the_same_content(
    build: Callable[..., Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build()
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "another"))
    second = build()
    assert first.folder != second.folder
    assert first.sha256 == second.sha256


def test_seed_protocol_and_data_make_another_task(build: Callable[..., Task], suspect: Suspect) -> None:
    other_training = replace(OWN, training=replace(TRAINING, learning_rate=1e-3))
    tasks = [build(), build(12), build(11, other_training)]
    tasks.append(build_task(suspect, OWN, 11, clean=own_data(sentences(140, seed=7), VALID, 11)))
    assert len({found.sha256 for found in tasks}) == len({found.folder for found in tasks}) == 4
    assert tasks[0].certify != tasks[1].certify


@pytest.mark.parametrize("name", ["search.jsonl.gz", "model/model.safetensors", "model/config.json"])
def test_a_changed_file_is_named_with_what_to_do(build: Callable[..., Task], name: str) -> None:
    found = build()
    with (found.folder / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(IntegrityError, match=r"has changed: .* delete that task's folder and run again"):
        build()
    shutil.rmtree(found.folder)
    assert build().sha256 == found.sha256


def test_an_added_or_missing_file_is_found(build: Callable[..., Task]) -> None:
    found = build()
    (found.folder / "model" / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(IntegrityError, match="is not recorded"):
        build()
    (found.folder / "model" / "adapter_config.json").unlink()
    (found.folder / "certify.jsonl.gz").unlink()
    with pytest.raises(IntegrityError, match=r"expected certify\.jsonl\.gz"):
        build()


def test_a_task_of_another_suspect_seed_or_schema_is_refused(
    build: Callable[..., Task], suspect: Suspect, tmp_path: Path
) -> None:
    found = build()
    other = Suspect.at(make_checkpoint(tmp_path / "other", seed=5))
    with pytest.raises(IntegrityError, match="its suspect_sha256 is another; delete that task's folder"):
        open_task(found.folder, other, OWN, 11)
    with pytest.raises(IntegrityError, match="its seed is another"):
        open_task(found.folder, suspect, OWN, 12)
    with pytest.raises(IntegrityError, match="its protocol is another"):
        open_task(found.folder, suspect, PROTOCOLS["phrases"], 11)
    path = found.folder / "task.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "schema": 99}), encoding="utf-8")
    with pytest.raises(ManifestError, match=r"expected schema 1 in .*, got 99"):
        build()


def test_an_interrupted_build_leaves_no_task_and_goes_on(
    build: Callable[..., Task], cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(on_step=interrupt)
    assert not list((cache_folder / "tasks").glob("*/task.json"))
    steps: list[int] = []
    resumed = build(on_step=lambda done, _: steps.append(done))
    assert steps[0] == 9, "the first of two epochs is not repeated"
    assert sorted(path.name for path in (cache_folder / "tasks").iterdir()) == [
        resumed.folder.name, f"{resumed.folder.name}.lock",
    ]  # fmt: skip
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "another"))
    whole = build()
    resumed_model, whole_model = (one.scoring_model().state_dict() for one in (resumed, whole))
    assert all(torch.equal(resumed_model[name], weight) for name, weight in whole_model.items())


def test_what_a_broken_task_left_behind_is_cleared(build: Callable[..., Task]) -> None:
    found = build()
    (found.folder / "task.json").unlink()
    assert build().sha256 == found.sha256


def test_a_task_that_ships_is_opened_where_it_lies(
    build: Callable[..., Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = build()
    monkeypatch.setattr(task, "ASSETS", tmp_path / "assets")
    shutil.move(found.folder, tmp_path / "assets" / "tasks" / found.folder.name)
    assert build().folder == tmp_path / "assets" / "tasks" / found.folder.name


def test_a_negative_seed_is_refused(suspect: Suspect) -> None:
    with pytest.raises(ConfigError, match="expected a seed >= 0, got -1"):
        build_task(suspect, OWN, -1)


def test_the_real_layout_is_split_by_protocol(tmp_path: Path, suspect: Suspect, cache_folder: Path) -> None:
    data = make_layout(tmp_path / "data")
    small = Protocol("small", "sentences", 40, 20, TRAINING)
    found = build_task(suspect, small, 11, data)
    assert [len(getattr(found, name)) for name in SPLITS] == [40, 20, 20]
    assert found.search == draw(small, 11, data).search
    assert len({*found.train.texts, *found.search.texts, *found.certify.texts}) == 80
    before = fingerprint(small, data)
    with (data / "sst2" / "sentences" / "train.tsv").open("a", encoding="utf-8") as file:
        file.write("w1 w2 w3\t1\n")
    assert fingerprint(small, data) != before


def test_missing_data_is_named(tmp_path: Path, suspect: Suspect) -> None:
    data = make_layout(tmp_path / "data")
    with pytest.raises(DataError, match=r"expected .*phrases.train\.tsv, found none; run `prune-env data fetch"):
        build_task(suspect, PROTOCOLS["phrases"], 11, data)
    with pytest.raises(ConfigError, match="pass the clean data"):
        build_task(suspect, OWN, 11)
    with pytest.raises(DataError, match="expected at least 2000 sentences to hold 1000 out"):
        draw(PROTOCOLS["sentences"], 11, data)


def test_own_data_must_be_enough_and_apart() -> None:
    found = own_data(TRAIN, VALID, 3)
    assert isinstance(found, CleanData)
    assert found.fingerprint == own_data(TRAIN, VALID, 4).fingerprint
    assert found.certify == own_data(TRAIN, VALID, 3).certify != own_data(TRAIN, VALID, 4).certify
    with pytest.raises(DataError, match="got 99 of 99 and 60"):
        own_data(TRAIN.take(range(99)), VALID, 3)
    with pytest.raises(DataError, match="got 140 of 140 and 49"):
        own_data(TRAIN, VALID.take(range(49)), 3)
    with pytest.raises(DataError, match="got 80 of 140 and 60"):
        own_data(TRAIN, TRAIN.take(range(60)), 3)


def test_protocols_are_named_and_checked() -> None:
    assert get_protocol("phrases-15k").train_size == 15_000
    assert get_protocol("phrases-15k", learning_rate=1e-4).training == TrainingConfig(1e-4, epochs=1)
    assert get_protocol(OWN) is OWN
    with pytest.raises(UnknownNameError, match="did you mean 'phrases'"):
        get_protocol("phrase")
    with pytest.raises(ConfigError, match="expected a protocol source among"):
        Protocol("x", "imdb", None, 10)
    for sizes in ((0, 10), (10, 0)):
        with pytest.raises(ConfigError, match="expected protocol sizes of at least 1"):
            Protocol("x", "sentences", *sizes)
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())
    assert json.loads(json.dumps(OWN.to_json())) == OWN.to_json()


@pytest.mark.parametrize(
    ("name", "steps"), [("phrases-200", 21), ("phrases-2000", 189), ("phrases-15k", 469), ("embedded", 282)]
)
def test_a_protocol_trains_as_many_steps_as_it_says(name: str, steps: int) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.train_size is not None
    assert math.ceil(protocol.train_size / protocol.training.batch_size) * protocol.training.epochs == steps


def test_scarce_data_differs_from_the_papers_in_its_size_alone() -> None:
    for name, size in (("phrases-200", 200), ("phrases-2000", 2000)):
        assert replace(PROTOCOLS[name], name="phrases", train_size=None) == PROTOCOLS["phrases"]
        assert PROTOCOLS[name].train_size == size


def test_drawing_more_than_there_is_is_an_error() -> None:
    with pytest.raises(DataError, match="expected at least 200 training sentences, got 140"):
        sample(TRAIN, 200, np.random.default_rng(0))
    drawn = sample(TRAIN, 50, np.random.default_rng(0))
    assert len(set(drawn.texts)) == 50
    assert [TRAIN.texts.index(text) for text in drawn.texts] == sorted(TRAIN.texts.index(text) for text in drawn.texts)
    assert isinstance(sample(TRAIN, None, np.random.default_rng(0)), Sentences)
    assert protocols.SOURCES[-1] == "own-data"
