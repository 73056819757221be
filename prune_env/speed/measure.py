"""Rounds in which the contestants take turns, and what remains of them: a median with its spread.

Contestants alternate, since a machine's speed drifts: whoever ran alone in a slow minute would look slow. Every round
begins with another contestant, for the one after a long turn finds another temperature and another cache.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prune_env.errors import ConfigError

Clock = Callable[[], float]


@dataclass(frozen=True)
class Spread:
    """A median with the extremes.

    Attributes:
        median: Of all rounds.
        lowest: The smallest value of a round.
        highest: The largest.
        rounds: How many there were.
    """

    median: float
    lowest: float
    highest: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarises one value a round.

        Raises:
            ConfigError: No value.
        """
        found = list(values)
        if not found:
            raise ConfigError("expected at least one round to summarise, got none; run one")
        return cls(statistics.median(found), min(found), max(found), len(found))


@dataclass(frozen=True)
class Measured:
    """What one turn gave: a value in its workload's unit, and counts that belong to it."""

    value: float
    details: Mapping[str, float] = field(default_factory=dict)


Turn = Callable[[int], Measured]
"""Does a contestant's work of one round (the round's number) and times what is to be timed."""

Waiter = Callable[[str], None]
"""Called with a contestant's name after each of its turns, those included that were left out."""


def order(contestants: Sequence[str], number: int) -> list[str]:
    """Returns who goes in which order in a round: each round starts one place later."""
    start = number % len(contestants) if contestants else 0
    return [*contestants[start:], *contestants[:start]]


def alternate(
    turns: Mapping[str, Turn],
    rounds: int,
    patience: float,
    waiter: Waiter = lambda _: None,
    clock: Clock = time.perf_counter,
) -> dict[str, list[Measured]]:
    """Runs every contestant once a round.

    Args:
        turns: What each contestant does.
        rounds: How often, at most.
        patience: Seconds after which a contestant is left out of later rounds, judged by the time of its last turn;
            the first round is everybody's.
        waiter: Learns of every turn.
        clock: Seconds.

    Raises:
        ConfigError: Fewer than one round, or patience that is not positive.
    """
    if rounds < 1 or not patience > 0:
        raise ConfigError(f"expected rounds >= 1 and patience > 0 seconds, got {rounds} and {patience}; give more")
    found: dict[str, list[Measured]] = {name: [] for name in turns}
    spent, last = dict.fromkeys(turns, 0.0), dict.fromkeys(turns, 0.0)
    for number in range(rounds):
        for name in order(list(turns), number):
            if number == 0 or spent[name] + last[name] <= patience:
                started = clock()
                found[name].append(turns[name](number))
                last[name] = clock() - started
                spent[name] += last[name]
            waiter(name)
    return found
