"""An evaluator that looks masks up: the accuracy of every valid mask of a small model, computed once and stored."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune_env.engine.evaluator import Evaluator
from prune_env.errors import CheckpointError, ConfigError, OutputError
from prune_env.types import HeadMasks, check_masks

SCHEMA = 1
LARGEST = 50_000_000
LARGEST_LAYER = 12
"""Heads of a layer up to which the digits of all its masks are listed."""

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
    ConfigError,
)
"""What reading a file with any one byte changed, or of another kind, was seen to raise."""


class TableEvaluator:
    """Serves stored counts of correct sentences; implements `Evaluator`.

    A layer's mask is the number whose bit h is head h, 1 to 2^heads - 1; minus one it is a digit, and a mask's place in
    the table is the number with these digits in base 2^heads - 1, first layer most significant.
    """

    def __init__(self, layers: int, heads: int, counts: NDArray[np.integer], sentences: int) -> None:
        """Takes a complete table.

        Args:
            layers: Layers of the model.
            heads: Heads in each layer.
            counts: Correct sentences of each valid mask, integers ((2^heads - 1)^layers,), each 0 to `sentences`.
            sentences: Sentences in the split.

        Raises:
            ConfigError: Sizes that do not belong together, or counts out of range.
        """
        size = table_size(layers, heads)
        if counts.shape != (size,) or not np.issubdtype(counts.dtype, np.integer):
            raise ConfigError(
                f"expected {size} integer counts for {layers} x {heads} heads, "
                f"got {counts.dtype} of shape {counts.shape}"
            )
        if sentences < 1 or int(counts.min()) < 0 or int(counts.max()) > sentences:
            raise ConfigError(
                f"expected counts from 0 to {sentences} sentences, got {int(counts.min())} to {int(counts.max())}; "
                "pass the number of sentences the counts were taken on"
            )
        self._layers, self._heads, self._sentences = layers, heads, sentences
        self._counts = counts.astype(np.int32)
        self._counts.setflags(write=False)
        # A digit is an affine function of its layer's bits, a place one of all bits, and all are exact in float64: one
        # product gives the digits plus one, which tell empty layers, and in its last column the places plus an offset.
        bits, radix = 2.0 ** np.arange(heads)[:, None], float(2**heads - 1) ** np.arange(layers - 1, -1, -1)[:, None]
        self._weights = np.hstack([np.kron(np.eye(layers), bits), np.kron(radix, bits)])
        self._offset = float(radix.sum())
        # A single mask is looked up layer by layer: half a microsecond, where NumPy takes ten.
        self._base = 2**heads - 1
        self._digits = _digits(heads) if heads <= LARGEST_LAYER else {}
        self._rows = [slice(layer * heads, (layer + 1) * heads) for layer in range(layers)]

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return self._layers

    @property
    def heads(self) -> int:
        """Attention heads in each layer."""
        return self._heads

    @property
    def sentences(self) -> int:
        """Sentences in the split."""
        return self._sentences

    @property
    def counts(self) -> NDArray[np.int32]:
        """Correct sentences of each valid mask in the table's order, ((2^heads - 1)^layers,); not to be written to."""
        return self._counts

    def accuracy(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns the share of sentences classified correctly under each mask, float64 (K,).

        Args:
            masks: bool (K, layers, heads), True = kept.

        Raises:
            MaskError: An invalid mask.
        """
        array = np.asarray(masks)
        if array.dtype.char != "?" or array.shape[1:] != (self._layers, self._heads):
            check_masks(array, self._layers, self._heads)
        if len(array) == 1 and (place := self._place(array.tobytes())) is not None:
            return np.array((self._counts.item(place) / self._sentences,))
        products = array.reshape(len(array), -1).dot(self._weights)
        if np.count_nonzero(products) < products.size:
            check_masks(array, self._layers, self._heads)
        places = (products[:, -1] - self._offset).astype(np.int64)
        counts: NDArray[np.int32] = self._counts[places]
        return counts / self._sentences

    def _place(self, mask: bytes) -> int | None:
        """Returns the place of a mask, a byte a head; None if it is invalid or its layers are not listed."""
        place = 0
        for row in self._rows:
            digit = self._digits.get(mask[row])
            if digit is None:
                return None
            place = place * self._base + digit
        return place

    @classmethod
    def from_evaluator(cls, evaluator: Evaluator, chunk: int = 4096) -> TableEvaluator:
        """Asks an evaluator for every valid mask.

        Args:
            evaluator: Any evaluator of a small model.
            chunk: Masks asked for at once; changes nothing but memory.

        Raises:
            ConfigError: More valid masks than a table may hold.
        """
        layers, heads, sentences = evaluator.layers, evaluator.heads, evaluator.sentences
        parts = [np.rint(evaluator.accuracy(masks) * sentences) for masks in all_masks(layers, heads, chunk)]
        return cls(layers, heads, np.concatenate(parts).astype(np.int32), sentences)

    def save(self, path: Path) -> None:
        """Writes the table as .npz, all or nothing.

        Raises:
            OutputError: A path that cannot be written.
        """
        partial = path.with_name(path.name + ".partial")
        sizes = np.array([SCHEMA, self._layers, self._heads, self._sentences], dtype=np.int64)
        try:
            with partial.open("wb") as file:
                np.savez_compressed(file, counts=self._counts, sizes=sizes)
            partial.replace(path)
        except OSError as error:
            raise OutputError(f"cannot write the table {path}: {error.strerror}; choose a writable folder") from error

    @classmethod
    def load(cls, path: Path) -> TableEvaluator:
        """Reads what `save` wrote; pickled content is refused.

        Raises:
            CheckpointError: A file that is not there, damaged, or of another schema.
        """
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                schema, layers, heads, sentences = (int(size) for size in file["sizes"])
                counts = file["counts"]
            if schema != SCHEMA:
                raise ConfigError(f"schema {schema} instead of {SCHEMA}")
            return cls(layers, heads, counts, sentences)
        except _DAMAGE as error:
            raise CheckpointError(f"expected a table of masks in {path}: {error}; build it anew") from error


def _digits(heads: int) -> dict[bytes, int]:
    """Returns the digit of each mask of a layer that keeps a head, by its bytes."""
    masks = (np.arange(1, 2**heads)[:, None] >> np.arange(heads)) & 1 == 1
    return {mask.tobytes(): digit for digit, mask in enumerate(masks)}


def table_size(layers: int, heads: int) -> int:
    """Returns the number of valid masks, (2^heads - 1)^layers.

    Raises:
        ConfigError: Sizes below one, or more masks than a table may hold.
    """
    if layers < 1 or heads < 1:
        raise ConfigError(f"expected at least one layer and one head, got {layers} x {heads}")
    size = int((2**heads - 1) ** layers)
    if size > LARGEST:
        raise ConfigError(
            f"{layers} x {heads} heads have {size} valid masks, a table holds {LARGEST}; evaluate directly"
        )
    return size


def all_masks(layers: int, heads: int, chunk: int = 4096) -> Iterator[HeadMasks]:
    """Yields every valid mask in the table's order, bool (at most chunk, layers, heads) at a time.

    Raises:
        ConfigError: More valid masks than a table may hold.
    """
    size, base = table_size(layers, heads), 2**heads - 1
    radix = base ** np.arange(layers - 1, -1, -1, dtype=np.int64)
    for start in range(0, size, chunk):
        places = np.arange(start, min(start + chunk, size), dtype=np.int64)
        digits = places[:, None] // radix % base + 1
        yield (digits[:, :, None] >> np.arange(heads)) & 1 == 1
