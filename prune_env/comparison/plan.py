"""What is compared with what: the cells of a comparison, what is there of them already, and what cannot be run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from prune_env.comparison.cells import TRIALS, Cell, Preparation, Settings, budget_of, key_of
from prune_env.comparison.contestant import Pretraining, get_contestant
from prune_env.comparison.problem import subject_of
from prune_env.comparison.trials import EXPERIMENTS, LIVE, Trial, by_key, read_trials
from prune_env.engine.device import resolve_device, resolve_dtype
from prune_env.errors import ConfigError, UnknownNameError


@dataclass(frozen=True)
class Plan:
    """What is compared with what.

    Attributes:
        experiment: One of `EXPERIMENTS`.
        victims: Twins, or folders for "real".
        contestants: Registered names.
        budgets: Evaluations; None for as many as one episode may use.
        seeds: Of all chance, those of agents that are trained before included.
    """

    experiment: str
    victims: tuple[str, ...]
    contestants: tuple[str, ...]
    budgets: tuple[int | None, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        """Checks names and numbers."""
        if self.experiment not in EXPERIMENTS:
            raise UnknownNameError("experiment", self.experiment, EXPERIMENTS)
        for what in ("victims", "contestants", "budgets", "seeds"):
            if not getattr(self, what):
                raise ConfigError(f"expected at least one of {what}, got none; name one")
        for name in self.contestants:
            get_contestant(name)
        if any(budget is not None and budget < 1 for budget in self.budgets):
            raise ConfigError(
                f"expected budgets of at least one evaluation, got {self.budgets}; name such, or None for an episode's"
            )

    @property
    def cells(self) -> list[Cell]:
        """Every cell, the largest budgets first."""
        budgets = sorted(self.budgets, key=lambda budget: -(budget or 0))
        every = product(budgets, self.contestants, self.victims, self.seeds)
        return [Cell(self.experiment, victim, name, budget, seed) for budget, name, victim, seed in every]

    @property
    def preparations(self) -> list[Preparation]:
        """What is trained before any cell."""
        trained = [name for name in self.contestants if get_contestant(name).kind == "trained"]
        return [Preparation(name, seed) for name in trained for seed in self.seeds]


@dataclass(frozen=True)
class Missing:
    """What is left of a plan.

    Attributes:
        preparations: Agents to train, or to look whether they are.
        cells: Cells without a trial.
        searched: Cells with a trial whose mask is still to be fine-tuned, which somebody asked for.
        done: Cells that need nothing more.
        trials: Of those.
    """

    preparations: list[Preparation]
    cells: list[Cell]
    searched: list[Cell]
    done: int
    trials: list[Trial]


def check(plan: Plan, settings: Settings) -> None:
    """Refuses what cannot be run, without a look at its folder.

    Raises:
        ConfigError: No twins to train on, or one that is judged on, too; fewer steps than a training needs; a device
            or dtype for tables, or masks of tables to fine-tune.
        DeviceError: A device or dtype that is not there, for live victims.
        PruneEnvError: A victim that is not there.
    """
    if plan.experiment == LIVE:
        resolve_device(settings.device)
        resolve_dtype(settings.dtype)
    elif (settings.device, settings.dtype) != (Settings.device, Settings.dtype):
        raise ConfigError(
            f"expected {Settings.device} and {Settings.dtype} for {plan.experiment}, whose masks are looked up, got "
            f"{settings.device} and {settings.dtype}; leave out --device and --dtype"
        )
    if settings.fine_tune and plan.experiment != LIVE:
        raise ConfigError(
            f"expected the experiment {LIVE} where found masks are fine-tuned, got {plan.experiment}, which is of "
            "tables; leave out --fine-tune"
        )
    for victim in plan.victims:
        subject_of(victim, plan.experiment == LIVE, settings.mode, settings.data)
    _check_training(plan, settings)


def missing(plan: Plan, settings: Settings) -> Missing:
    """Looks up what a plan's folder holds already.

    Raises:
        PruneEnvError: As `check` says, or malformed trials.
    """
    check(plan, settings)
    there = by_key(read_trials(settings.out / TRIALS))
    known = {key: trial for key, trial in there.items() if trial.defended is not None or not settings.fine_tune}
    keys = {cell: key_of(cell, settings) for cell in plan.cells}
    cells = [cell for cell, key in keys.items() if key not in there]
    searched = [cell for cell, key in keys.items() if key in there and key not in known]
    left = {(cell.contestant, cell.seed) for cell in cells}
    before = [one for one in plan.preparations if (one.contestant, one.seed) in left]
    found = [known[key] for key in keys.values() if key in known]
    return Missing(before, cells, searched, len(found), found)


def _check_training(plan: Plan, settings: Settings) -> None:
    """Checks what agents are trained on before, if there are any: nothing of it may be judged on."""
    if not plan.preparations:
        return
    before = settings.before
    judged = {
        digest
        for victim in plan.victims
        for subject in [subject_of(victim, plan.experiment == LIVE, settings.mode, settings.data)]
        for digest in (subject.identity, subject.victim_sha256)
    }
    both = [name for name, digests in before.origins.items() if judged & set(digests)]
    if both:
        raise ConfigError(
            f"expected agents to be trained on other victims than they are judged on, got {', '.join(both)} in both; "
            "name other --victims or another set with --train-on"
        )
    for name in {one.contestant for one in plan.preparations}:
        _check_steps(get_contestant(name).settings, before)


def _check_steps(agent: dict[str, Any], before: Pretraining) -> None:
    """Checks that the training of an agent of Stable-Baselines3, by its settings, fills a rollout at least."""
    if "algorithm" in agent:
        from prune_env.agents.family import FamilyTraining

        FamilyTraining.of(agent["agent"], before.steps, before.mode).training(seed=0)


def evaluations_of(left: Missing, settings: Settings) -> int:
    """Returns the evaluations that missing cells may ask for in all."""
    victims = {(cell.victim, cell.experiment) for cell in left.cells}
    subjects = {one: subject_of(one, name == LIVE, settings.mode, settings.data) for one, name in victims}
    return sum(budget_of(cell, subjects[cell.victim]) for cell in left.cells)
