"""Shares of an evaluation's time by kind of work."""

from __future__ import annotations

import pytest

from prune_env.speed.profile import REST, Share, kind_of, shares


def test_operations_are_summed_by_kind_and_sorted() -> None:
    found = shares([("aten::gelu", 10.0, 2), ("aten::addmm", 50.0, 3), ("aten::mm", 30.0, 1), ("aten::view", 10.0, 9)])
    assert found == [Share("matrix products", 0.8, 4), Share("activation", 0.1, 2), Share(REST, 0.1, 9)]
    assert shares([("aten::view", 0.0, 1)]) == shares([]) == []


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::addmm", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::native_layer_norm", "normalisation"),
        ("aten::add", "additions"),
        ("aten::index_select", "copies"),
        ("aten::as_strided", REST),
    ],
)
def test_an_operation_belongs_to_one_kind(operation: str, kind: str) -> None:
    assert kind_of(operation) == kind
