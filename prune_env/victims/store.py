"""Victims on disk: opening, checking, listing. What only a judge may know is opened by `diagnosis` alone.

Layout of a victim's folder:
    manifest.json   what it is made of, with the hash of every file
    model/          what the attacker publishes: a save_pretrained checkpoint with its tokenizer
    twin/           the never-poisoned model, same recipe without poison (optional; a judge's)
    diagnosis/      clean and triggered test sentences, ground truth (a judge's)
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prune_env.errors import ManifestError, UnknownNameError
from prune_env.victims.checkpoint import load_model, load_tokenizer
from prune_env.victims.checkpoint_folder import check_folder
from prune_env.victims.manifest import MANIFEST, Manifest, hash_files, verify_files

ASSETS = Path(__file__).resolve().parent.parent / "assets"


@dataclass(frozen=True)
class Suspect:
    """A checkpoint that a defender downloaded, of which nothing else is known.

    Attributes:
        name: How it is called in tables.
        folder: A save_pretrained checkpoint folder.
        sha256: Identity: hash over the folder's files.
        labels: Number of classes.
    """

    name: str
    folder: Path
    sha256: str
    labels: int

    def model(self, with_head: bool = False) -> PreTrainedModel:
        """Loads the model; checked as `load_model` says. To measure it as published, ask for its own head."""
        return load_model(self.folder, self.labels, with_head=with_head)

    def tokenizer(self, model: PreTrainedModel) -> PreTrainedTokenizerBase:
        """Loads the tokenizer that fits the model."""
        return load_tokenizer(self.folder, model)

    @classmethod
    def at(cls, folder: Path, labels: int = 2, name: str | None = None) -> Suspect:
        """Describes any checkpoint folder by its files.

        Raises:
            CheckpointError: No checkpoint folder, or one that is refused.
        """
        check_folder(folder)
        return cls(name or folder.resolve().name, folder, _digest(hash_files(folder)), labels)


@dataclass(frozen=True)
class Victim:
    """An opened victim: the folder and its manifest.

    Attributes:
        folder: The victim's folder.
        manifest: What it is made of.
    """

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The manifest's name."""
        return self.manifest.name

    @property
    def suspect(self) -> Suspect:
        """What a defender sees of it."""
        return Suspect(self.name, self.folder / "model", self.manifest.sha256, self.manifest.labels)

    def verify(self) -> int:
        """Checks every recorded file, twin and diagnosis included, and returns how many there are.

        Raises:
            IntegrityError: A file is missing, changed, or added.
        """
        verify_files(self.folder, self.manifest.files)
        return len(self.manifest.files)


def embedded_names() -> list[str]:
    """Returns the names of the victims that ship with the package."""
    return sorted(path.parent.name for path in ASSETS.glob(f"*/{MANIFEST}"))


def folder_of(victim: str | Path) -> Path:
    """Returns a victim's folder by embedded name or as it is given.

    An embedded name wins over a folder of that name; write ./NAME for the folder.

    Raises:
        UnknownNameError: Neither a folder nor an embedded name.
        ManifestError: The path of no folder.
    """
    folder = ASSETS / str(victim) if str(victim) in embedded_names() else Path(victim).expanduser()
    if not folder.is_dir():
        if Path(victim).name != str(victim):
            raise ManifestError(f"expected the folder of a victim at {victim}, found none; build it or check the path")
        raise UnknownNameError("victim", str(victim), embedded_names())
    return folder


def open_victim(victim: str | Path) -> Victim:
    """Opens a victim by embedded name or folder, after checking the hashes of the published model.

    Raises:
        UnknownNameError: Neither a folder nor an embedded name.
        ManifestError: A folder that is no victim, or one of another schema.
        IntegrityError: A published file is missing, changed, or added.
    """
    folder = folder_of(victim)
    manifest = Manifest.read(folder)
    if not any(name.startswith("model/") for name in manifest.files):
        raise ManifestError(f"{folder / MANIFEST} records no file of a model; restore it or build the victim again")
    verify_files(folder, manifest.files, "model/")
    return Victim(folder, manifest)


def victim_folders(folder: Path | None = None) -> list[Path]:
    """Returns the folders of the embedded victims and of those in `folder`: itself, or lying directly in it.

    Raises:
        ManifestError: `folder` is no folder.
    """
    found = [ASSETS / name for name in embedded_names()]
    if folder is None:
        return found
    if not folder.is_dir():
        raise ManifestError(f"expected a folder of victims at {folder}, found none; check the path")
    if (folder / MANIFEST).is_file():
        return [*found, folder]
    return found + sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
