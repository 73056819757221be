"""The counts of several tables in few bytes: differences to neighbouring masks, in planes of bytes, compressed.

Counts of masks that differ in one layer are alike. Each count is replaced by its difference to the one before along the
last layer's masks, and so on for the layers above; what is left are small numbers, whose low and high bytes are
compressed apart.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prune_env.engine.table import table_size
from prune_env.errors import ConfigError

_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 2**20, "lc": 0, "lp": 0, "pb": 0}]


def encode(tables: Sequence[NDArray[np.int32]], layers: int, heads: int) -> bytes:
    """Compresses tables of one model.

    Args:
        tables: int32 (table_size(layers, heads),) each, counts from 0 to 32,767.
        layers: Layers of the model.
        heads: Heads in each layer.
    """
    grid = (2**heads - 1,) * layers
    planes = [_planes(np.diff(table.reshape(grid), axis=-1, prepend=0)) for table in tables]
    return lzma.compress(b"".join(planes), lzma.FORMAT_XZ, lzma.CHECK_NONE, filters=_FILTERS)


def decode(content: bytes, tables: int, layers: int, heads: int) -> list[NDArray[np.int32]]:
    """Restores what `encode` compressed.

    Raises:
        ConfigError: Sizes of no table, or content of another size.
    """
    size = table_size(layers, heads)
    expected = 2 * size * tables
    try:
        opened = lzma.LZMADecompressor()
        # One byte more than there should be: a file that unpacks to gigabytes is refused before it does.
        plain = opened.decompress(content, max_length=expected + 1)
    except lzma.LZMAError as error:
        raise ConfigError(f"the counts cannot be unpacked ({error})") from error
    if len(plain) != expected or not opened.eof or opened.unused_data:
        raise ConfigError(f"expected {expected} bytes of counts, got another number")
    grid = (2**heads - 1,) * layers
    parts = [plain[2 * size * number : 2 * size * (number + 1)] for number in range(tables)]
    return [np.cumsum(_numbers(part).reshape(grid), axis=-1, dtype=np.int32).reshape(-1) for part in parts]


def _planes(numbers: NDArray[np.int32]) -> bytes:
    """Returns the low bytes, then the high ones, of whole numbers in zigzag order: 0, -1, 1, -2, 2, ..."""
    folded = np.where(numbers < 0, -2 * numbers - 1, 2 * numbers).astype("<u2")
    return folded.reshape(-1, 1).view(np.uint8).T.tobytes()


def _numbers(planes: bytes) -> NDArray[np.int32]:
    """Returns the numbers of what `_planes` wrote."""
    folded = np.frombuffer(planes, dtype=np.uint8).reshape(2, -1).T.copy().view("<u2").reshape(-1).astype(np.int32)
    return np.where(folded % 2, -(folded + 1) // 2, folded // 2).astype(np.int32)
