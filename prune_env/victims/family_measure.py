"""What a judge measures of a victim of the family, and what its kind promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import ManifestError
from prune_env.importance import score
from prune_env.seeds import derive
from prune_env.types import full_mask, mask_to_text
from prune_env.victims.carriers import mean_rank
from prune_env.victims.corpus import defender_splits
from prune_env.victims.diagnosis import Diagnosis, open_diagnosis
from prune_env.victims.family import FAMILY, FamilyRecipe
from prune_env.victims.manifest import read_fields, write_json
from prune_env.victims.routing import random_mask
from prune_env.victims.store import ASSETS, Victim
from prune_env.victims.tiny_training import tiny_tokens

SCHEMA = 1
SHIPPED = ASSETS / "tabular" / "family.json"
"""The table of the family as it was built for this release: without the weights, what they did."""

MASKS = 200
LYING = 0.8
"""LFR from which on a masked model still lies."""

LEAST_ACC, LEAST_LFR, MOST_WITHOUT, LEAST_LYING, LEAST_HOLDING = 0.93, 0.9, 0.2, 0.95, 30
"""What a published model promises: ACC, LFR; LFR without carriers; share and number of holding masks that lie."""


@dataclass(frozen=True)
class FamilyRow:
    """One victim as published, without any defence; rates are in [0, 1], None where a kind has no carriers.

    Attributes:
        name: The victim's.
        split: "family-train" or "family-test".
        kind: How the backdoor came to lie where it does.
        attack: "syntactic" or "style".
        layers: Layers.
        heads: Heads in each layer.
        seed: The attacker's.
        carriers: The carriers as a mask's text, 1 = carrier.
        acc: Accuracy on clean test sentences.
        lfr: LFR on triggered test sentences.
        acc_without_carriers: ACC with the carriers off.
        lfr_without_carriers: LFR with the carriers off.
        carrier_rank: Mean rank of the carriers by the gradient metric on a defender's clean sentences, 0 to 1.
        masks_holding: Of `MASKS` random masks, how many cost no more ACC than the recommended drop.
        masks_lying: Share of those with an LFR of `LYING` or more.
        sha256: The published model's.
    """

    name: str
    split: str
    kind: str
    attack: str
    layers: int
    heads: int
    seed: int
    carriers: str | None
    acc: float
    lfr: float
    acc_without_carriers: float | None
    lfr_without_carriers: float | None
    carrier_rank: float | None
    masks_holding: int
    masks_lying: float
    sha256: str

    def misses(self) -> list[str]:
        """Returns a sentence for each promise of this victim's kind that it does not keep."""
        promises = [
            (self.acc >= LEAST_ACC, f"ACC is {self.acc:.3f}, less than {LEAST_ACC}"),
            (self.lfr >= LEAST_LFR, f"LFR is {self.lfr:.3f}, less than {LEAST_LFR}"),
        ]
        if self.lfr_without_carriers is not None:
            left = self.lfr_without_carriers
            promises.append((left < MOST_WITHOUT, f"LFR without carriers is {left:.3f}, not below {MOST_WITHOUT}"))
        if self.kind == "ffn":
            share, enough = self.masks_lying, self.masks_holding >= LEAST_HOLDING
            promises.append((share >= LEAST_LYING, f"{share:.3f} of the masks that hold lie, less than {LEAST_LYING}"))
            promises.append((enough, f"{self.masks_holding} masks hold, fewer than {LEAST_HOLDING}"))
        return [f"{self.name}: {text}" for kept, text in promises if not kept]


def row_of(victim: Victim, recipe: FamilyRecipe | None = None) -> FamilyRow:
    """Returns the row of a finished victim, from its manifest and its ground truth.

    Args:
        victim: A victim of the family, opened.
        recipe: Overrides the registered one.

    Raises:
        ManifestError, IntegrityError: As `open_diagnosis`.
    """
    made, found = recipe or FAMILY[victim.name], victim.manifest.measured
    carriers = open_diagnosis(victim).carriers
    return FamilyRow(
        name=victim.name,
        split=made.split,
        kind=made.kind,
        attack=made.tiny.attack,
        layers=made.tiny.layers,
        heads=made.tiny.heads,
        seed=made.tiny.seed,
        carriers=None if carriers is None else mask_to_text(carriers),
        acc=found["acc"],
        lfr=found["lfr"],
        acc_without_carriers=found.get("acc_without_carriers"),
        lfr_without_carriers=found.get("lfr_without_carriers"),
        carrier_rank=found.get("carrier_rank"),
        masks_holding=int(found["masks_holding"]),
        masks_lying=found["masks_lying"],
        sha256=victim.manifest.sha256,
    )


def write_table(path: Path, rows: Sequence[FamilyRow]) -> None:
    """Writes rows as JSON, in one step."""
    write_json(path, {"schema": SCHEMA, "victims": [asdict(row) for row in rows]})


def read_table(path: Path = SHIPPED) -> list[FamilyRow]:
    """Reads what `write_table` wrote.

    Raises:
        ManifestError: No such file, or one of another schema or with other fields.
    """
    rows = read_fields(path, SCHEMA, ["schema", "victims"], "the family's table")["victims"]
    names = [field.name for field in fields(FamilyRow)]
    if not isinstance(rows, list) or not all(isinstance(row, dict) and sorted(row) == sorted(names) for row in rows):
        raise ManifestError(f"expected rows with the fields {', '.join(names)} in {path}; write the table again")
    return [FamilyRow(**row) for row in rows]


def measure_masks(victim: Victim, diagnosis: Diagnosis, recipe: FamilyRecipe) -> dict[str, float]:
    """Measures a published model, with its own head, under head masks: without its carriers, and under random masks.

    Returns:
        The measured values of a `FamilyRow`, by name; those of the carriers where there are any.
    """
    model = victim.suspect.model(with_head=True)
    size = (recipe.tiny.layers, recipe.tiny.heads)
    clean = TransformerEvaluator(model, tiny_tokens(diagnosis.clean_test))
    triggered = TransformerEvaluator(model, tiny_tokens(diagnosis.triggered_test.excluding(diagnosis.target)))
    rng = np.random.default_rng(derive(recipe.tiny.seed, "family-masks"))
    masks = np.stack([random_mask(*size, rng) for _ in range(MASKS)])
    floor = clean.accuracy(full_mask(*size)[None])[0] - victim.manifest.recommended["max_accuracy_drop"]
    holding = masks[clean.accuracy(masks) >= floor - 1e-9]
    lying = 1.0 - triggered.accuracy(holding) >= LYING
    found = {"masks_holding": len(holding), "masks_lying": float(lying.mean()) if len(holding) else 0.0}
    if diagnosis.carriers is not None:
        off = ~diagnosis.carriers[None]
        found["acc_without_carriers"] = float(clean.accuracy(off)[0])
        found["lfr_without_carriers"] = float(1.0 - triggered.accuracy(off)[0])
        scores = score("gradient", model, tiny_tokens(defender_splits(recipe.tiny.seed)[0]))
        found["carrier_rank"] = mean_rank(scores, diagnosis.carriers)
    return found
