"""One cell of the comparison: a contestant spends its budget, then it is judged on what it has not seen."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prune_env import __version__
from prune_env.agents.budget import Budget
from prune_env.comparison.contestant import Contestant, Left, Pretraining, get_contestant
from prune_env.comparison.problem import Problem, Subject, live_problem, subject_of, tabular_problem
from prune_env.comparison.trials import LIVE, Trial, append_trial, by_key, read_trials, trial_key
from prune_env.env import BertHeadPruneEnv
from prune_env.rollout import Episode, rollout
from prune_env.seeds import derive
from prune_env.tabular.regret import Yardstick
from prune_env.types import mask_to_text

TRIALS = "trials.jsonl"
MODELS = "models"

_LIBRARIES = ("cmaes", "gymnasium", "numpy", "stable_baselines3", "torch")


@dataclass(frozen=True)
class Settings:
    """What a comparison holds fixed.

    Attributes:
        out: Folder of trials and trained agents.
        data: Data folder of victims on real data.
        train_on: Set of tabular twins that agents are trained on before, or one twin.
        train_steps: Environment steps of that training.
        mode: The environment's `on_violation` for agents; scripts bring their own.
        device: Where masks of live victims are evaluated.
        dtype: Arithmetic of the search on live victims; what is found is judged in float32 whatever it is.
        fine_tune: Whether the mask that is found on a live victim is put on its own encoder, fine-tuned and judged: a
            diagnosis.
    """

    out: Path
    data: str | None = None
    train_on: str = "family-train"
    train_steps: int = 400_000
    mode: str = "terminate"
    device: str = "cpu"
    dtype: str = "float32"
    fine_tune: bool = False

    @property
    def before(self) -> Pretraining:
        """How agents are trained before."""
        return Pretraining(self.train_on, self.train_steps, self.out / MODELS, self.mode)


@dataclass(frozen=True)
class Preparation:
    """What has to be there before a contestant's cells of one seed."""

    contestant: str
    seed: int


@dataclass(frozen=True)
class Cell:
    """One contestant, budget and seed on one victim.

    Attributes:
        experiment: Which one.
        victim: A twin's name, or a victim's folder.
        contestant: Registered name.
        budget: Evaluations; None for as many as one episode may use, one a head and the start.
        seed: Of all chance.
    """

    experiment: str
    victim: str
    contestant: str
    budget: int | None
    seed: int


def problem_of(cell: Cell, settings: Settings) -> Problem:
    """Returns what a cell is about."""
    if cell.experiment == LIVE:
        return live_problem(cell.victim, settings.data, settings.mode, settings.device, settings.dtype)
    return tabular_problem(cell.victim, settings.mode)


def budget_of(cell: Cell, subject: Subject) -> int:
    """Returns a cell's evaluations."""
    return subject.size + 1 if cell.budget is None else cell.budget


def decided_by(contestant: Contestant, subject: Subject, settings: Settings, live: bool) -> dict[str, Any]:
    """Returns everything that decides a trial, as JSON values."""
    found: dict[str, Any] = {"contestant": contestant.settings, "environment": asdict(subject.config)}
    if contestant.kind == "trained":
        found["before"] = settings.before.identity
    if live:
        # Float32 on the CPU is left out: records of it were written before there was a choice.
        chosen = {"device": settings.device, "dtype": settings.dtype}
        found |= {name: value for name, value in chosen.items() if value != getattr(Settings, name)}
    return _as_json(found)


def _as_json(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the content as it is when it has been written and read: a tuple is a list then."""
    found: dict[str, Any] = json.loads(json.dumps(content))
    return found


def key_of(cell: Cell, settings: Settings) -> str:
    """Returns the key of the trial that a cell gives; evaluates nothing."""
    subject, contestant = (
        subject_of(cell.victim, cell.experiment == LIVE, settings.mode, settings.data),
        get_contestant(cell.contestant),
    )
    decided = decided_by(contestant, subject, settings, cell.experiment == LIVE)
    return trial_key(cell.experiment, subject.identity, cell.contestant, decided, budget_of(cell, subject), cell.seed)


def run_cell(cell: Cell, settings: Settings) -> Trial:
    """Runs a cell and appends its trial, and where masks are fine-tuned once more with what came of that.

    Of a cell that was searched already only the defence is left.
    """
    problem, path, trial = problem_of(cell, settings), settings.out / TRIALS, None
    if settings.fine_tune:
        trial = by_key(read_trials(path)).get(key_of(cell, settings))
    if trial is None:
        trial = _searched(cell, problem, settings)
        append_trial(path, trial)
    if settings.fine_tune and problem.defences is not None:
        trial = replace(trial, defended=problem.defences.of(trial.mask))
        append_trial(path, trial)
    return trial


def _searched(cell: Cell, problem: Problem, settings: Settings) -> Trial:
    """Lets a cell's contestant spend its budget, and judges what it found."""
    contestant = get_contestant(cell.contestant)
    budget = Budget(problem.search, problem.config, budget_of(cell, problem.subject))
    started = time.process_time(), time.perf_counter()
    left = contestant.play(problem.seen, budget, cell.seed, settings.before)
    seconds, wall = time.process_time() - started[0], time.perf_counter() - started[1]
    yardstick, found = problem.yardstick, budget.best
    return Trial(
        experiment=cell.experiment,
        victim=problem.subject.name,
        identity=problem.subject.identity,
        contestant=cell.contestant,
        kind=contestant.kind,
        settings=decided_by(contestant, problem.subject, settings, cell.experiment == LIVE),
        budget=budget.limit,
        per_episode=cell.budget is None,
        seed=cell.seed,
        evaluations=budget.used,
        improvements=[
            [one.evaluation, mask_to_text(one.mask), one.value, problem.certified(one.mask)]
            for one in budget.improvements
        ],
        regret=None if yardstick is None else yardstick.regret(found.value),
        certified_regret=None if yardstick is None else yardstick.certified_regret(found.mask),
        oracle_lfr=problem.lfr(found.mask),
        policy=_judged(left, problem, cell.seed),
        steps=left.steps,
        scales=None if yardstick is None else _scales(yardstick),
        seconds=seconds,
        wall_seconds=wall,
        versions={"prune_env": __version__, **{name: version(name) for name in _LIBRARIES}},
    )


def _scales(yardstick: Yardstick) -> dict[str, list[float]]:
    scales = {"search": yardstick.scale, "certify": yardstick.certified_scale}
    return {name: [scale.optimum, scale.random] for name, scale in scales.items()}


def _judged(left: Left, problem: Problem, seed: int) -> dict[str, Any] | None:
    """Returns what the policy's episode comes to; None if there is no policy."""
    if left.episode is not None:
        return _of_episode(left.episode, problem)
    if left.policy is None:
        return None
    env = BertHeadPruneEnv(problem.search, problem.seen.by(left.metrics), problem.config)
    return _of_episode(rollout(env, left.policy, derive(seed, "episode"), deterministic=True), problem)


def _of_episode(episode: Episode, problem: Problem) -> dict[str, Any]:
    yardstick = problem.yardstick
    return {
        "mask": mask_to_text(episode.mask),
        "return": episode.episode_return,
        "evaluations": episode.evaluations,
        "certified": problem.certified(episode.mask),
        "regret": None if yardstick is None else yardstick.regret(episode.episode_return),
        "certified_regret": None if yardstick is None else yardstick.certified_regret(episode.mask),
        "oracle_lfr": problem.lfr(episode.mask),
    }
