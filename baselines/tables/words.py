"""Numbers as words: what a table's cell and a sentence about it share, so that one number is never written in two ways.

Rates and differences of rates come in [-1, 1] and are written in percent or points, with one decimal.
"""

from __future__ import annotations

from collections.abc import Sequence

from prune_env.metrics import Interval


def percent(rate: float | None, signed: bool = False) -> str:
    """Writes a rate, or a difference with its sign; "" for none."""
    if rate is None:
        return ""
    # Adding zero turns a negative zero into a positive one.
    return format(round(100 * rate, 1) + 0.0, "+.1f" if signed else ".1f")


def interval(found: Interval | None, signed: bool = False) -> str:
    """Writes a rate with its interval; "" for none."""
    if found is None:
        return ""
    value, low, high = (percent(one, signed) for one in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def reversed_interval(found: Interval) -> Interval:
    """Returns a difference from the other side: its bounds change places."""
    return Interval(-found.value, -found.high, -found.low)


def heads_text(kept: float) -> str:
    """Writes a mean number of heads: 24, 38.5."""
    return f"{kept:.1f}".removesuffix(".0")


def whole(number: float | None) -> str:
    """Writes a count; "" for none."""
    return "" if number is None else f"{number:,.0f}"


def count(number: int, noun: str) -> str:
    """Writes "1 attacker", "3 attackers"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def span(words: Sequence[str]) -> str:
    """Writes the first and the last of ordered numbers: "24 to 38.5", or one where they read the same."""
    return words[0] if words[0] == words[-1] else f"{words[0]} to {words[-1]}"
