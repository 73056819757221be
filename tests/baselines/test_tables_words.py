"""Numbers as words: rounded once, the same in a cell and in a sentence."""

from __future__ import annotations

import pytest

from prune_env.baselines.tables.words import (
    count,
    heads_text,
    interval,
    percent,
    reversed_interval,
    span,
    whole,
)
from prune_env.metrics import Interval


@pytest.mark.parametrize(("kept", "text"), [(24, "24"), (38.5, "38.5"), (38.0, "38"), (101.25, "101.2"), (0, "0")])
def test_heads_keep_their_halves(kept: float, text: str) -> None:
    assert heads_text(kept) == text


def test_rates_are_in_percent_and_zero_has_no_minus() -> None:
    assert (percent(0.5), percent(-0.0001), percent(None)) == ("50.0", "0.0", "")
    assert (percent(0.5, signed=True), percent(-0.0001, signed=True)) == ("+50.0", "+0.0")


def test_an_interval_from_the_other_side_changes_its_ends() -> None:
    found = Interval(-0.4, -0.5, 0.1)
    assert interval(found) == "-40.0 [-50.0, 10.0]"
    assert interval(reversed_interval(found), signed=True) == "+40.0 [-10.0, +50.0]"
    assert interval(None) == ""


def test_counts_and_spans() -> None:
    assert (whole(1234.4), whole(None)) == ("1,234", "")
    assert (count(1, "attacker"), count(3, "attacker")) == ("1 attacker", "3 attackers")
    assert (span(["24", "36", "38.5"]), span(["24", "24"])) == ("24 to 38.5", "24")
