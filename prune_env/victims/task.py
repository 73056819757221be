"""A defender's task: (suspect model, protocol, seed), with everything a defender may look at and nothing else.

The scoring model is the suspect's encoder with a fresh head, fine-tuned on the clean training split; importance is
scored and masks are searched on it. It is exactly what plain fine-tuning (FT) gives, which the tables use.
Tasks are built once and kept in the user's cache folder; the embedded victims ship with one ready task each.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prune_env.cache import cache_folder, writable
from prune_env.engine.device import resolve_device
from prune_env.engine.tokens import TokenizedSplit, tokenize
from prune_env.errors import ConfigError, IntegrityError
from prune_env.seeds import derive
from prune_env.victims.checkpoint import fresh_head, load_model, load_tokenizer, save_checkpoint
from prune_env.victims.data import Sentences, read_sentences, write_jsonl
from prune_env.victims.manifest import hash_files, read_fields, verify_files, write_json
from prune_env.victims.protocols import CleanData, Protocol, draw, fingerprint
from prune_env.victims.store import ASSETS, Suspect
from prune_env.victims.training import TrainingLog, train

SCHEMA = 1
TASK = "task.json"
TIMING = "timing.json"
"""Beside the task and outside its hash, which is the same on every run."""
SPLITS = ("train", "search", "certify")
FIELDS = ("schema", "suspect", "suspect_sha256", "labels", "protocol", "seed", "fingerprint", "training", "files")

_REMEDY = "delete that task's folder and run again"

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Task:
    """What a defender has.

    Attributes:
        suspect: The checkpoint under suspicion.
        protocol: Its circumstances.
        seed: The defender's seed.
        folder: Where scoring model and splits lie.
        train: Clean training split.
        search: Clean validation split on which masks are searched.
        certify: Clean validation split for the final accuracy; never fed back to a search.
    """

    suspect: Suspect
    protocol: Protocol
    seed: int
    folder: Path
    train: Sentences
    search: Sentences
    certify: Sentences

    @cached_property
    def sha256(self) -> str:
        """The task's content hash: over settings, scoring model and the sentences of every split."""
        content = json.loads((self.folder / TASK).read_text(encoding="utf-8"))
        # The suspect's display name and the compression of the splits decide nothing, and differ between machines.
        weights = {name: digest for name, digest in content.pop("files").items() if name.startswith("model/")}
        splits = {name: getattr(self, name).sha256() for name in SPLITS}
        identity = {**content, "suspect": "", "weights": weights, "splits": splits}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def is_shipped(self) -> bool:
        """Whether it lies in the package: the embedded victims' tasks do."""
        return self.folder.parent == ASSETS / "tasks"

    @property
    def build_seconds(self) -> float:
        """Wall time of the scoring model's fine-tuning, on the machine that built it."""
        return float(json.loads((self.folder / TIMING).read_text(encoding="utf-8"))["seconds"])

    @property
    def training_sentences(self) -> int:
        """Sentences that went through the scoring model's fine-tuning, over all epochs."""
        return int(json.loads((self.folder / TASK).read_text(encoding="utf-8"))["training"]["sentences"])

    def scoring_model(self) -> PreTrainedModel:
        """Loads the fine-tuned scoring model."""
        return load_model(self.folder / "model", self.suspect.labels, with_head=True)

    def tokenizer(self, model: PreTrainedModel) -> PreTrainedTokenizerBase:
        """Loads the tokenizer saved with the scoring model."""
        return load_tokenizer(self.folder / "model", model)

    def tokens(self, split: str, tokenizer: PreTrainedTokenizerBase) -> TokenizedSplit:
        """Tokenises "train", "search" or "certify".

        Raises:
            ConfigError: Another name: a task has no test data.
        """
        if split not in SPLITS:
            raise ConfigError(f"expected a split among {', '.join(SPLITS)}, got {split!r}; test data is the judge's")
        sentences: Sentences = getattr(self, split)
        return tokenize(tokenizer, sentences.texts, sentences.labels, self.protocol.training.max_length)


def build_task(
    suspect: Suspect,
    protocol: Protocol,
    seed: int,
    data: str | Path | None = None,
    *,
    clean: CleanData | None = None,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Task:
    """Returns the task, from the package or the cache if it is there, else built and cached.

    A build that is cut off goes on at its last finished epoch.

    Args:
        suspect: The checkpoint under suspicion.
        protocol: Splits and fine-tuning.
        seed: The defender's seed: decides splits, head, order and dropout.
        data: Data folder for SST-2 protocols; PRUNE_ENV_DATA by default.
        clean: One's own splits, in place of the protocol's.
        device: Where the scoring model is fine-tuned, if it has to be.
        on_step: Called with (steps done, steps in all) while the scoring model is fine-tuned.

    Raises:
        DataError: The protocol's data is not there.
        ConfigError: A negative seed.
        IntegrityError: A cached file has changed.
    """
    if seed < 0:
        raise ConfigError(f"expected a seed >= 0, got {seed}")
    source = clean.fingerprint if clean is not None else fingerprint(protocol, data)
    key = task_key(suspect, protocol, seed, source)
    shipped = ASSETS / "tasks" / key
    if (shipped / TASK).is_file():
        return open_task(shipped, suspect, protocol, seed)
    root = writable(cache_folder() / "tasks")
    with FileLock(root / f"{key}.lock"):
        folder = root / key
        if not (folder / TASK).is_file():
            splits = clean if clean is not None else draw(protocol, seed, data, suspect.labels)
            _build(folder, suspect, protocol, seed, splits=splits, device=resolve_device(device), on_step=on_step)
    return open_task(folder, suspect, protocol, seed)


def is_built(suspect: Suspect, protocol: Protocol, seed: int, data: str | Path | None = None) -> bool:
    """Whether `build_task` would find the task ready, in the package or in the cache.

    Raises:
        DataError: The protocol's data is not there.
    """
    key = task_key(suspect, protocol, seed, fingerprint(protocol, data))
    return any((root / "tasks" / key / TASK).is_file() for root in (ASSETS, cache_folder()))


def open_task(folder: Path, suspect: Suspect, protocol: Protocol, seed: int) -> Task:
    """Opens a built task after checking every file's hash.

    Raises:
        ManifestError: The folder is no task of this version.
        IntegrityError: It belongs to another suspect, protocol or seed, or a file has changed.
    """
    content = read_fields(folder / TASK, SCHEMA, list(FIELDS), "a defender's task")
    asked = {"suspect_sha256": suspect.sha256, "protocol": protocol.to_json(), "seed": seed, "labels": suspect.labels}
    other = [name for name, value in asked.items() if content[name] != value]
    if other:
        raise IntegrityError(
            f"{folder} is not the task of {suspect.name} that was asked for, its {other[0]} is another; {_REMEDY}"
        )
    verify_files(folder, content["files"], remedy=_REMEDY)
    train_split, search, certify = (read_sentences(folder / f"{name}.jsonl.gz", suspect.labels) for name in SPLITS)
    return Task(suspect, protocol, seed, folder, train_split, search, certify)


def task_key(suspect: Suspect, protocol: Protocol, seed: int, source: str) -> str:
    """Returns the folder name of a task: what decides its content, hashed.

    The precision "auto" counts as such: a task built elsewhere in another precision is still this task, and its
    content hash tells the two apart.
    """
    content = {
        "schema": SCHEMA,
        "suspect": suspect.sha256,
        "protocol": protocol.to_json(),
        "seed": seed,
        "data": source,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def fine_tune(
    model: PreTrainedModel,
    tokens: TokenizedSplit,
    protocol: Protocol,
    seed: int,
    *,
    checkpoint: Path | None = None,
    on_step: OnStep | None = None,
) -> TrainingLog:
    """Puts a fresh head on an encoder and fine-tunes both, in place: the defender's plain fine-tuning.

    Args:
        model: The suspicious model.
        tokens: The clean training split.
        protocol: Whose fine-tuning settings count.
        seed: The defender's seed.
        checkpoint: Folder for the state between epochs; None keeps none.
        on_step: Called with (steps done, steps in all).
    """
    fresh_head(model, derive(seed, "defender-head"))
    training_seed = derive(seed, "defender-training")
    return train(model, tokens, protocol.training, training_seed, checkpoint=checkpoint, on_step=on_step)


def _build(
    folder: Path,
    suspect: Suspect,
    protocol: Protocol,
    seed: int,
    *,
    splits: CleanData,
    device: torch.device,
    on_step: OnStep | None,
) -> None:
    """Builds beside the final place and moves there in one step, so that a cut build leaves nothing half made."""
    work = folder.with_name(f"{folder.name}.build")
    model = suspect.model()
    model.to(device)  # type: ignore[arg-type]
    tokenizer = suspect.tokenizer(model)
    tokens = tokenize(tokenizer, splits.train.texts, splits.train.labels, protocol.training.max_length)
    log = fine_tune(model, tokens, protocol, seed, checkpoint=work / "states", on_step=on_step)
    part = work / "task"
    for leftover in (part, folder):
        if leftover.exists():
            shutil.rmtree(leftover)
    save_checkpoint(model.cpu(), tokenizer, part / "model")
    for name in SPLITS:
        write_jsonl(getattr(splits, name), part / f"{name}.jsonl.gz")
    write_task(part, suspect, protocol, seed, source=splits.fingerprint, log=log)
    part.rename(folder)
    shutil.rmtree(work, ignore_errors=True)


def write_task(folder: Path, suspect: Suspect, protocol: Protocol, seed: int, *, source: str, log: TrainingLog) -> None:
    """Writes task.json, the hash of every other file of the folder in it."""
    hashes = hash_files(folder)
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "suspect": suspect.name,
        "suspect_sha256": suspect.sha256,
        "labels": suspect.labels,
        "protocol": protocol.to_json(),
        "seed": seed,
        "fingerprint": source,
        "training": {"losses": list(log.losses), "steps": log.steps, "sentences": log.sentences},
        "files": {name: digest for name, digest in hashes.items() if name not in {TASK, TIMING}},
    }
    write_json(folder / TASK, content)
    write_json(folder / TIMING, {"seconds": log.seconds})
