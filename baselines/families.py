"""Families: victims that differ in the attacker's seed alone, and so are repetitions of one attack on one backbone."""

from __future__ import annotations

import re

_SEED = re.compile(r"-s\d+$")


def family_of(victim: str) -> str:
    """Returns a victim's family: its name without the attacker's seed, "-s12" at its end; a bare name is a family.

    `Record.attacker_seed` says which attacker of the family it is.
    """
    return _SEED.sub("", victim)
