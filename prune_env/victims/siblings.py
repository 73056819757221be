"""Siblings: victims of one attacker's seed, whose never-poisoned twin is one and the same model, trained once."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prune_env.victims.manifest import MANIFEST, Manifest, verify_files

OWN_LOSS = frozenset({"layer-wise"})
"""Attacks that train with a loss of their own, their twins included: no other attack's twin is theirs."""


def share_twin(wanted: Mapping[str, Any], folder: Path, work: Path, siblings: Iterable[Path]) -> bool:
    """Copies the twin of the first sibling that has the wanted one, whole and unchanged.

    Args:
        wanted: What decides the twin: seed, backbone, training, labels, clean_sha256.
        folder: The victim's folder, which has no twin yet.
        work: Its folder for what is not finished.
        siblings: Folders of other victims; one that is not finished has no twin to give.

    Returns:
        Whether there was one.

    Raises:
        IntegrityError: A finished sibling's twin has changed.
    """
    found = next((place for place in siblings if (place / "twin").is_dir() and _has(wanted, place)), None)
    if found is None:
        return False
    done = work / "twin.done"
    shutil.rmtree(done, ignore_errors=True)
    shutil.copytree(found / "twin", done)
    done.rename(folder / "twin")
    return True


def _has(wanted: Mapping[str, Any], place: Path) -> bool:
    """Whether a sibling is finished and its twin is the wanted one."""
    if not (place / MANIFEST).is_file():
        return False
    manifest = Manifest.read(place)
    verify_files(place, manifest.files, "twin/")
    facts = {**manifest.data, **asdict(manifest), "seed": manifest.attacker_seed}
    return manifest.attack not in OWN_LOSS and all(facts.get(name) == value for name, value in wanted.items())
