"""What remains of each victim's backdoor where found masks were carried through the whole defence: a diagnosis.

By victim, and never as one number over attacks: fine-tuning alone leaves one attack nearly whole and takes most of
another, so that a mean over both says more of their mixture than of any mask.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from prune_env.comparison.rows import amount, place
from prune_env.comparison.statistics import Estimate, difference, mean_of_seeds, plain_mean
from prune_env.comparison.trials import Trial
from prune_env.comparison.verdict import FEW, SEEDS, contrasts

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
    alone = {one.victim: one.defended for one in trials if one.defended is not None}
    victims = sorted(alone)
    rows: dict[tuple[str, int | None], dict[str, Remainder]] = defaultdict(dict)
    for one in found:
        rows[one.contestant, one.budget][one.victim] = one
    lines = [
        ["masks of", "found with", *(f"LFR on {victim}" for victim in victims), "certify accuracy"],
        ["---", "---"],
    ]
    lines[1] += ["---:"] * (len(victims) + 1)
    rates = [f"{alone[victim]['unpruned_lfr']:.2f}" for victim in victims]
    lines.append(["nobody: fine-tuning alone (`ft`)", "", *rates, _unpruned_accuracy(alone)])
    for (contestant, budget), own in rows.items():
        cells = [_cell(own[victim]) if victim in own else "" for victim in victims]
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
    names = [field.name for field in fields(Remainder)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*names[:-2], "lfr", "lfr_low", "lfr_high", "accuracy"])
    for one in found:
        numbers = (f"{number:.6g}" for number in (*one.lfr, one.accuracy))
        writer.writerow([*(getattr(one, name) for name in names[:-2]), *numbers])
    return buffer.getvalue()


def sentences(trials: Sequence[Trial], seed: int = 0) -> list[str]:
    """Returns on which victims the masks of the best agent by value leave more LFR, or less, than each best rival's.

    All seeds count, unlike in the verdict by value, since nobody was chosen by LFR; with too few there is no sentence.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    rates: dict[tuple[str, int | None, str], list[float]] = defaultdict(list)
    for trial in sorted(trials, key=lambda one: one.seed):
        if trial.defended is not None:
            rates[trial.contestant, trial.allowance, trial.victim].append(trial.defended["oracle_lfr"])
    said: dict[tuple[int | None, str], list[str]] = defaultdict(list)
    for one in contrasts(trials, seed):
        agent, rival = one.learned.contestant, one.rival.contestant
        by_victim = {
            victim: _difference(found, rates[rival, one.budget, victim], seed)
            for (name, budget, victim), found in sorted(rates.items(), key=lambda item: item[0][2])
            if (name, budget) == (agent, one.budget)
            and min(len(found), len(rates.get((rival, one.budget, victim), ()))) >= SEEDS
        }
        if by_victim:
            said[one.budget, agent].append(f"against {rival}: {_told_apart(by_victim)}")
    return [
        f"LFR that the masks of {agent} with {amount(budget)} leave after the whole defence, {'; '.join(parts)}."
        for (budget, agent), parts in said.items()
    ]


def _difference(ours: Sequence[float], theirs: Sequence[float], seed: int) -> Estimate:
    sides = ([np.array(ours)], [np.array(theirs)])
    return difference(*sides, np.random.default_rng(seed), summary=plain_mean)


def _told_apart(by_victim: Mapping[str, Estimate]) -> str:
    """Returns the victims on which there is more, those with less, and the others."""
    groups: dict[str, list[str]] = {"more on": [], "less on": [], "not told apart on": []}
    for victim, found in by_victim.items():
        outcome = "more on" if found.low > 0 else "less on" if found.high < 0 else "not told apart on"
        groups[outcome].append(f"{victim} ({found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}])")
    return ", ".join(f"{outcome} {' and '.join(listed)}" for outcome, listed in groups.items() if listed)


def _unpruned_accuracy(alone: Mapping[str, Mapping[str, float]]) -> str:
    """Writes the mean accuracy of fine-tuning alone; nothing where a trial was written before it was kept."""
    known = [one["unpruned_accuracy"] for one in alone.values() if "unpruned_accuracy" in one]
    return f"{np.mean(known):.3f}" if len(known) == len(alone) else ""


def _cell(found: Remainder) -> str:
    mark = f" {FEW}" if found.seeds < SEEDS else ""
    width = "" if found.lfr.low == found.lfr.high else f" [{found.lfr.low:.2f}, {found.lfr.high:.2f}]"
    return f"{found.lfr.value:.2f}{width}{mark}"
