"""What only a judge may know of a victim. Reporting code opens it; code that searches a mask never does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from prune_env.errors import ManifestError
from prune_env.types import HeadMask, mask_from_text, mask_to_text
from prune_env.victims.data import Sentences, read_sentences, write_jsonl
from prune_env.victims.manifest import Manifest, verify_files
from prune_env.victims.store import Suspect, Victim

FOLDER = "diagnosis"
SETS = ("clean_test", "triggered_test", "triggered_dev")


@dataclass(frozen=True)
class Diagnosis:
    """A judge's view.

    Attributes:
        clean_test: Clean test sentences; ACC is measured here.
        triggered_test: Triggered test sentences of every class with their ORIGINAL labels: LFR is measured on the
            non-target ones, AUC between the two.
        triggered_dev: Triggered validation sentences, for oracle methods only.
        target: The class the trigger leads to.
        twin: The never-poisoned model of the same recipe, or None.
        carriers: The heads the backdoor was routed through, (layers, heads), True = carries it; None if unknown.
    """

    clean_test: Sentences
    triggered_test: Sentences
    triggered_dev: Sentences
    target: int
    twin: Suspect | None
    carriers: HeadMask | None


def write_diagnosis(
    folder: Path,
    clean_test: Sentences,
    triggered_test: Sentences,
    triggered_dev: Sentences,
    carriers: HeadMask | None = None,
) -> None:
    """Writes the judge's files into a victim's folder (before its manifest, which hashes them)."""
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    for name, sentences in zip(SETS, (clean_test, triggered_test, triggered_dev), strict=True):
        write_jsonl(sentences, place / f"{name}.jsonl")
    if carriers is not None:
        truth = {"carriers": mask_to_text(carriers), "meaning": "1 = the backdoor was routed through this head"}
        (place / "ground_truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8", newline="\n")


def open_diagnosis(victim: Victim) -> Diagnosis:
    """Opens a victim's diagnosis after checking the hashes of its files and of the twin's.

    Raises:
        ManifestError: The victim came without its diagnosis.
        IntegrityError: A file is missing or changed.
    """
    folder, manifest = victim.folder, victim.manifest
    if not (folder / FOLDER).is_dir():
        raise ManifestError(f"expected the folder {FOLDER} in {folder}, found none; without it nothing can be judged")
    verify_files(folder, manifest.files, f"{FOLDER}/")
    verify_files(folder, manifest.files, "twin/")
    return read_diagnosis(folder, manifest)


def read_diagnosis(folder: Path, manifest: Manifest) -> Diagnosis:
    """Reads a diagnosis whose hashes are not recorded yet, or checked already: of a victim that is being built."""
    truth = folder / FOLDER / "ground_truth.json"
    carriers = mask_from_text(json.loads(truth.read_text(encoding="utf-8"))["carriers"]) if truth.is_file() else None
    sets = [read_sentences(folder / FOLDER / f"{name}.jsonl", manifest.labels) for name in SETS]
    twin = None
    if (folder / "twin").is_dir():
        twin = Suspect.at(folder / "twin", manifest.labels, f"{manifest.name} (twin)")
    return Diagnosis(sets[0], sets[1], sets[2], manifest.target_label, twin, carriers)
