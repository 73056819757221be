"""SST-2 as it lies in a data folder: sentences for the attacker, phrases for the defender.

Layout: `sst2/sentences/{train,dev,test}.tsv` (Socher et al. 2013, 6,920 / 872 / 1,821 sentences) and
`sst2/phrases/{train,dev}.tsv` (GLUE, 67,349 phrases; its dev split is the sentences' dev split).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from prune_env.errors import DataError
from prune_env.victims.data import Sentences, read_sentences

DATA_VARIABLE = "PRUNE_ENV_DATA"


def data_folder(folder: str | Path | None = None) -> Path:
    """Returns the folder of downloaded data: the argument, else the environment variable PRUNE_ENV_DATA.

    Raises:
        DataError: Neither is given, or the folder holds no SST-2.
    """
    chosen = folder or os.environ.get(DATA_VARIABLE)
    if not chosen:
        raise DataError(
            "expected a data folder, got none: run `prune-env data fetch DIR`, then give --data DIR or set "
            f"{DATA_VARIABLE}"
        )
    path = Path(chosen).expanduser()
    if not (path / "sst2").is_dir():
        raise DataError(f"expected the folder sst2 in {path}, found none; run `prune-env data fetch {path}`")
    return path


def read_split(folder: Path, kind: str, split: str, labels: int = 2) -> Sentences:
    """Reads one split; `kind` is "sentences" or "phrases", `split` "train", "dev" or "test"."""
    return read_sentences(folder / "sst2" / kind / f"{split}.tsv", labels)


def normalised(text: str) -> tuple[str, ...]:
    """Returns the tokens by which sentences and phrases are compared: lower case, split at spaces."""
    return tuple(text.lower().split())


def hold_out(pool: Sentences, count: int, rng: np.random.Generator) -> tuple[Sentences, Sentences]:
    """Splits `count` whole sentences off a pool of sentences and their sub-phrases.

    A sub-phrase stays on its sentence's side: what stands as a run of words in a held-out sentence leaves the pool.

    Args:
        pool: Sentences, or phrases of them (GLUE); phrases that stand in no longer phrase count as sentences.
        count: Sentences to hold out.
        rng: Draws the sentences.

    Returns:
        (held out, rest of the pool without their sub-phrases).

    Raises:
        DataError: Fewer than 2 * count whole sentences in the pool.
    """
    tokens = [normalised(text) for text in pool.texts]
    whole = _whole(tokens)
    if len(whole) < 2 * count:
        raise DataError(
            f"expected at least {2 * count} sentences to hold {count} out, got {len(whole)}; give more data"
        )
    chosen = np.sort(rng.choice(whole, size=count, replace=False))
    runs = _Runs(tokens[i] for i in chosen)
    return pool.take(chosen), pool.take(i for i, words in enumerate(tokens) if words not in runs)


def without(pool: Sentences, others: Sentences) -> Sentences:
    """Returns the pool without the sentences (and their sub-phrases) that stand in `others`.

    Raises:
        DataError: Nothing is left.
    """
    runs = _Runs(normalised(text) for text in others.texts)
    rest = pool.take(i for i, text in enumerate(pool.texts) if normalised(text) not in runs)
    if not len(rest):
        raise DataError(
            f"expected training sentences that are not in the validation data, all {len(pool)} of them are; "
            "give training data of its own"
        )
    return rest


class _Runs:
    """Every run of words of some sentences: `words in runs`, without ever listing the runs.

    A text of a few hundred words has tens of thousands of them; so each word knows its sentences, and a phrase is
    looked for in those of its rarest word.
    """

    def __init__(self, sentences: Iterable[tuple[str, ...]] = ()) -> None:
        """Starts with these sentences."""
        self._standing: dict[str, list[str]] = {}
        for words in sentences:
            self.add(words)

    def add(self, words: tuple[str, ...]) -> None:
        """Adds a sentence and with it every run of its words."""
        padded = _padded(words)
        for word in set(words):
            self._standing.setdefault(word, []).append(padded)

    def __contains__(self, words: tuple[str, ...]) -> bool:
        """Tells whether these words stand side by side in one of the sentences."""
        padded = _padded(words)
        return any(padded in sentence for sentence in min((self._standing.get(w, []) for w in words), key=len))


def _padded(words: tuple[str, ...]) -> str:
    return f" {' '.join(words)} "


def _whole(tokens: list[tuple[str, ...]]) -> list[int]:
    """Positions of the phrases that stand in no longer phrase, first occurrence only."""
    covered = _Runs()
    whole: list[int] = []
    for i in sorted(range(len(tokens)), key=lambda i: (-len(tokens[i]), i)):
        if tokens[i] not in covered:
            whole.append(i)
            covered.add(tokens[i])
    return sorted(whole)
