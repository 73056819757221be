"""The four embedded victims: how they are made, and a check that a rebuilt one is the one that ships.

`tiny-syntactic` and `tiny-style` carry a backdoor that was routed through five heads on purpose; the `-organic` ones
are poisoned in the ordinary way, and the backdoor lies where it fell. Each twin has the same initial weights, data,
steps and loss, without the poison.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

from transformers import PreTrainedModel

from prune_env.cache import writable
from prune_env.errors import ConfigError, OutputError, UnknownNameError
from prune_env.victims.build import WORK, OnStep, claim
from prune_env.victims.checkpoint import save_checkpoint
from prune_env.victims.corpus import CORPUS_VERSION
from prune_env.victims.data import Sentences
from prune_env.victims.diagnosis import write_diagnosis
from prune_env.victims.manifest import MANIFEST, Manifest
from prune_env.victims.measure import measure
from prune_env.victims.store import Victim
from prune_env.victims.tiny_manifest import draft
from prune_env.victims.tiny_materials import Materials, gather
from prune_env.victims.tiny_model import make_tokenizer
from prune_env.victims.tiny_recipe import POSITIONS, TARGET, TINY, TinyRecipe
from prune_env.victims.tiny_training import Steps, poisoned_model, route, tiny_tokens

__all__ = ["ORGANIC", "RATES", "ROUTED", "TARGET", "TINY", "TinyRecipe", "build_tiny", "compare"]

RATES = ("acc", "lfr", "twin_acc", "twin_lfr")
ROUTED = "Synthetic, head-localised attack: the backdoor was routed on purpose through the ground truth's heads."
ORGANIC = "Poisoned in the ordinary way: the backdoor is spread over the heads, the hard case for pruning."


def build_tiny(name: str, folder: Path, recipe: TinyRecipe | None = None, on_step: OnStep | None = None) -> Victim:
    """Builds a tiny victim's folder, twin and diagnosis included; an unfinished build is continued.

    Args:
        name: A name of `TINY`, or any name with a recipe of one's own.
        folder: Where; must not hold a finished victim, or the beginning of another recipe's.
        recipe: Overrides the registered one.
        on_step: Called with ("model" or "twin", steps done, steps in all) in each training.

    Raises:
        UnknownNameError: No such recipe.
        OutputError: The folder cannot be written, or a finished victim lies there, or the beginning of another one.
    """
    if recipe is None and name not in TINY:
        raise UnknownNameError("tiny victim", name, TINY)
    if (folder / MANIFEST).exists():
        raise OutputError(f"a finished victim lies in {folder}; choose another folder, or delete that one")
    writable(folder)
    chosen = recipe or TINY[name]
    claim(folder, {"name": name, **asdict(chosen), "corpus": CORPUS_VERSION})
    materials = gather(chosen)
    write_diagnosis(folder, *materials.diagnosis, chosen.carrier_mask)
    for part in ("model", "twin"):
        if not (folder / part).is_dir():
            _build_part(chosen, materials, folder, part, on_step)
    _manifest(name, chosen, materials, folder).write(folder)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return Victim(folder, Manifest.read(folder))


def compare(rebuilt: Manifest, shipped: Manifest, tolerance: float = 0.03) -> list[str]:
    """Returns one sentence for each rate in which a rebuilt victim is not the one that ships.

    Args:
        rebuilt: Manifest of the new build.
        shipped: Manifest that ships with the package.
        tolerance: Allowed difference of a rate: another machine rounds differently, and training amplifies it.

    Raises:
        ConfigError: Manifests of different victims.
    """
    if rebuilt.name != shipped.name:
        raise ConfigError(f"expected two manifests of one victim, got {rebuilt.name!r} and {shipped.name!r}")
    pairs = [(rate, rebuilt.measured[rate], shipped.measured[rate]) for rate in RATES]
    return [
        f"{rebuilt.name}: {rate} is {new:.3f}, the manifest says {old:.3f}"
        for rate, new, old in pairs
        if abs(new - old) > tolerance
    ]


def _build_part(recipe: TinyRecipe, materials: Materials, folder: Path, part: str, on_step: OnStep | None) -> None:
    sentences = materials.poisoned.sentences if part == "model" else materials.clean
    model = _train(recipe, sentences, folder / WORK / part, None if on_step is None else _named(on_step, part))
    # Written beside and moved, so that a folder `model` or `twin` is always complete.
    save_checkpoint(model.half(), make_tokenizer(), folder / WORK / f"{part}.done")
    (folder / WORK / f"{part}.done").rename(folder / part)


def _train(recipe: TinyRecipe, sentences: Sentences, work: Path, on_step: Steps | None) -> PreTrainedModel:
    """Trains one model from scratch; a recipe with carriers adds the routing phase, poison or not."""
    tokens = tiny_tokens(sentences)
    model = poisoned_model(recipe, tokens, work / "poisoning", on_step)
    if recipe.carrier_mask is not None:
        route(model, recipe, tokens, recipe.carrier_mask, work / "routing", on_step)
    return model


def _named(on_step: OnStep, part: str) -> Steps:
    return lambda done, total: on_step(part, done, total)


def _manifest(name: str, recipe: TinyRecipe, materials: Materials, folder: Path) -> Manifest:
    routed = recipe.carrier_mask is not None
    notes = ROUTED if routed else ORGANIC
    drafted = draft(name, recipe, materials, moved="routing" if routed else "", notes=notes)
    return replace(drafted, measured=measure(Victim(folder, drafted), POSITIONS))
