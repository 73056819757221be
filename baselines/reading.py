"""What a table says, in words that follow from its numbers: did a strategy do better than chance or a warmer rate?"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prune_env.baselines.summary import RANDOM_MASKS, REFERENCE, Row, compare, rate_text
from prune_env.metrics import Interval

CLAIM_SEEDS = 5
"""Seeds below which a difference is a lead: the paper uses five, and fine-tuning varies from seed to seed."""


OWN = ("hybrid", "candidate-")
"""Names of the project's own defence and its candidates, which draw heads instead of choosing them."""

KINDS = ("a random mask", "ft at the same rate", "ft at a warmer rate")
"""The rivals a strategy has to beat: chance, and plain fine-tuning."""


@dataclass(frozen=True)
class Contest:
    """The best strategy at one rate against one rival.

    Attributes:
        strategy: The strategy's row.
        rival: A control's row, or plain fine-tuning at the same or a warmer rate.
        difference: Points above the floor of the strategy minus the rival's, paired over sentences.
    """

    strategy: Row
    rival: Row
    difference: Interval

    @property
    def seeds(self) -> tuple[float, ...]:
        """The difference in each seed that both have."""
        mine, theirs = self.strategy.by_seed, self.rival.by_seed
        return tuple(mine[seed] - theirs[seed] for seed in mine if seed in theirs)

    @property
    def kind(self) -> str:
        """What the rival is, one of `KINDS`."""
        if self.rival.method in RANDOM_MASKS:
            return KINDS[0]
        return KINDS[2] if self.rival.learning_rate > self.strategy.learning_rate else KINDS[1]

    @property
    def won(self) -> bool:
        """Whether the strategy leaves less of the backdoor, beyond the noise over sentences and in every seed."""
        return self.difference.high < 0.0 and max(self.seeds) < 0.0

    @property
    def lost(self) -> bool:
        """Whether the rival does."""
        return self.difference.low > 0.0 and min(self.seeds) > 0.0


def reading(rows: Sequence[Row], bootstrap_seed: int = 0) -> str:
    """Says for each victim and rate whether a random mask or plain fine-tuning does as well as the best strategy.

    The best strategy is the clean-only one that leaves the fewest points above its floor, which favours strategies:
    they are several, and the best is chosen by the number that is then compared.

    Args:
        rows: What `summarise` returned.
        bootstrap_seed: Seeds the resamples.

    Returns:
        A first line for all victims, then one line a victim and rate.
    """
    contests = [_contests(strategy, rows, bootstrap_seed) for strategy in _best_strategies(rows)]
    contests = [found for found in contests if found]
    if not contests:
        return "No strategy stands beside a random mask or plain fine-tuning here, so the table compares nothing."
    better = sum(all(contest.won for contest in found) for found in contests)
    seeds = min(len(contest.strategy.seeds) for found in contests for contest in found)
    ran = {contest.kind for found in contests for contest in found}
    present, absent = ([kind for kind in KINDS if (kind in ran) is there] for there in (True, False))
    lead = (
        f"In {better} of {len(contests)} settings (victim and rate) the best strategy leaves less of the backdoor than "
        f"each rival run beside it ({', '.join(present)}), beyond the noise over sentences"
        f"{' and in every seed' if seeds > 1 else ''}."
    )
    if absent:
        lead += f" Not in this run, so not compared: {', '.join(absent)}."
    if seeds < CLAIM_SEEDS:
        lead += (
            f" With {seeds} seed{'' if seeds == 1 else 's'} this is a lead, not a result: fine-tuning varies from seed "
            f"to seed, and {CLAIM_SEEDS} are the least for a claim."
        )
    return "\n".join([lead, *(_line(found) for found in contests)])


def _best_strategies(rows: Sequence[Row]) -> Iterator[Row]:
    """Yields the clean-only strategy with the fewest points above the floor, for each victim, protocol and rate."""
    settings: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        if row.kind == "strategy" and row.regime == "clean_only" and not row.method.startswith(OWN):
            settings.setdefault((row.victim, row.protocol, row.learning_rate), []).append(row)
    for strategies in settings.values():
        yield min(strategies, key=_left)


def _left(row: Row) -> float:
    return sum(row.by_seed.values()) / len(row.by_seed)


def _contests(strategy: Row, rows: Sequence[Row], bootstrap_seed: int) -> list[Contest]:
    """Sets the strategy against the best control at its rate, ft at its rate and the best ft at a warmer one."""
    beside = [row for row in rows if (row.victim, row.protocol) == (strategy.victim, strategy.protocol)]
    same = [row for row in beside if row.learning_rate == strategy.learning_rate]
    rivals = (
        [row for row in same if row.method in RANDOM_MASKS and row.constraint in ("", strategy.constraint)],
        [row for row in same if row.method == REFERENCE],
        [row for row in beside if row.method == REFERENCE and row.learning_rate > strategy.learning_rate],
    )
    found = []
    for rival in (min(candidates, key=_left) for candidates in rivals if candidates):
        difference = compare(strategy, rival, bootstrap_seed)
        if difference is not None:
            found.append(Contest(strategy, rival, difference))
    return found


def _line(contests: list[Contest]) -> str:
    strategy = contests[0].strategy
    what = "points above the floor" if strategy.floor is not None else "% LFR (no twin, no floor)"
    size = f"{strategy.heads_kept.mean:.0f} of {strategy.heads} heads kept"
    start = (
        f"- {strategy.victim} at {rate_text(strategy.learning_rate)}: {strategy.method} ({size}, "
        f"ACC {_percent(strategy.acc.mean)}) leaves {_percent(_left(strategy))} {what}"
    )
    return "; ".join([start, *(_clause(contest) for contest in contests)]) + "."


def _clause(contest: Contest) -> str:
    rival, gap = contest.rival, contest.difference
    details = f"ACC {_percent(rival.acc.mean)}"
    if rival.method in RANDOM_MASKS:
        name, details = "a random mask", f"{rival.heads_kept.mean:.0f} heads kept, {details}"
    elif rival.learning_rate > contest.strategy.learning_rate:
        name = f"{rival.method} at {rate_text(rival.learning_rate)}"
    else:
        name = f"{rival.method} at the same rate"
    # From the rival's side: minus the difference, so its bounds change places.
    points = f"{_signed(-gap.value)} [{_signed(-gap.high)}, {_signed(-gap.low)}] points"
    if len(contest.seeds) > 1:
        points += f", ± {_percent(statistics.stdev(contest.seeds))} over seeds"
    if contest.won:
        return f"{name} ({details}) leaves more, {points}"
    if contest.lost:
        return f"{name} ({details}) leaves less, {points}"
    return f"{name} ({details}) does as well within noise, {points}"


def _signed(rate: float) -> str:
    # Adding zero turns a negative zero into a positive one.
    return f"{round(100 * rate, 1) + 0.0:+.1f}"


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"
