"""How long what is left of a comparison takes: as long as such cells took by the trials that there are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prune_env.comparison.cells import TRIALS, Cell
from prune_env.comparison.rows import arithmetic_of, place, typical
from prune_env.comparison.trials import LIVE, Trial, read_trials

RESULTS = Path(__file__).parent / "results"
"""Trials that the project keeps; a checkout has them."""


@dataclass(frozen=True)
class Expected:
    """Cells of one contestant with one budget that are left to run.

    Attributes:
        contestant: Its name.
        budget: Evaluations; None for as many as one episode may use.
        cells: How many are left.
        seconds: By the clock for one of them, as trials took; None where no trial tells.
    """

    contestant: str
    budget: int | None
    cells: int
    seconds: float | None

    @property
    def in_all(self) -> float | None:
        """Seconds of all of them, one after another."""
        return None if self.seconds is None else self.cells * self.seconds


def expected(
    cells: Sequence[Cell], out: Path, kept: Path = RESULTS, arithmetic: tuple[str, str] = ("float32", "cpu")
) -> list[Expected]:
    """Returns what is left by contestant and budget, contestants in the registry's order, small budgets first.

    Args:
        cells: That are left, of one experiment.
        out: The comparison's folder, whose own trials are believed first: they are of this machine. Of live victims
            they alone are: others are of other models and other arithmetic.
        kept: Folder of other trials.
        arithmetic: dtype and device of live victims; trials in others tell nothing.

    Raises:
        RecordError: Malformed trials.
    """
    live = any(cell.experiment == LIVE for cell in cells)
    others = [] if live else [trial for file in sorted(kept.glob("*.jsonl")) for trial in read_trials(file)]
    own = [one for one in read_trials(out / TRIALS) if not live or arithmetic_of(one) == arithmetic]
    seconds = {**_typical(others, live), **_typical(own, live)}
    counts = Counter((cell.contestant, cell.budget) for cell in cells)
    order = sorted(counts, key=lambda key: (place(key[0]), key[1] or 0))
    return [Expected(*key, counts[key], seconds.get(key)) for key in order]


def _typical(trials: Iterable[Trial], live: bool) -> dict[tuple[str, int | None], float]:
    """Returns the seconds of a trial by contestant and budget, on live victims or on tables."""
    groups: dict[tuple[str, int | None], list[Trial]] = defaultdict(list)
    for trial in trials:
        if (trial.experiment == LIVE) == live:
            groups[trial.contestant, trial.allowance].append(trial)
    return {key: typical(found, "wall_seconds") for key, found in groups.items()}
