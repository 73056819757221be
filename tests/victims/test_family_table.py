"""The table of the family that ships: a row for every recipe, and every row but those known keeps its promise."""

from __future__ import annotations

import re

from prune_env.victims.family import FAMILY
from prune_env.victims.family_measure import MASKS, read_table


def test_every_victim_has_its_row_in_the_registrys_order() -> None:
    rows = read_table()
    assert [row.name for row in rows] == list(FAMILY)
    for row in rows:
        made = FAMILY[row.name]
        assert (row.split, row.kind, row.attack) == (made.split, made.kind, made.tiny.attack)
        assert (row.layers, row.heads, row.seed) == (made.tiny.layers, made.tiny.heads, made.tiny.seed)
    assert len({row.sha256 for row in rows}) == len(rows)


def test_carriers_are_as_many_as_the_recipe_says_and_the_drawn_ones_the_recipes() -> None:
    for row in read_table():
        made = FAMILY[row.name]
        assert (row.carriers or "").count("1") == made.carriers
        assert made.kind != "random" or row.carriers == made.tiny.carriers


MISSED = (
    "syntactic-3x4-s35",
    "style-3x4-s42",
    "syntactic-3x4-s49",
    "style-3x4-s52",
    "style-3x4-s58",
    "syntactic-3x4-s61",
)
"""Attackers whose models, or one of them, reach .914 to .929 where .93 is promised; all else they keep."""


def test_every_promise_is_kept_but_six_attackers_accuracy() -> None:
    rows = read_table()
    missed = [miss for row in rows for miss in row.misses()]
    found = [re.fullmatch(r"(\w+-3x4-s\d\d)-\w+: ACC is 0\.9[12]\d, less than 0\.93", miss) for miss in missed]
    assert tuple(dict.fromkeys(one[1] for one in found if one)) == MISSED
    assert all(found)
    assert len(found) == 20
    assert all(0 < row.masks_holding <= MASKS for row in rows)
