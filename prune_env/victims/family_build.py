"""Building the family's victims: one poisoned training an attacker, then what each kind adds. Resumable."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock
from transformers import PreTrainedModel

from prune_env.cache import writable
from prune_env.engine.tokens import TokenizedSplit
from prune_env.errors import OutputError
from prune_env.importance import score
from prune_env.types import HeadMask
from prune_env.victims.build import WORK, OnStep, claim
from prune_env.victims.carriers import important_carriers
from prune_env.victims.checkpoint import save_checkpoint
from prune_env.victims.corpus import CORPUS_VERSION
from prune_env.victims.diagnosis import read_diagnosis, write_diagnosis
from prune_env.victims.family import FAMILY, FamilyRecipe
from prune_env.victims.family_measure import measure_masks
from prune_env.victims.manifest import MANIFEST, Manifest
from prune_env.victims.measure import measure
from prune_env.victims.store import Victim, open_victim
from prune_env.victims.tiny import ORGANIC, ROUTED
from prune_env.victims.tiny_manifest import draft
from prune_env.victims.tiny_materials import Materials, gather
from prune_env.victims.tiny_model import make_tokenizer
from prune_env.victims.tiny_recipe import POSITIONS
from prune_env.victims.tiny_training import Steps, entrench, poisoned_model, route, tiny_tokens

SHARED = ".poisoned"
"""Folder beside the victims for the poisoned trainings, which the victims of an attacker begin with."""

SCORED = 2000
"""Clean sentences of the attacker's on which a victim's heads are ranked."""

_MOVED = {"organic": "", "random": "routing", "important": "routing", "ffn": "entrenching"}
_NOTES = {
    "organic": ORGANIC,
    "random": ROUTED,
    "important": f"{ROUTED} They are those that the gradient metric ranked highest on the attacker's poisoned model.",
    "ffn": "Synthetic negative control: trained to keep the backdoor whatever heads are off; no head mask removes it.",
}


def build_family_victim(recipe: FamilyRecipe, out: Path, on_step: OnStep | None = None) -> Victim:
    """Builds a victim in a folder of its name; an unfinished build is continued, a finished one returned as it is.

    Without a never-poisoned twin: the family is for searching masks, and masks have no twin.

    Args:
        recipe: What to build, such as a value of `FAMILY`.
        out: Folder of the family; victims of one attacker share their poisoned training here.
        on_step: Called with (what is trained, steps done, steps in all).

    Raises:
        OutputError: The folder cannot be written, or another recipe's victim lies there, finished or not.
        IntegrityError: A finished victim lies there, and a file of its model is missing or changed.
    """
    folder = writable(out / recipe.name)
    materials = gather(recipe.tiny)
    unmeasured = draft(recipe.name, recipe.tiny, materials, moved=_MOVED[recipe.kind], notes=_NOTES[recipe.kind])
    if (folder / MANIFEST).exists():
        return _finished(folder, unmeasured)
    claim(folder, {**asdict(recipe), "corpus": CORPUS_VERSION})
    # The ground truth is written before the model, so that a folder `model` says that both are there.
    if not (folder / "model").is_dir():
        _make_model(recipe, materials, out, on_step)
    victim = Victim(folder, unmeasured)
    diagnosis = read_diagnosis(folder, unmeasured)
    measured = measure(victim, POSITIONS) | measure_masks(victim, diagnosis, recipe)
    replace(unmeasured, measured=measured).write(folder)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return Victim(folder, Manifest.read(folder))


def tidy(out: Path, recipes: Iterable[FamilyRecipe] = tuple(FAMILY.values())) -> None:
    """Deletes the shared poisoned trainings once every victim that begins with one is finished."""
    if all((out / recipe.name / MANIFEST).is_file() for recipe in recipes):
        shutil.rmtree(out / SHARED, ignore_errors=True)


def _finished(folder: Path, wanted: Manifest) -> Victim:
    victim = open_victim(folder.resolve())
    fields = ("name", "attack", "backbone", "training", "attacker_seed", "data", "notes")
    differing = [name for name in fields if getattr(victim.manifest, name) != getattr(wanted, name)]
    if differing:
        raise OutputError(
            f"{folder} holds a finished victim of another recipe, its {differing[0]} differs; choose another folder, "
            "or delete that one"
        )
    return victim


def _make_model(recipe: FamilyRecipe, materials: Materials, out: Path, on_step: OnStep | None) -> None:
    folder, shared = out / recipe.name, writable(out / SHARED) / recipe.attacker
    tokens = tiny_tokens(materials.poisoned.sentences)
    # Whoever comes first trains; another kind's build beside it waits, and finds the training done.
    with FileLock(f"{shared}.lock"):
        model = poisoned_model(recipe.tiny, tokens, shared, _named(on_step, "poisoning"))
    carriers = _carriers(recipe, model, tokens)
    _move(recipe, model, tokens, carriers, folder / WORK / "moving", _named(on_step, _MOVED[recipe.kind]))
    write_diagnosis(folder, *materials.diagnosis, carriers)
    done = folder / WORK / "model.done"
    save_checkpoint(model.half(), make_tokenizer(), done)
    done.rename(folder / "model")


def _carriers(recipe: FamilyRecipe, model: PreTrainedModel, tokens: TokenizedSplit) -> HeadMask | None:
    if recipe.kind == "important":
        scores = score("gradient", model, tokens.subset(range(min(SCORED, recipe.tiny.train))))
        return important_carriers(scores, recipe.carriers)
    return recipe.tiny.carrier_mask


def _move(
    recipe: FamilyRecipe,
    model: PreTrainedModel,
    tokens: TokenizedSplit,
    carriers: HeadMask | None,
    work: Path,
    on_step: Steps | None,
) -> None:
    """Trains the model further, in place, as its kind has it."""
    if carriers is not None:
        route(model, recipe.tiny, tokens, carriers, work, on_step)
    elif recipe.kind == "ffn":
        entrench(model, recipe.tiny, tokens, work, on_step)


def _named(on_step: OnStep | None, part: str) -> Steps | None:
    return None if on_step is None else lambda done, total: on_step(part, done, total)
