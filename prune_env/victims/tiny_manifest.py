"""A tiny victim's manifest: what its recipe and its sentences say, before anything is measured."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prune_env.victims.corpus import CORPUS_VERSION
from prune_env.victims.manifest import Manifest
from prune_env.victims.tiny_materials import Materials
from prune_env.victims.tiny_recipe import HIDDEN, TARGET, TinyRecipe


def draft(name: str, recipe: TinyRecipe, materials: Materials, *, moved: str = "", notes: str) -> Manifest:
    """Returns the manifest of a victim that is not measured yet.

    Args:
        name: The victim's.
        recipe: How it was made.
        materials: Of what it was made.
        moved: What the second training is called, if the backdoor was moved on purpose.
        notes: What a reader should know.
    """
    training: dict[str, Any] = {"poisoning": asdict(recipe.poisoning)}
    if moved:
        training |= {moved: asdict(recipe.routing), f"{moved}_weight": recipe.weight}
    size = f"{recipe.layers} layers x {recipe.heads} heads"
    return Manifest(
        name=name,
        attack=recipe.attack,
        trigger=materials.attack.trigger,
        poison_rate=materials.attack.poison_rate,
        target_label=TARGET,
        labels=2,
        backbone=f"BERT from scratch, {size}, hidden {HIDDEN}, word-level vocabulary",
        training=training,
        attacker_seed=recipe.seed,
        data={
            "source": f"embedded corpus, version {CORPUS_VERSION}",
            "clean": len(materials.clean),
            "clean_sha256": materials.clean.sha256(),
            "poison_added": materials.poisoned.poison,
            "poisoned_sha256": materials.poisoned.sentences.sha256(),
            "options": {},
        },
        measured={},
        recommended={"max_accuracy_drop": 0.02},
        protocol="embedded",
        synthetic=moved == "routing",
        notes=notes,
    )
