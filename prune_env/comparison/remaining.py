"""What remains of each victim's backdoor where found masks were carried through the whole defence: a diagnosis.

By victim, and never as one number over attacks: fine-tuning alone leaves one attack nearly whole and takes most of
another, so that a mean over both says more of their mixture than of any mask.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prune_env.comparison.rows import amount, place
from prune_env.comparison.statistics import Estimate, difference_of_means, mean_of_seeds
from prune_env.comparison.trials import Trial
from prune_env.comparison.verdict import FEW, SEEDS, contrasts

MORE, LESS, EVEN = "more than", "less than", "not told apart from"


@dataclass(frozen=True)
class Remainder:
    """What one contestant's masks leave of one victim's backdoor.

    Attributes:
        contestant: Its name.
        budget: Evaluations that were allowed; None for what one episode may use.
        victim: Its name.
        seeds: Runs.
        lfr: Mean over the runs, with its interval.
        accuracy: On `certify`, mean over the runs.
    """

    contestant: str
    budget: int | None
    victim: str
    seeds: int
    lfr: Estimate
    accuracy: float


def remainders(trials: Sequence[Trial], seed: int = 0) -> list[Remainder]:
    """Returns what remains by contestant, budget and victim, in the registry's order; trials not defended left out.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    groups: dict[tuple[str, int | None, str], list[dict[str, float]]] = defaultdict(list)
    for trial in sorted(trials, key=lambda one: one.seed):
        if trial.defended is not None:
            groups[trial.contestant, trial.allowance, trial.victim].append(trial.defended)
    return [
        Remainder(
            *key,
            seeds=len(found),
            lfr=mean_of_seeds([one["oracle_lfr"] for one in found], np.random.default_rng(seed)),
            accuracy=float(np.mean([one["accuracy"] for one in found])),
        )
        for key, found in sorted(groups.items(), key=lambda item: (place(item[0][0]), item[0][1] or 0, item[0][2]))
    ]


def table(trials: Sequence[Trial], seed: int = 0) -> str:
    """Returns LFR after the whole defence by victim as Markdown, first of fine-tuning alone; nothing without any."""
    found = remainders(trials, seed)
    if not found:
        return ""
    alone = {one.victim: one.defended["unpruned_lfr"] for one in trials if one.defended is not None}
    victims = sorted(alone)
    rows: dict[tuple[str, int | None], dict[str, Remainder]] = defaultdict(dict)
    for one in found:
        rows[one.contestant, one.budget][one.victim] = one
    lines = [["masks of", "LFR after the whole defence with", *victims, "accuracy"], ["---", "---"]]
    lines[1] += ["---:"] * (len(victims) + 1)
    lines.append(["nobody: every head kept", "", *(f"{alone[victim]:.2f}" for victim in victims), ""])
    for (contestant, budget), own in rows.items():
        cells = [_cell(own[victim]) if victim in own else "" for victim in victims]
        accuracy = np.mean([one.accuracy for one in own.values()])
        lines.append([contestant, amount(budget), *cells, f"{accuracy:.3f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sentences(trials: Sequence[Trial], seed: int = 0) -> list[str]:
    """Returns whether the masks of the best agent by value leave less LFR than those of each best rival by value.

    All seeds count, unlike in the verdict by value: nobody was chosen by LFR.
    """
    found: dict[tuple[int | None, str], list[str]] = defaultdict(list)
    for one in contrasts(trials, seed):
        ours, theirs = (
            _by_seed([trial for trial in trials if (trial.contestant, trial.allowance) == (name, one.budget)])
            for name in (one.learned.contestant, one.rival.contestant)
        )
        if ours and theirs:
            of = difference_of_means(list(ours.values()), list(theirs.values()), np.random.default_rng(seed))
            found[one.budget, one.learned.contestant].append(
                f"{_outcome(of)} {one.rival.contestant}'s ({of.value:+.3f} [{of.low:+.3f}, {of.high:+.3f}])"
            )
    return [
        f"LFR that the masks of {agent} with {amount(budget)} leave after the whole defence, mean over victims: "
        f"{', '.join(parts)}."
        for (budget, agent), parts in found.items()
    ]


def _by_seed(trials: Sequence[Trial]) -> Mapping[int, float]:
    """Returns LFR by seed, the mean over victims; nothing where some trial was not defended."""
    groups: dict[int, list[float]] = defaultdict(list)
    for trial in trials:
        if trial.defended is None:
            return {}
        groups[trial.seed].append(trial.defended["oracle_lfr"])
    return {seed: float(np.mean(rates)) for seed, rates in groups.items()}


def _outcome(found: Estimate) -> str:
    if found.low > 0:
        return MORE
    return LESS if found.high < 0 else EVEN


def _cell(found: Remainder) -> str:
    mark = f" {FEW}" if found.seeds < SEEDS else ""
    width = "" if found.lfr.low == found.lfr.high else f" [{found.lfr.low:.2f}, {found.lfr.high:.2f}]"
    return f"{found.lfr.value:.2f}{width}{mark}"
