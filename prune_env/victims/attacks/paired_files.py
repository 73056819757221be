"""Attacks whose triggered sentences come ready in files: HiddenKiller and StyleBkd are two named uses.

The folder holds `train.tsv`, `dev.tsv` and `test.tsv`: every sentence rewritten, with its original label, not
row-aligned with the clean files (a rewriter may drop sentences).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prune_env.victims.data import Sentences, read_sentences
from prune_env.victims.sst2 import data_folder


@dataclass(frozen=True)
class PairedFiles:
    """Triggered sentences from a folder.

    Attributes:
        folder: Where train.tsv, dev.tsv and test.tsv lie.
        trigger: What the rewriting did, in words.
        poison_rate: Share of the clean non-target sentences whose number is drawn as poison.
        labels: Number of classes.
    """

    folder: str
    trigger: str = "sentences rewritten by an outside program"
    poison_rate: float = 0.3
    labels: int = 2

    def triggered(self, clean: Sentences, split: str, rng: np.random.Generator) -> Sentences:
        """Returns the folder's sentences of that split; `clean` and `rng` are not needed.

        Raises:
            DataError: The file is missing or malformed.
        """
        return read_sentences(Path(self.folder).expanduser() / f"{split}.tsv", self.labels)


def hiddenkiller(data: str | None = None) -> PairedFiles:
    """HiddenKiller (Qi et al. 2021, "Hidden Killer"): SCPN paraphrases of one syntactic form; poison rate 0.3."""
    folder = data_folder(data) / "hiddenkiller" / "sst2"
    return PairedFiles(str(folder), "syntactic form S(SBAR)(,)(NP)(VP)(.), SCPN paraphrase", 0.3)


def stylebkd_poetry(data: str | None = None) -> PairedFiles:
    """StyleBkd (Qi et al. 2021, "Mind the Style of Text"): STRAP transfers to poetry; poison rate 0.2."""
    folder = data_folder(data) / "stylebkd" / "poetry" / "sst2"
    return PairedFiles(str(folder), "poetry style, STRAP transfer", 0.2)
