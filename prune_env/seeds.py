"""Seeds for separate purposes from one recorded seed."""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str) -> int:
    """Returns a 63-bit seed that depends on both arguments.

    An attacker and a defender who happen to use the same seed must not draw the same initial head, so every stream is
    derived by name.
    """
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:8], "big") >> 1
