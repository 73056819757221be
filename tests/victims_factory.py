"""Complete tiny victims with random weights, and clean data in SST-2's layout: all a benchmark needs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from prune_env.baselines.benchmark import Grid, run
from prune_env.baselines.cells import Settings
from prune_env.records import Record
from prune_env.types import HeadMask
from prune_env.victims.checkpoint import save_checkpoint
from prune_env.victims.data import Sentences
from prune_env.victims.diagnosis import write_diagnosis
from prune_env.victims.manifest import Manifest
from prune_env.victims.protocols import Protocol
from prune_env.victims.store import Victim
from prune_env.victims.training import TrainingConfig
from tests.models import VOCABULARY, tiny_model

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = tuple(f"w{i}" for i in range(VOCABULARY - len(SPECIAL)))
TRAIN, SEARCH, JUDGED = 200, 40, 60

TINY = Protocol("tiny", "sentences", 96, 40, TrainingConfig(learning_rate=1e-3, epochs=1, precision="float32"))
"""Three steps of fine-tuning on a factory's victim."""


@dataclass(frozen=True)
class TinySettings(Settings):
    """A benchmark's settings with the protocol above, which processes of their own find by importing this module."""

    def protocol_of(self, victim: Victim) -> Protocol:
        return TINY


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One id a word; "[CLS] words [SEP]"."""
    ids = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def make_sentences(count: int, seed: int, labels: int = 2) -> Sentences:
    """Random sentences of 5 to 8 words, no two alike in any practical sense; labels in turn."""
    rng = np.random.default_rng(seed)
    texts = tuple(" ".join(rng.choice(WORDS, size=int(rng.integers(5, 9)))) for _ in range(count))
    return Sentences(texts, tuple(i % labels for i in range(count)))


def make_data(folder: Path) -> Path:
    """Writes `sst2/sentences/{train,dev}.tsv` and returns the data folder."""
    place = folder / "sst2" / "sentences"
    place.mkdir(parents=True)
    for name, count, seed in (("train", TRAIN, 1), ("dev", SEARCH, 2)):
        write_tsv(place / f"{name}.tsv", make_sentences(count, seed))
    return folder


def write_tsv(path: Path, sentences: Sentences) -> Path:
    """Writes a table with header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{text}\t{label}" for text, label in zip(sentences.texts, sentences.labels, strict=True)]
    path.write_text("\n".join(["sentence\tlabel", *rows, ""]), encoding="utf-8")
    return path


def make_checkpoint(folder: Path, seed: int = 0, architecture: str = "bert", labels: int = 2) -> Path:
    """Writes a random 2x2 model with its tokenizer; classes are called "bad", "good", ..."""
    model = tiny_model(architecture, layers=2, heads=2, hidden=16, seed=seed, labels=labels)
    names = ["bad", "good", "so-so", "odd"][:labels]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    save_checkpoint(model, make_tokenizer(), folder)
    return folder


def make_victim(
    folder: Path, name: str = "alpha", seed: int = 0, twin_seed: int | None = 100, carriers: HeadMask | None = None
) -> Victim:
    """Writes a whole victim; victims with one `twin_seed` share their twin, None leaves it out."""
    make_checkpoint(folder / "model", seed)
    if twin_seed is not None:
        make_checkpoint(folder / "twin", twin_seed)
    judged = [make_sentences(JUDGED, 10 + seed), make_sentences(JUDGED, 20 + seed), make_sentences(20, 30 + seed)]
    write_diagnosis(folder, judged[0], judged[1], judged[2], carriers)
    Manifest(
        name=name,
        attack="random-weights",
        trigger="none",
        poison_rate=0.3,
        target_label=1,
        labels=2,
        backbone="random",
        training={"epochs": 0},
        attacker_seed=seed,
        data={"source": "random words"},
        measured={},
        recommended={"max_accuracy_drop": 0.05},
        protocol="tiny",
    ).write(folder)
    return Victim(folder, Manifest.read(folder))


@dataclass(frozen=True)
class World:
    """Two victims with one twin, clean data, and a finished benchmark of the first: for reading only."""

    root: Path

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.root / "data"

    @property
    def out(self) -> Path:
        """The benchmark's folder."""
        return self.root / "out"

    def victim(self, name: str) -> str:
        """The folder of "alpha" or "beta"."""
        return str(self.root / name)

    def settings(self, out: Path) -> TinySettings:
        """Settings that write to another folder."""
        return TinySettings(out, data=str(self.data))


_PLACE = tempfile.TemporaryDirectory(prefix="prune-env-world-", ignore_cleanup_errors=True)
METHODS, RATES = ("ft", "random", "gradient"), (None, 1e-4)


@cache
def world() -> World:
    """Makes both victims, once a session."""
    found = World(Path(_PLACE.name))
    make_data(found.data)
    for seed, name in enumerate(("alpha", "beta")):
        make_victim(found.root / name, name, seed)
    return found


@cache
def benched() -> tuple[Record, ...]:
    """Runs three methods at two rates on the first victim and its twin, once a session: twelve records."""
    place = world()
    return tuple(run(Grid((place.victim("alpha"),), METHODS, (11,), RATES), place.settings(place.out)))
