"""Phrases that sentences share: how often which side left less, at what cost, with how many heads."""

from __future__ import annotations

from collections.abc import Sequence

from prune_env.baselines.tables.contrasts import FLOOR, LESS, MORE, SAME, Contrast
from prune_env.baselines.tables.words import count, heads_text, percent, span


def tally(met: Sequence[Contrast], rival: bool = False) -> str:
    """Counts outcomes over settings, from the first method's side, or from the rival's."""
    less, more = (MORE, LESS) if rival else (LESS, MORE)
    numbers = [sum(one.outcome == kind for one in met) for kind in (less, more, SAME, FLOOR)]
    floored = f", both are at the floor in {numbers[3]}" if numbers[3] else ""
    return (
        f"leaves less in {numbers[0]}, more in {numbers[1]} and is not told apart in {numbers[2]}{floored} of "
        f"{settings_text(len(met))}"
    )


def cost(met: Sequence[Contrast]) -> str:
    """Says what the rivals' clean accuracy is beside the strategy's."""
    return f"its ACC minus the strategy's: {_gaps(met)} points"


def short_tally(met: Sequence[Contrast]) -> str:
    """Says in how many settings the rival leaves less than the strategy, and in how many more if any."""
    less, more = (sum(one.outcome == kind for one in met) for kind in (MORE, LESS))
    return f"in {less or 'none'} of {settings_text(len(met))}{f' and more in {more}' if more else ''}"


def short_cost(met: Sequence[Contrast]) -> str:
    """Writes the rivals' clean accuracy minus the strategy's in a word or two."""
    return f"ACC {_gaps(met)}"


def heads(met: Sequence[Contrast]) -> str:
    """Says how many heads the strategy keeps, and how many its rival."""
    sizes = {one.row.heads for one in met}
    of = f" of {sizes.pop()}" if len(sizes) == 1 else ""
    mine, theirs = (span([heads_text(kept) for kept in sorted(one.heads_kept[side] for one in met)]) for side in (0, 1))
    return f"heads kept: {mine}{of} beside {theirs}"


def settings_text(number: int) -> str:
    """Writes "1 setting", "3 settings"."""
    return count(number, "setting")


def _gaps(met: Sequence[Contrast]) -> str:
    return span([percent(gap, signed=True) for gap in sorted(-one.acc.value for one in met)])
