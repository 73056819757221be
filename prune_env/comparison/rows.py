"""From trials to rows: what each contestant comes to at each budget, over all victims and seeds of an experiment."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from prune_env.comparison import CONTESTANTS
from prune_env.comparison.statistics import Estimate, Summary, estimate, interquartile_mean, plain_mean
from prune_env.comparison.trials import LIVE, Trial
from prune_env.errors import RecordError


@dataclass(frozen=True)
class Row:
    """A contestant at a budget: interquartile means over runs, with intervals where runs differ.

    Attributes:
        contestant: Its name.
        kind: What it is.
        budget: Evaluations that were allowed; None for as many as one episode may use.
        runs: Victims times seeds.
        seeds: Of the victim that has the fewest.
        evaluations: Asked for, on average.
        certified: Value of the best mask on `certify`.
        regret: Normalised, on `search`; None where no optimum is known.
        certified_regret: The same on `certify`.
        oracle_lfr: Label flip rate of the masked model under that mask, a diagnosis, as a plain mean; None where it was
            not measured.
        policy_regret: Normalised regret of its policy's episode, mean over the runs that left one; None without.
        policy_evaluations: Evaluations of that episode.
        policy_runs: Runs behind them.
        seconds: Processor time, the median; of live victims the longest, since a process computes a mask once, whoever
            asks for it next.
        wall_seconds: The same by the clock.
    """

    contestant: str
    kind: str
    budget: int | None
    runs: int
    seeds: int
    evaluations: float
    certified: Estimate
    regret: Estimate | None
    certified_regret: Estimate | None
    oracle_lfr: Estimate | None
    policy_regret: float | None
    policy_evaluations: float | None
    policy_runs: int
    seconds: float
    wall_seconds: float


def rows_of(trials: Iterable[Trial], seed: int = 0) -> list[Row]:
    """Returns a row for each contestant and budget, in the registry's order, small budgets first.

    Args:
        trials: Of one experiment.
        seed: Of the resamples.
    """
    groups: dict[tuple[int | None, str], list[Trial]] = defaultdict(list)
    for trial in complete(trials):
        groups[trial.allowance, trial.contestant].append(trial)
    order = sorted(groups, key=lambda key: (key[0] or 0, place(key[1])))
    return [_row(groups[key], seed) for key in order]


def complete(trials: Iterable[Trial]) -> list[Trial]:
    """Returns the trials, after checking that they belong together.

    Raises:
        RecordError: Two versions of one victim or of one contestant, or a victim searched or fine-tuned in two
            arithmetics.
    """
    found, known = list(trials), dict[tuple[str, str, str], str]()
    for trial in found:
        for what, name, version in (
            ("victim", trial.victim, trial.identity),
            ("arithmetic of", trial.victim, " on ".join(arithmetic_of(trial))),
            *_fine_tuning_of(trial),
            ("contestant", f"{trial.contestant} on {trial.victim}", json.dumps(trial.settings, sort_keys=True)),
        ):
            first = known.setdefault((trial.experiment, what, name), version)
            if first != version:
                raise RecordError(
                    f"expected one version of the {what} {name}, got two: {_brief(first)} and {_brief(version)}; "
                    "report their files one at a time, or run again"
                )
    return found


def _brief(version: str) -> str:
    """Returns the start of a digest or of settings: enough to find it in a file."""
    return version if len(version) <= 24 else f"{version[:12]}..."


def _fine_tuning_of(trial: Trial) -> list[tuple[str, str, str]]:
    """Returns what all trials of a victim that were defended share: the arithmetic, and what no mask leaves."""
    if trial.defended is None:
        return []
    return [("fine-tuning of", trial.victim, f"{trial.defended['precision']}, {trial.defended['unpruned_lfr']}")]


def place(contestant: str) -> tuple[int, str]:
    """Returns where a contestant stands among others; one that this version does not know comes last."""
    names = list(CONTESTANTS)
    return (names.index(contestant) if contestant in names else len(names), contestant)


def typical(trials: Sequence[Trial], name: str) -> float:
    """Returns how long a run takes, see `Row.seconds`.

    Args:
        trials: Of one contestant and budget.
        name: "seconds" or "wall_seconds".
    """
    seconds = [float(getattr(trial, name)) for trial in trials]
    return max(seconds) if trials[0].experiment == LIVE else float(np.median(seconds))


def arithmetic_of(trial: Trial) -> tuple[str, str]:
    """Returns (dtype, device) of the search on a live victim; of a table, which is looked up, float32 on the CPU."""
    settings = trial.settings
    return str(settings.get("dtype", "float32")), str(settings.get("device", "cpu"))


def amount(budget: int | None) -> str:
    """Returns a budget in words."""
    return "one episode's evaluations" if budget is None else f"{budget:,} evaluations"


def strata_of(trials: Iterable[Trial], number: Callable[[Trial], float]) -> list[NDArray[np.float64]]:
    """Returns a number of each trial by victim, (seeds,) each, in the order of the seeds."""
    groups: dict[str, list[float]] = defaultdict(list)
    for trial in sorted(trials, key=lambda one: one.seed):
        groups[trial.victim].append(number(trial))
    return [np.array(groups[victim]) for victim in sorted(groups)]


def shares_agents(trials: Sequence[Trial]) -> bool:
    """Tells whether trials of one contestant with one seed are of one agent on all victims: it was trained before."""
    return bool(trials) and trials[0].kind == "trained"


def _row(trials: Sequence[Trial], seed: int) -> Row:
    first, policies = trials[0], [trial.policy for trial in trials if trial.policy is not None]
    judged = [one for one in policies if one["regret"] is not None]
    return Row(
        contestant=first.contestant,
        kind=first.kind,
        budget=first.allowance,
        runs=len(trials),
        seeds=min(Counter(trial.victim for trial in trials).values()),
        evaluations=float(np.mean([trial.evaluations for trial in trials])),
        certified=_estimate(trials, "certified", seed),
        regret=_known(trials, "regret", seed),
        certified_regret=_known(trials, "certified_regret", seed),
        oracle_lfr=_known(trials, "oracle_lfr", seed, plain_mean),
        policy_regret=float(np.mean([one["regret"] for one in judged])) if judged else None,
        policy_evaluations=float(np.mean([one["evaluations"] for one in policies])) if policies else None,
        policy_runs=len(policies),
        seconds=typical(trials, "seconds"),
        wall_seconds=typical(trials, "wall_seconds"),
    )


def _estimate(trials: Sequence[Trial], name: str, seed: int, summary: Summary = interquartile_mean) -> Estimate:
    strata = strata_of(trials, attrgetter(name))
    return estimate(strata, np.random.default_rng(seed), shared=shares_agents(trials), summary=summary)


def _known(trials: Sequence[Trial], name: str, seed: int, summary: Summary = interquartile_mean) -> Estimate | None:
    if any(getattr(trial, name) is None for trial in trials):
        return None
    return _estimate(trials, name, seed, summary)
