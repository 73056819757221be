"""What remains of each victim's backdoor where found masks were carried through the whole defence: a diagnosis.

By victim, and never as one number over attacks: fine-tuning alone leaves one attack nearly whole and takes most of
another, so that a mean over both says more of their mixture than of any mask.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune_env.comparison.rows import amount, place
from prune_env.comparison.statistics import Estimate, difference, mean_of_seeds, plain_mean
from prune_env.comparison.trials import Trial
from prune_env.comparison.verdict import SEEDS, contrasts, interval, signed

CAPTION = (
    "What remains of the backdoor after the whole defence, the found masks on the suspect's own encoder, which was "
    "then fine-tuned: label flip rate, lower is better, a diagnosis."
)


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
    return [
        Remainder(
            *key,
            seeds=len(found),
            lfr=mean_of_seeds([one["oracle_lfr"] for one in found], np.random.default_rng(seed)),
            accuracy=float(np.mean([one["accuracy"] for one in found])),
        )
        for key, found in _defended(trials).items()
    ]


def _defended(trials: Sequence[Trial]) -> dict[tuple[str, int | None, str], list[dict[str, Any]]]:
    """Returns what came of the defended masks by contestant, budget and victim, each in the order of the seeds."""
    groups: dict[tuple[str, int | None, str], list[dict[str, Any]]] = defaultdict(list)
    for trial in sorted(trials, key=lambda one: (place(one.contestant), one.allowance or 0, one.victim, one.seed)):
        if trial.defended is not None:
            groups[trial.contestant, trial.allowance, trial.victim].append(trial.defended)
    return groups


def table(trials: Sequence[Trial], seed: int = 0) -> str:
    """Returns LFR after the whole defence by victim as Markdown, first of fine-tuning alone; nothing without any."""
    found = remainders(trials, seed)
    if not found:
        return ""
    alone = {one.victim: one.defended for one in trials if one.defended is not None}
    victims = sorted(alone)
    rows: dict[tuple[str, int | None], dict[str, Remainder]] = defaultdict(dict)
    for one in found:
        rows[one.contestant, one.budget][one.victim] = one
    head = ["masks of", "found with", *(f"LFR on {victim}" for victim in victims), "certify accuracy"]
    rates = [f"{alone[victim]['unpruned_lfr']:.2f}" for victim in victims]
    nobody = ["nobody: fine-tuning alone (`ft`)", "", *rates, _unpruned_accuracy(alone)]
    lines = [head, ["---", "---", *(["---:"] * (len(victims) + 1))], nobody]
    for (contestant, budget), own in rows.items():
        cells = [interval(own[one].lfr, own[one].seeds, 2) if one in own else "" for one in victims]
        accuracy = np.mean([one.accuracy for one in own.values()])
        lines.append([contestant, amount(budget), *cells, f"{accuracy:.3f}"])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    known = sum(one.seeds for one in found)
    part = f" {known} of {len(trials)} runs were carried that far." if known < len(trials) else ""
    return f"{CAPTION}{part}\n\n{body}"


def as_csv(trials: Sequence[Trial], seed: int = 0) -> str:
    """Returns what remains as CSV, a line a contestant, budget and victim; nothing without any."""
    found = remainders(trials, seed)
    if not found:
        return ""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["contestant", "budget", "victim", "seeds", "lfr", "lfr_low", "lfr_high", "accuracy"])
    for one in found:
        numbers = (f"{number:.6g}" for number in (*one.lfr, one.accuracy))
        writer.writerow([one.contestant, one.budget, one.victim, one.seeds, *numbers])
    return buffer.getvalue()


def sentences(trials: Sequence[Trial], seed: int = 0) -> list[str]:
    """Returns on which victims the masks of the best agent by value leave more LFR, or less, than each best rival's.

    All seeds count, unlike in the verdict by value, since nobody was chosen by LFR; with too few there is no sentence.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    defended, said = _defended(trials), defaultdict[tuple[int | None, str], list[str]](list)
    for one in contrasts(trials, seed):
        agent, rival = one.learned.contestant, one.rival.contestant
        pairs = {
            victim: (ours, defended.get((rival, one.budget, victim), []))
            for (name, budget, victim), ours in defended.items()
            if (name, budget) == (agent, one.budget)
        }
        by_victim = {
            victim: _difference(*sides, seed) for victim, sides in pairs.items() if min(map(len, sides)) >= SEEDS
        }
        if by_victim:
            said[one.budget, agent].append(f"against {rival}: {_told_apart(by_victim)}")
    return [
        f"LFR that the masks of {agent} with {amount(budget)} leave after the whole defence, {'; '.join(parts)}."
        for (budget, agent), parts in said.items()
    ]


def _difference(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], seed: int) -> Estimate:
    first, second = ([np.array([one["oracle_lfr"] for one in side])] for side in (ours, theirs))
    return difference(first, second, np.random.default_rng(seed), summary=plain_mean)


def _told_apart(by_victim: Mapping[str, Estimate]) -> str:
    """Returns the victims on which there is more, those with less, and the others."""
    groups: dict[str, list[str]] = {"more on": [], "less on": [], "not told apart on": []}
    for victim, found in by_victim.items():
        outcome = "more on" if found.low > 0 else "less on" if found.high < 0 else "not told apart on"
        groups[outcome].append(f"{victim} ({signed(found)})")
    return ", ".join(f"{outcome} {' and '.join(listed)}" for outcome, listed in groups.items() if listed)


def _unpruned_accuracy(alone: Mapping[str, Mapping[str, float]]) -> str:
    """Writes the mean accuracy of fine-tuning alone; nothing where a trial was written before it was kept."""
    known = [one["unpruned_accuracy"] for one in alone.values() if "unpruned_accuracy" in one]
    return f"{np.mean(known):.3f}" if len(known) == len(alone) else ""
