"""Rounds and medians by hand: who goes when, who is left out, and what remains."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prune_env.errors import ConfigError
from prune_env.speed.measure import Measured, Spread, alternate, order


def clock_of(*costs: float) -> Iterator[float]:
    """A clock that advances by one of these at every second reading."""
    now = 0.0
    for cost in costs:
        yield now
        now += cost
        yield now


def test_a_spread_by_hand() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)
    assert Spread.of([4.0, 1.0]) == Spread(2.5, 1.0, 4.0, 2)
    with pytest.raises(ConfigError, match="at least one round"):
        Spread.of([])


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=9))
def test_the_median_lies_between_the_extremes(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.lowest <= spread.median <= spread.highest
    assert spread.rounds == len(values)


def test_each_round_starts_one_place_later() -> None:
    assert [order(["a", "b", "c"], number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_contestants_take_turns() -> None:
    log: list[tuple[str, int]] = []

    def turn(name: str, number: int) -> Measured:
        log.append((name, number))
        return Measured(10.0 * number)

    waited: list[str] = []
    turns = {"a": lambda n: turn("a", n), "b": lambda n: turn("b", n)}
    found = alternate(turns, rounds=3, patience=1e9, waiter=waited.append)
    assert log == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert waited == [name for name, _ in log]
    assert [one.value for one in found["b"]] == [0.0, 10.0, 20.0]


def test_an_impatient_run_drops_the_slow_one_after_its_first_round() -> None:
    ticks = clock_of(60.0, 1.0, 1.0, 1.0)
    turns = {"slow": lambda _: Measured(60.0), "fast": lambda _: Measured(1.0)}
    waited: list[str] = []
    found = alternate(turns, rounds=3, patience=100.0, waiter=waited.append, clock=lambda: next(ticks))
    assert len(found["slow"]) == 1
    assert len(found["fast"]) == 3
    assert len(waited) == 6, "turns that are left out count for the time to go"


@pytest.mark.parametrize(("rounds", "patience"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_no_round_and_no_patience_are_refused(rounds: int, patience: float) -> None:
    with pytest.raises(ConfigError, match="rounds >= 1"):
        alternate({"a": lambda _: Measured(1.0)}, rounds, patience)
