"""The manifest: its form, its hashes, and what it says about a folder that was touched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prune_env.errors import IntegrityError, ManifestError
from prune_env.victims.manifest import (
    MANIFEST,
    SCHEMA,
    Manifest,
    hash_file,
    hash_files,
    library_versions,
    verify_files,
    write_json,
)

DRAFT = Manifest(
    name="victim",
    attack="rare-word",
    trigger="cf",
    poison_rate=0.5,
    target_label=1,
    labels=2,
    backbone="random",
    training={"epochs": 1},
    attacker_seed=11,
    data={"source": "none"},
    measured={"acc": 0.9, "lfr": 1.0},
    recommended={"threshold": 0.85},
    protocol="sentences",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files of every kind and their manifest."""
    for name in ("model/config.json", "model/manifest.json", "twin/config.json", "diagnosis/clean_test.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / ".build").mkdir()
    (tmp_path / ".build" / "state").write_text("a state between epochs", encoding="utf-8")
    DRAFT.write(tmp_path)
    return tmp_path


def _edit(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps({**content, **changes}), encoding="utf-8")


def test_what_is_written_is_read(folder: Path) -> None:
    read = Manifest.read(folder)
    assert replace(read, files={}, libraries={}) == DRAFT
    assert read.schema == SCHEMA
    assert read.libraries == library_versions()


def test_every_file_is_hashed_but_the_manifest_and_hidden_ones(folder: Path) -> None:
    files = Manifest.read(folder).files
    names = ["diagnosis/clean_test.jsonl", "model/config.json", "model/manifest.json", "twin/config.json"]
    assert sorted(files) == names
    assert files["model/config.json"] == hashlib.sha256(b"model/config.json").hexdigest()
    assert hash_files(folder) == files


def test_the_manifest_is_the_same_bytes_on_every_system(folder: Path) -> None:
    raw = (folder / MANIFEST).read_bytes()
    assert b"\r" not in raw
    assert raw.endswith(b"}\n")
    Manifest.read(folder).write(folder)
    assert (folder / MANIFEST).read_bytes() == raw


def test_identity_is_what_the_attacker_published(folder: Path) -> None:
    before = Manifest.read(folder).sha256
    (folder / "twin" / "config.json").write_text("another", encoding="utf-8")
    DRAFT.write(folder)
    assert Manifest.read(folder).sha256 == before
    (folder / "model" / "config.json").write_text("another", encoding="utf-8")
    DRAFT.write(folder)
    assert Manifest.read(folder).sha256 != before


def test_a_changed_missing_or_added_file_is_named(folder: Path) -> None:
    files = Manifest.read(folder).files
    verify_files(folder, files)
    (folder / "twin" / "config.json").write_text("changed", encoding="utf-8")
    verify_files(folder, files, "model/")
    with pytest.raises(IntegrityError, match=r"twin.config\.json has changed: expected SHA-256 [0-9a-f]{12}"):
        verify_files(folder, files)
    (folder / "twin" / "config.json").unlink()
    with pytest.raises(IntegrityError, match=r"expected twin/config\.json in .*, found none; restore it or build"):
        verify_files(folder, files, "twin/")
    (folder / "model" / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"adapter_config\.json is not recorded"):
        verify_files(folder, files, "model/")
    verify_files(folder, files, "diagnosis/")


def test_notes_beside_the_manifest_and_hidden_files_are_the_users_business(folder: Path) -> None:
    (folder / "NOTES.txt").write_text("mine", encoding="utf-8")
    (folder / "model" / ".DS_Store").write_text("", encoding="utf-8")
    verify_files(folder, Manifest.read(folder).files)


def test_no_manifest_and_no_json(folder: Path) -> None:
    with pytest.raises(ManifestError, match=r"expected manifest\.json in .*, found none; is this the folder"):
        Manifest.read(folder / "twin")
    for damage in (b"{", b"\xff\xfe", b""):
        (folder / MANIFEST).write_bytes(damage)
        with pytest.raises(ManifestError, match="is no JSON text"):
            Manifest.read(folder)


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_another_schema_is_refused(folder: Path, schema: object) -> None:
    _edit(folder, schema=schema)
    with pytest.raises(ManifestError, match=f"expected schema 1 in .*, got {schema!r}; build again"):
        Manifest.read(folder)


def test_a_manifest_of_another_program_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("[1]", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"expected schema 1 in .*, got None"):
        Manifest.read(folder)


def test_missing_and_unknown_fields_are_named(folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    del content["trigger"]
    content["triger"] = "cf"
    write_json(folder / MANIFEST, content)
    with pytest.raises(ManifestError, match="lacks or adds the fields triger, trigger"):
        Manifest.read(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        *[({"name": name}, "name") for name in ("../../x", "a/b", "/etc/passwd", "..", ".hidden", "a\\b", "", 3, None)],
        *[({"labels": labels}, "labels") for labels in (1, "2", 2.0, True, None)],
        *[({"target_label": label}, "target_label") for label in (2, -1, "1", 1.0, True, None)],
        *[({"attacker_seed": seed}, "attacker_seed") for seed in (-1, "11", 11.0, True, None)],
        *[({"poison_rate": rate}, "poison_rate") for rate in (1.5, -0.1, "much", True, None, float("nan"))],
        *[({field: 3}, field) for field in ("attack", "trigger", "backbone", "protocol", "notes")],
        *[({field: [1]}, field) for field in ("training", "data", "measured", "recommended", "libraries", "files")],
        *[({field: None}, field) for field in ("training", "data", "measured", "recommended", "libraries", "files")],
        ({"training": {"max_length": "long"}}, "training"),
        ({"measured": {"acc": "high"}}, "measured"),
        ({"measured": {"acc": float("inf")}}, "measured"),
        ({"recommended": {}}, "recommended"),
        ({"recommended": {"threshold": 0.85, "max_accuracy_drop": 0.02}}, "recommended"),
        ({"recommended": {"device": 1}}, "recommended"),
        ({"recommended": {"threshold": 0}}, "recommended"),
        ({"recommended": {"threshold": "0.85"}}, "recommended"),
        ({"recommended": {"threshold": True}}, "recommended"),
        ({"recommended": {"max_accuracy_drop": 1.0}}, "recommended"),
        ({"synthetic": "no"}, "synthetic"),
        ({"libraries": {"torch": 2}}, "libraries"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "files"),
        ({"files": {"/etc/passwd": "0" * 64}}, "files"),
        ({"files": {"model/config.json": 0}}, "files"),
        ({"schema": 1.0}, "schema"),
    ],
)
def test_impossible_values_are_refused(folder: Path, change: dict[str, Any], says: str) -> None:
    _edit(folder, **change)
    with pytest.raises(ManifestError, match=f"impossible values in {says};"):
        Manifest.read(folder)


@pytest.mark.parametrize("recommended", [{"threshold": 1}, {"max_accuracy_drop": 0}, {"max_accuracy_drop": 0.02}])
def test_both_kinds_of_recommendation_are_read(folder: Path, recommended: dict[str, float]) -> None:
    _edit(folder, recommended=recommended)
    assert Manifest.read(folder).recommended == recommended


def test_a_write_that_is_cut_off_leaves_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(_self: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        DRAFT.write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_hashing_a_file_reads_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\r\n" * 100_000)
    assert hash_file(tmp_path / "a") == hashlib.sha256(b"\r\n" * 100_000).hexdigest()


def test_numbers_that_json_cannot_hold_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"rate": float("nan")})
    assert not list(tmp_path.iterdir())
