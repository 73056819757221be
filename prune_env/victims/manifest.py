"""The manifest: what a victim is made of, with the hash of every file."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from prune_env.errors import IntegrityError, ManifestError

SCHEMA = 1
MANIFEST = "manifest.json"
LIBRARIES = ("prune-env", "torch", "transformers", "tokenizers", "datasets", "numpy", "safetensors")


@dataclass(frozen=True)
class Manifest:
    """Everything the attacker did and what a judge measured; rates are in [0, 1].

    Attributes:
        name: The victim's name.
        attack: Registered attack.
        trigger: What the trigger is, in words.
        poison_rate: Share of the non-target sentences whose number was added as poison.
        target_label: Class the trigger leads to.
        labels: Number of classes.
        backbone: What the encoder was before: a model id, a package, or a configuration.
        training: Every hyperparameter of the attacker's training.
        attacker_seed: Seed of poison, initial head, order and dropout.
        data: Where the clean data came from and how much of it.
        measured: ACC and LFR of the published model and of its twin, with the attacker's own heads.
        recommended: Settings for an environment on this victim, such as {"threshold": 0.85}.
        protocol: The defender's protocol that fits this victim.
        synthetic: True where the backdoor was put into chosen heads on purpose (head-localised).
        notes: One sentence a reader should know.
        libraries: Versions at build time.
        files: SHA-256 of every other file, by its path in the folder.
        schema: Version of this format.
    """

    name: str
    attack: str
    trigger: str
    poison_rate: float
    target_label: int
    labels: int
    backbone: str
    training: dict[str, Any]
    attacker_seed: int
    data: dict[str, Any]
    measured: dict[str, float]
    recommended: dict[str, float]
    protocol: str
    synthetic: bool = False
    notes: str = ""
    libraries: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def write(self, folder: Path) -> None:
        """Writes the manifest, after hashing every other file of the folder."""
        complete = {**asdict(self), "files": hash_files(folder), "libraries": library_versions()}
        text = json.dumps(complete, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Reads and checks the manifest's form (not the files' hashes; see `verify_files`).

        Raises:
            ManifestError: No manifest, another schema, or fields missing.
        """
        return cls(**read_fields(folder / MANIFEST, SCHEMA, [f.name for f in fields(cls)], "a victim"))

    @property
    def sha256(self) -> str:
        """Returns the victim's identity: the hash of what the attacker published, `model/` (twin and diagnosis apart)."""
        published = {name: digest for name, digest in self.files.items() if name.startswith("model/")}
        return hashlib.sha256(json.dumps(published, sort_keys=True).encode()).hexdigest()


def read_fields(path: Path, schema: int, names: list[str], what: str) -> dict[str, Any]:
    """Reads a JSON object with exactly these fields and this schema version.

    Raises:
        ManifestError: No such file, no JSON object, another schema, or other fields.
    """
    if not path.is_file():
        raise ManifestError(f"expected {path.name} in {path.parent}, found none; is this the folder of {what}?")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} is no JSON text ({error}); restore the file or build again") from error
    found = content.get("schema") if isinstance(content, dict) else None
    if found != schema:
        raise ManifestError(f"expected schema {schema} in {path}, got {found!r}; build again with this version")
    if set(content) != set(names):
        off = sorted(set(content) ^ set(names))
        raise ManifestError(f"{path} lacks or adds the fields {', '.join(off)}; build again with this version")
    return dict(content)


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file below the folder but the manifest itself, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


def verify_files(folder: Path, expected: dict[str, str], under: str = "") -> None:
    """Checks the files recorded below `under` against their hashes.

    Raises:
        IntegrityError: A file is missing or changed.
    """
    for name, digest in expected.items():
        if not name.startswith(under):
            continue
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"expected {name} in {folder}, found none; restore it or build the victim again")
        found = hash_file(path)
        if found != digest:
            raise IntegrityError(
                f"{path} has changed: expected SHA-256 {digest[:12]}..., got {found[:12]}...; "
                "restore it or build the victim again"
            )


def library_versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that results depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
