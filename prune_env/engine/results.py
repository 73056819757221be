"""Results by mask: one bit a sentence and their sum, kept for every mask that was ever computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class ResultCache:
    """Which sentences each mask classifies correctly, and how many: about 300 bytes a mask at 872 sentences."""

    def __init__(self, sentences: int) -> None:
        """Starts empty, for a split of that many sentences."""
        self._sentences = sentences
        self._known: dict[bytes, tuple[bytes, int]] = {}

    def __contains__(self, key: bytes) -> bool:
        """Tells whether a mask is known."""
        return key in self._known

    def put(self, key: bytes, correct: NDArray[np.bool_]) -> None:
        """Keeps a mask's result, bool (sentences,)."""
        self._known[key] = (np.packbits(correct).tobytes(), int(correct.sum()))

    def count(self, key: bytes) -> int:
        """Returns how many sentences a known mask classifies correctly."""
        return self._known[key][1]

    def correct(self, key: bytes) -> NDArray[np.bool_]:
        """Returns which sentences a known mask classifies correctly, bool (sentences,); a fresh array."""
        packed = np.frombuffer(self._known[key][0], dtype=np.uint8)
        return np.unpackbits(packed, count=self._sentences).astype(np.bool_)
