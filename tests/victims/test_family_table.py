"""The family's table that ships: a row for every recipe, and every row keeps its kind's promise."""

from __future__ import annotations

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


def test_every_promise_is_kept() -> None:
    rows = read_table()
    assert [miss for row in rows for miss in row.misses()] == []
    assert all(0 < row.masks_holding <= MASKS for row in rows)
