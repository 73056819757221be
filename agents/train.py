"""Trains an agent: legs of rollouts, after each a judgement, a checkpoint and, if it is the best, a saved agent.

A leg begins with fresh episodes and with generators that are seeded by the training's seed and the leg's first step:
a training that was cut off and resumed gives the weights of one that was not. Every judgement plays the same episodes,
of the same victims: what is best is not best by luck of the draw. The folder holds

    best/, last/   the agent, for `prune_env.agents.saved.load_agent`
    checkpoint/    the state to go on from
    tensorboard/   event files
    training.json  what was asked for, and what came of it
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.utils import set_random_seed

from prune_env import __version__
from prune_env.agents.callbacks import (
    FOLDER,
    Episodes,
    Fading,
    Legs,
    Progress,
    log_head_map,
    log_settings,
    tensorboard_logger,
)
from prune_env.agents.checkpoints import load_state, save_state
from prune_env.agents.environments import Yardsticks
from prune_env.agents.judge import Judgement, in_grid, judge
from prune_env.agents.saved import BEST, LAST, AgentCard, acting, save_agent
from prune_env.agents.sb3 import get_agent, make_algorithm
from prune_env.agents.training import SEEDS, Trained, Training, identity_of, refusal
from prune_env.cache import writable, write_text
from prune_env.errors import CheckpointError
from prune_env.render import HeadMap
from prune_env.seeds import derive

CHECKPOINT, RESULT = "checkpoint", "training.json"
_LIBRARIES = ("gymnasium", "stable_baselines3", "torch")
OnStep = Callable[[str, int, int], None]


def train(
    training: Training, folder: Path, yardsticks: Yardsticks | None = None, report: OnStep | None = None
) -> Trained:
    """Trains, or goes on with a training that was cut off; a finished one is left as it is.

    Args:
        training: What and how.
        folder: Of everything that is kept.
        yardsticks: What judges episodes exactly, where the victims' tables are known: see `yardsticks_of`.
        report: Told (what, steps done, steps in all).

    Raises:
        CheckpointError: The folder holds another training; the message names what differs.
        OutputError: It cannot be written.
        PruneEnvError: As the environment says.
    """
    finished = _finished(training, folder)
    return _Run(training, folder, yardsticks).go(report) if finished is None else finished


class _Run:
    """A training from where it stands to its end."""

    def __init__(self, training: Training, folder: Path, yardsticks: Yardsticks | None) -> None:
        self.training, self.folder, self.yardsticks = training, folder, yardsticks
        self.asked = training.asked
        kind = get_agent(training.agent)
        self.environments = training.environment.make(training.n_envs, one_head=kind.one_head, training=True)
        self.judged = training.environment.make(training.episodes)
        self.algorithm = make_algorithm(
            training.agent,
            training.policy,
            self.environments,
            training.settings,
            seed=training.seed,
            policy_arguments=training.policy_arguments,
        )
        self.card = _card(training, self.judged)
        self.best: dict[str, Any] = {}
        self.earlier, self.started = 0.0, time.perf_counter()

    def go(self, report: OnStep | None) -> Trained:
        """Learns what is left to learn, and returns what came of all of it."""
        notes = load_state(writable(self.folder) / CHECKPOINT, self.asked, self.algorithm)
        if notes is not None:
            self.best, self.earlier = notes["best"], notes["seconds"]
        done, total = self.algorithm.num_timesteps, self.training.whole_steps
        self.logger = tensorboard_logger(self.folder / FOLDER, done + 1 if done else 0)
        self.algorithm.set_logger(self.logger)
        callbacks: list[Any] = [Legs(self.training.leg, self.begin, self.end), Episodes()]
        if hasattr(self.training.settings, "ent_coef"):
            callbacks.append(Fading(self.training.settings.ent_coef, total))
        if report is not None:
            callbacks.append(Progress(report, total))
        self.algorithm.learn(
            total - done, callback=callbacks, reset_num_timesteps=False, log_interval=_log_interval(self.training)
        )
        return self.finish()

    def begin(self, step: int) -> Any:
        """Seeds everything for the leg from this step on, and returns its first observations."""
        seed = derive(self.training.seed, f"leg:{step}") % SEEDS
        set_random_seed(seed)
        self.algorithm.action_space.seed(seed)
        self.environments.seed(seed)
        return self.environments.reset()

    def end(self, step: int) -> None:
        """Judges what has been learned, saves it, and keeps the state to go on from."""
        seed = derive(self.training.seed, "judgement") % SEEDS
        agent = acting(self.card, self.algorithm.policy, seed)
        found = {
            how: judge(agent, self.judged, seed, how == "deterministic") for how in ("deterministic", "stochastic")
        }
        numbers = {how: self.numbers(one) for how, one in found.items()}
        for how, values in numbers.items():
            self.log(how, values)
        log_head_map(self.logger, self.view(found["deterministic"], step))
        self.logger.dump(step)
        card = replace(self.card, training={**self.card.training, "steps": step})
        save_agent(self.folder / LAST, card, self.algorithm.policy)
        if not self.best or numbers["deterministic"]["return"] >= self.best["deterministic"]["return"]:
            save_agent(self.folder / BEST, card, self.algorithm.policy)
            self.best = {"step": step, **numbers}
        notes = {"best": self.best, "seconds": self.seconds}
        save_state(self.folder / CHECKPOINT, self.asked, self.algorithm, notes)

    def finish(self) -> Trained:
        """Writes what came of it."""
        step = self.algorithm.num_timesteps
        settings = {**self.card.training["settings"], **self.card.training["policy_arguments"]}
        settings |= {"agent": self.training.agent, "policy": self.training.policy, "seed": self.training.seed}
        settings |= {"victim": self.training.environment.victim, "n_envs": self.training.n_envs, "steps": step}
        best = self.best["deterministic"]
        log_settings(self.logger, settings, {_tag("best", name): value for name, value in best.items()})
        self.log("best", best)
        self.logger.dump(step)
        self.logger.close()
        result = {"identity": identity_of(self.asked), "steps": step, "seconds": self.seconds, "best": self.best}
        content = {"training": self.card.training, "asked": self.asked, **result}
        write_text(self.folder / RESULT, json.dumps(content, indent=2, sort_keys=True) + "\n")
        self.environments.close()
        self.judged.close()
        return _trained(self.folder, result)

    def log(self, how: str, numbers: Mapping[str, float]) -> None:
        """Writes a judgement's numbers."""
        for name, value in numbers.items():
            self.logger.record(_tag(how, name), value)

    @property
    def seconds(self) -> float:
        """Wall time so far, that of interrupted runs included."""
        return self.earlier + time.perf_counter() - self.started

    def numbers(self, judgement: Judgement) -> dict[str, float]:
        """Returns a judgement's numbers, the regrets among them where they are known."""
        known = self.yardsticks
        more = {} if known is None else judgement.regrets(known, self.training.environment.victim)
        return {**judgement.numbers(), **more}

    def view(self, judgement: Judgement, step: int) -> HeadMap:
        """Returns the picture of the best episode's head mask."""
        best, metric = judgement.best, self.card.metrics[0]
        observation = best["terminal_observation"]
        return HeadMap(
            mask=in_grid(observation, "mask").astype(np.bool_),
            importance=in_grid(observation, f"importance_{metric}"),
            accuracy=best["accuracy"],
            threshold=float(observation["threshold"][0]),
            metric=metric,
            caption=f"{self.training.agent} after {step} steps",
        )


def _tag(how: str, name: str) -> str:
    """Returns a number's tag in TensorBoard; a diagnosis stands under "oracle"."""
    plain = name.removeprefix("oracle/")
    return f"{how}/{name}" if plain == name else f"oracle/{how}_{plain}"


def _card(training: Training, environments: Any) -> AgentCard:
    (importance,) = {tuple(scores) for scores in environments.get_attr("importance", 0)}
    environment, victims = asdict(training.environment), training.environment.victims_sha256
    return AgentCard(
        agent=training.agent,
        policy=training.policy,
        policy_arguments=dict(training.policy_arguments),
        metrics=importance,
        slots=int(environments.action_space.n) - 1,
        training={
            "environment": environment,
            "twins_sha256": training.environment.twins_sha256,
            "victim_sha256": victims[0] if len(victims) == 1 else None,
            "settings": asdict(training.settings),
            "policy_arguments": dict(training.policy_arguments),
            "n_envs": training.n_envs,
            "seed": training.seed,
            "versions": {"prune_env": __version__, **{name: version(name) for name in _LIBRARIES}},
        },
    )


def _log_interval(training: Training) -> int:
    """Returns rollouts, or with DQN episodes, between two entries in the log."""
    return 200 if get_agent(training.agent).one_head else max(1, 800 // training.rollout)


def _finished(training: Training, folder: Path) -> Trained | None:
    if not (folder / RESULT).exists():
        return None
    try:
        content = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        if content["identity"] == training.identity:
            return _trained(folder, content)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"expected a training's result in {folder / RESULT}: {error}; delete it") from error
    raise refusal(folder, content.get("asked", {}), training.asked)


def _trained(folder: Path, result: Mapping[str, Any]) -> Trained:
    best = result["best"]
    return Trained(folder, result["steps"], best["step"], best["deterministic"], best["stochastic"], result["seconds"])
