"""The manifest: what a victim is made of, with the hash of every file."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from prune_env.cache import write_text
from prune_env.errors import IntegrityError, ManifestError

SCHEMA = 1
MANIFEST = "manifest.json"
REMEDY = "restore it or build the victim again"
NAME = re.compile(r"\w[\w.-]*")
"""What a victim may be called: its name becomes that of folders and files elsewhere."""

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

    Raises:
        ManifestError: A value of the wrong kind or outside its range.
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

    def __post_init__(self) -> None:
        """Checks every field, and what others build on: a name is part of paths, recommendations become settings."""
        wrong = sorted(self._wrong())
        if wrong:
            raise ManifestError(
                f"the manifest of {self.name!r} has impossible values in {', '.join(wrong)}; expected a name of "
                "letters, digits, '.', '_' and '-', labels >= 2, a target among them, rates in [0, 1], one "
                f"recommended setting, and files below the folder; {REMEDY}"
            )

    def _wrong(self) -> set[str]:
        """Returns the names of the fields of the wrong kind or outside their range."""
        labelled = type(self.labels) is int and self.labels >= 2
        checks = {
            "name": type(self.name) is str and NAME.fullmatch(self.name) is not None,
            "labels": labelled,
            "target_label": _is_label(self.target_label, self.labels if labelled else None),
            "attacker_seed": type(self.attacker_seed) is int and self.attacker_seed >= 0,
            "poison_rate": _is_rate(self.poison_rate),
            "training": type(self.training) is dict and _is_count(self.training.get("max_length", 1)),
            "data": type(self.data) is dict,
            "measured": type(self.measured) is dict and all(map(_is_number, self.measured.values())),
            "recommended": _is_constraint(self.recommended),
            "synthetic": type(self.synthetic) is bool,
            "libraries": _is_texts(self.libraries),
            "files": _is_texts(self.files) and all(map(_inside, self.files)),
            "schema": type(self.schema) is int,
        }
        texts = {
            name: type(getattr(self, name)) is str for name in ("attack", "trigger", "backbone", "protocol", "notes")
        }
        return {name for name, right in (checks | texts).items() if not right}

    def write(self, folder: Path) -> None:
        """Writes the manifest in one step, after hashing every other file of the folder: it makes a victim finished."""
        write_json(folder / MANIFEST, {**asdict(self), "files": hash_files(folder), "libraries": library_versions()})

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Reads and checks the manifest's form (not the files' hashes; see `verify_files`).

        Raises:
            ManifestError: No manifest, another schema, fields missing, or values of the wrong kind.
        """
        return cls(**read_fields(folder / MANIFEST, SCHEMA, [f.name for f in fields(cls)], "a victim"))

    @property
    def sha256(self) -> str:
        """The victim's identity: the hash of what the attacker published, `model/` (twin and diagnosis apart)."""
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
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path} is no JSON text ({error}); restore the file or build again") from error
    found = content.get("schema") if isinstance(content, dict) else None
    if found != schema:
        raise ManifestError(f"expected schema {schema} in {path}, got {found!r}; build again with this version")
    if set(content) != set(names):
        off = sorted(set(content) ^ set(names))
        raise ManifestError(f"{path} lacks or adds the fields {', '.join(off)}; build again with this version")
    return dict(content)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object in one step, its keys sorted, so that equal content is equal bytes."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> list[str]:
    """Returns every file below the folder by relative path with forward slashes, sorted; hidden ones are left out.

    Hidden are names with a leading dot: the states of an unfinished build, and what file managers leave behind.
    """
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def hash_files(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file below the folder but the manifest itself, by relative path."""
    return {name: hash_file(folder / name) for name in list_files(folder) if name != MANIFEST}


def verify_files(folder: Path, expected: dict[str, str], under: str = "", remedy: str = REMEDY) -> None:
    """Checks the files recorded below `under` against their hashes, and that nothing was put into their folders.

    Args:
        folder: Where the files lie.
        expected: SHA-256 by relative path.
        under: Beginning of the paths to check, such as "model/"; all by default.
        remedy: What to do about a changed file, for the message.

    Raises:
        IntegrityError: A file is missing, changed, or in a folder without being recorded.
    """
    recorded = {name: digest for name, digest in expected.items() if name.startswith(under)}
    for name, digest in recorded.items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"expected {name} in {folder}, found none; {remedy}")
        found = hash_file(path)
        if found != digest:
            raise IntegrityError(
                f"{path} has changed: expected SHA-256 {digest[:12]}..., got {found[:12]}...; {remedy}"
            )
    # A loader may read any file of a checkpoint's folder. What lies beside the manifest is the user's own business.
    surplus = [name for name in list_files(folder) if name.startswith(under) and "/" in name and name not in recorded]
    if surplus:
        raise IntegrityError(f"{folder / surplus[0]} is not recorded; expected nothing but recorded files; {remedy}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_label(value: object, labels: int | None) -> bool:
    return type(value) is int and value >= 0 and (labels is None or value < labels)


def _is_rate(value: Any) -> bool:
    return _is_number(value) and 0.0 <= value <= 1.0


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_texts(value: object) -> bool:
    return type(value) is dict and all(type(text) is str for pair in value.items() for text in pair)


def _is_constraint(value: object) -> bool:
    """Tells whether this is {"threshold": in (0, 1]} or {"max_accuracy_drop": in [0, 1)}."""
    if type(value) is not dict or len(value) != 1:
        return False
    ((name, number),) = value.items()
    outside = {"threshold": 0.0, "max_accuracy_drop": 1.0}
    return name in outside and _is_rate(number) and number != outside[name]


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def library_versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that results depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
