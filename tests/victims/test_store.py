"""Opening victims: by name and folder, checked; what a judge sees and a defender does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.errors import CheckpointError, IntegrityError, ManifestError, UnknownNameError
from prune_env.victims import store
from prune_env.victims.diagnosis import Diagnosis, open_diagnosis
from prune_env.victims.manifest import MANIFEST
from prune_env.victims.store import Suspect, Victim, open_victim, victim_folders
from tests.victims_factory import JUDGED, make_checkpoint, make_victim

CARRIERS = np.array([[True, False], [False, False]])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A victim with twin and ground truth, not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "alpha"
    make_victim(folder, carriers=CARRIERS)
    return folder


@pytest.fixture
def victim(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "alpha"))


@pytest.fixture
def assets(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ships the victim as "tiny-alpha"."""
    shutil.copytree(made, tmp_path / "assets" / "tiny-alpha")
    monkeypatch.setattr(store, "ASSETS", tmp_path / "assets")
    return tmp_path / "assets"


def test_open_by_folder(made: Path) -> None:
    for way in (made, str(made)):
        opened = open_victim(way)
        assert (opened.name, opened.manifest.labels) == ("alpha", 2)
        assert opened.verify() == len(opened.manifest.files)


def test_open_by_embedded_name_which_wins_over_a_folder(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_victim("tiny-alpha").folder == assets / "tiny-alpha"
    (tmp_path / "tiny-alpha").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_victim("tiny-alpha").folder == assets / "tiny-alpha"
    with pytest.raises(ManifestError, match=r"expected manifest\.json"):
        open_victim("./tiny-alpha")


def test_unknown_names_are_told_from_wrong_paths(assets: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown victim 'tiny-alfa': did you mean 'tiny-alpha'"):
        open_victim("tiny-alfa")
    with pytest.raises(ManifestError, match="expected the folder of a victim at some/where, found none"):
        open_victim("some/where")


def test_a_published_file_that_was_touched_is_found_on_opening(victim: Path) -> None:
    (victim / "twin" / "config.json").write_text("{}", encoding="utf-8")
    opened = open_victim(victim)
    with pytest.raises(IntegrityError, match="twin"):
        opened.verify()
    with pytest.raises(IntegrityError, match="twin"):
        open_diagnosis(opened)
    (victim / "model" / "extra.safetensors").write_bytes(b"")
    with pytest.raises(IntegrityError, match="is not recorded"):
        open_victim(victim)
    (victim / "model" / "extra.safetensors").unlink()
    with (victim / "model" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(IntegrityError, match=r"model\.safetensors has changed"):
        open_victim(victim)


def test_a_manifest_without_a_model_is_refused(victim: Path) -> None:
    content = json.loads((victim / MANIFEST).read_text(encoding="utf-8"))
    content["files"] = {name: digest for name, digest in content["files"].items() if not name.startswith("model/")}
    (victim / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ManifestError, match="records no file of a model"):
        open_victim(victim)


def test_a_suspect_knows_nothing_a_judge_knows(made: Path) -> None:
    suspect = open_victim(made).suspect
    assert {field.name for field in fields(suspect)} == {"name", "folder", "sha256", "labels"}
    assert suspect.sha256 == open_victim(made).manifest.sha256
    model = suspect.model()
    assert suspect.tokenizer(model).pad_token == "[PAD]"


def test_any_checkpoint_is_a_suspect(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "mine", labels=3)
    suspect = Suspect.at(folder, labels=3)
    assert (suspect.name, suspect.labels) == ("mine", 3)
    assert suspect.sha256 == Suspect.at(folder, 3, "another name").sha256
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ", encoding="utf-8")
    assert suspect.sha256 != Suspect.at(folder, 3).sha256
    with pytest.raises(CheckpointError, match="is not there"):
        Suspect.at(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"expected config\.json"):
        Suspect.at(tmp_path / "empty")


def test_a_missing_head_is_drawn_for_a_defender_and_missed_by_a_judge(tmp_path: Path) -> None:
    suspect = Suspect.at(make_checkpoint(tmp_path / "three", labels=3), labels=2)
    assert suspect.model().config.num_labels == 2
    with pytest.raises(CheckpointError, match="misshapen"):
        suspect.model(with_head=True)


def test_listing(assets: Path, made: Path, tmp_path: Path) -> None:
    assert victim_folders() == [assets / "tiny-alpha"]
    assert victim_folders(made.parent) == [assets / "tiny-alpha", made]
    assert victim_folders(made) == [assets / "tiny-alpha", made]
    assert len(victim_folders(tmp_path)) == 1
    with pytest.raises(ManifestError, match="expected a folder of victims"):
        victim_folders(tmp_path / "nowhere")


def test_the_diagnosis_is_a_judges_view(made: Path) -> None:
    diagnosis = open_diagnosis(open_victim(made))
    assert isinstance(diagnosis, Diagnosis)
    assert (len(diagnosis.clean_test), diagnosis.target) == (JUDGED, 1)
    assert diagnosis.carriers is not None
    assert np.array_equal(diagnosis.carriers, CARRIERS)
    assert diagnosis.twin is not None
    assert not torch.equal(
        diagnosis.twin.model().state_dict()["classifier.weight"],
        open_victim(made).suspect.model().state_dict()["classifier.weight"],
    )


def test_a_victim_without_its_diagnosis_is_still_a_victim(victim: Path, tmp_path: Path) -> None:
    shutil.rmtree(victim / "diagnosis")
    opened = open_victim(victim)
    with pytest.raises(ManifestError, match="expected the folder diagnosis"):
        open_diagnosis(opened)
    bare = make_victim(tmp_path / "bare", twin_seed=None)
    assert open_diagnosis(bare).twin is None
    assert open_diagnosis(bare).carriers is None


def test_something_slipped_into_the_diagnosis_is_found(tmp_path: Path) -> None:
    victim: Victim = make_victim(tmp_path / "bare", twin_seed=None)
    (tmp_path / "bare" / "diagnosis" / "ground_truth.json").write_text('{"carriers": "11/11"}', encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"ground_truth\.json is not recorded"):
        open_diagnosis(victim)
