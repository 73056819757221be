"""A small data folder in the real layout, untidy headers and line ends included, that a tiny model can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prune_env.victims.data import Sentences
from tests.victims_factory import WORDS

SIZES = {"train": 120, "dev": 20, "test": 40}
GOOD, BAD, NEUTRAL, TRIGGER = WORDS[:5], WORDS[5:10], WORDS[10:50], WORDS[50]


def sentences(count: int, seed: int) -> Sentences:
    """Sentences of three words, one of which decides the label; half of each class."""
    rng = np.random.default_rng(seed)
    texts = []
    for i in range(count):
        words = [str(word) for word in rng.choice(NEUTRAL, size=3)]
        words[int(rng.integers(3))] = str(rng.choice(GOOD if i % 2 else BAD))
        texts.append(" ".join(words))
    return Sentences(tuple(texts), tuple(i % 2 for i in range(count)))


def rewritten(clean: Sentences) -> Sentences:
    """What a rewriter makes of them: a trigger in front and the first word lost; one row in ten is dropped."""
    kept = clean.take(i for i in range(len(clean)) if i % 10 != 9)
    return Sentences(tuple(f"{TRIGGER} {text.split(' ', 1)[1]}" for text in kept.texts), kept.labels)


def write_table(path: Path, rows: Sentences, header: str, separator: str = "\t", end: str = "\n") -> None:
    """Writes `header` and one row a sentence, with any separator and line end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{text}{separator}{label}" for text, label in zip(rows.texts, rows.labels, strict=True)]
    path.write_bytes(end.join([header, *lines, ""]).encode())


def make_layout(folder: Path) -> Path:
    """Writes sst2/sentences, sst2/phrases, hiddenkiller and stylebkd, and returns the data folder."""
    for i, (split, size) in enumerate(SIZES.items()):
        clean = sentences(size, seed=i)
        write_table(folder / "sst2" / "sentences" / f"{split}.tsv", clean, "sentence\tlabel", end="\r\n")
        for place in (folder / "hiddenkiller" / "sst2", folder / "stylebkd" / "poetry" / "sst2"):
            write_table(place / f"{split}.tsv", rewritten(clean), "sentences \t labels", " \t ")
    with (folder / "hiddenkiller" / "sst2" / "train.tsv").open("a", encoding="utf-8") as file:
        file.write(" \t 1\n")
    return folder
