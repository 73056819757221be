"""What a published model and its twin do, with the attacker's own heads: the rates in a manifest, and their check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prune_env.engine.architecture import describe
from prune_env.victims.diagnosis import Diagnosis, open_diagnosis, read_diagnosis
from prune_env.victims.judge import judge
from prune_env.victims.manifest import Manifest
from prune_env.victims.store import Suspect, Victim

MAX_LENGTH = 128


@dataclass(frozen=True)
class Remeasured:
    """One rate of a manifest, measured again.

    Attributes:
        rate: Its key in the manifest, such as "lfr" or "twin_acc".
        recorded: What the manifest says, in [0, 1].
        found: What was measured now, in [0, 1].
        tolerance: Two sentences' worth: on another machine sums of floats round differently.
    """

    rate: str
    recorded: float
    found: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the two differ by no more than the tolerance."""
        return abs(self.recorded - self.found) <= self.tolerance + 1e-12


def measure(victim: Victim, max_length: int = MAX_LENGTH) -> dict[str, float]:
    """Measures ACC, LFR and AUC of the published model, and of the twin under keys that begin with "twin_".

    Hashes are not looked at, so that a victim can be measured before its manifest is written.
    """
    return _measure(victim.folder, victim.manifest, read_diagnosis(victim.folder, victim.manifest), max_length)


def remeasure(victim: Victim) -> list[Remeasured]:
    """Measures the rates of a manifest again: each ACC and LFR in it, in the manifest's order.

    Raises:
        ManifestError: The victim came without its diagnosis.
        IntegrityError: A file of the diagnosis or of the twin is missing, changed or added.
    """
    diagnosis = open_diagnosis(victim)
    length = int(victim.manifest.training.get("max_length", MAX_LENGTH))
    found = _measure(victim.folder, victim.manifest, diagnosis, length)
    counts = {"acc": len(diagnosis.clean_test), "lfr": len(diagnosis.triggered_test.excluding(diagnosis.target))}
    return [
        Remeasured(rate, recorded, found[rate], 2.0 / counts[rate.removeprefix("twin_")])
        for rate, recorded in victim.manifest.measured.items()
        if rate in found and rate.removeprefix("twin_") in counts
    ]


def _measure(folder: Path, manifest: Manifest, diagnosis: Diagnosis, max_length: int) -> dict[str, float]:
    measured = _rates("", Victim(folder, manifest).suspect, diagnosis, max_length)
    if diagnosis.twin is not None:
        measured |= _rates("twin_", diagnosis.twin, diagnosis, max_length)
    return measured


def _rates(prefix: str, suspect: Suspect, diagnosis: Diagnosis, max_length: int) -> dict[str, float]:
    model = suspect.model(with_head=True)
    tokenizer = suspect.tokenizer(model)
    found = judge(model, tokenizer, diagnosis, min(max_length, describe(model).positions))
    return {f"{prefix}acc": found.acc, f"{prefix}lfr": found.lfr, f"{prefix}auc": found.auc}
