"""What is written to TensorBoard while an agent trains: its episodes, how it is judged, and the head mask it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam, Image, Logger, TensorBoardOutputFormat

from prune_env.render import HeadMap, head_map_array

FOLDER = "tensorboard"
_ENDS = ("accuracy", "pruned_fraction", "evaluations")


class _Writer(TensorBoardOutputFormat):
    """One that hides what an interrupted run had logged beyond the step from which this one goes on."""

    def __init__(self, folder: str, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        _let_the_second_pass(Path(folder))
        self.writer = SummaryWriter(log_dir=folder, purge_step=first_step)
        self._is_closed = False


def _let_the_second_pass(folder: Path) -> None:
    """Waits, for a second at most, where a file of this very second is there.

    TensorBoard reads files in the order of their names, which begin with the second. Of one second the number of the
    process and a counter decide, as text: 10 comes before 9, and hides what the other holds.
    """
    while any(folder.glob(f"events.out.tfevents.{int(time.time()):010d}.*")):
        time.sleep(0.01)


def tensorboard_logger(folder: Path, first_step: int) -> Logger:
    """Returns a logger that writes event files into `folder`, from this step on."""
    return Logger(str(folder), [_Writer(str(folder), first_step)])


class Episodes(BaseCallback):
    """Logs means over the episodes that ended in a rollout, under `episodes/`; the label flip rate under `oracle/`."""

    def __init__(self) -> None:
        super().__init__()
        self._ended: list[dict[str, Any]] = []
        self._violations = 0

    def _on_step(self) -> bool:
        infos, over = self.locals["infos"], self.locals["dones"]
        self._violations += sum(info["violation"] for info in infos)
        self._ended += [infos[row] for row in np.flatnonzero(over)]
        return True

    def _on_rollout_end(self) -> None:
        if not self._ended:
            return
        self.logger.record("episodes/return", float(np.mean([info["episode"]["r"] for info in self._ended])))
        self.logger.record("episodes/length", float(np.mean([info["episode"]["l"] for info in self._ended])))
        for key in _ENDS:
            self.logger.record(f"episodes/{key}", float(np.mean([info[key] for info in self._ended])))
        self.logger.record("episodes/violations", self._violations / len(self._ended))
        lfr = [info["oracle_lfr"] for info in self._ended if "oracle_lfr" in info]
        if lfr:
            self.logger.record("oracle/training_lfr", float(np.mean(lfr)))
        self._ended, self._violations = [], 0


class Legs(BaseCallback):
    """Calls a function at the first step of each leg, between an update and the next rollout, and at the end.

    The algorithm's last observation is set afterwards, from fresh episodes: what happens in a leg depends on its first
    step and the state there, and not on whether the training was ever interrupted.
    """

    def __init__(self, length: int, begin: Callable[[int], Any], end: Callable[[int], None]) -> None:
        """Takes what is to be done.

        Args:
            length: Steps of a leg, at least; legs end with the rollout that reaches them.
            begin: Seeds everything for the leg from this step on, and returns the first observations.
            end: Judges and saves what has been learned up to this step.
        """
        super().__init__()
        self._length, self._begin, self._end = length, begin, end
        self._started: int | None = None

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        done = self.model.num_timesteps  # this callback's own count is not set before a first step
        if self._started is not None and done - self._started < self._length:
            return
        if self._started is not None:
            self._end(done)
        self._started = done
        self.model._last_obs = self._begin(self._started)
        self.model._last_episode_starts = np.ones(self.training_env.num_envs, dtype=np.bool_)

    def _on_training_end(self) -> None:
        if self._started != self.model.num_timesteps:
            self._end(self.model.num_timesteps)


class Fading(BaseCallback):
    """Lets `ent_coef`, what chance is worth, fall to nothing at a fraction of the training: what was found is kept."""

    def __init__(self, start: float, steps: int, until: float = 0.8) -> None:
        """Takes the first value, the training's steps, and when it is 0."""
        super().__init__()
        self._start, self._span = start, steps * until

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.model.ent_coef = self._start * max(0.0, 1.0 - self.model.num_timesteps / self._span)  # type: ignore[attr-defined]


class Progress(BaseCallback):
    """Reports steps done and steps in all, first those of an earlier run, then each fiftieth."""

    def __init__(self, report: Callable[[str, int, int], None], steps: int) -> None:
        """Takes what is told, and how many steps there will be."""
        super().__init__()
        self._report, self._steps, self._told = report, steps, 0

    def _on_training_start(self) -> None:
        self._tell(self.model.num_timesteps)

    def _on_step(self) -> bool:
        if self.num_timesteps - self._told >= self._steps / 50 or self.num_timesteps >= self._steps:
            self._tell(self.num_timesteps)
        return True

    def _tell(self, steps: int) -> None:
        self._told = steps
        self._report("training", min(steps, self._steps), self._steps)


def log_head_map(logger: Logger, view: HeadMap) -> None:
    """Logs a head mask as an image."""
    logger.record("head_map", Image(head_map_array(view), "HWC"), exclude=("stdout", "log", "json", "csv"))


def log_settings(logger: Logger, settings: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Logs hyperparameters, as texts where they are no numbers, with the metrics that TensorBoard lists beside them."""
    plain = {
        name: value if isinstance(value, (bool, int, float, str)) else str(value) for name, value in settings.items()
    }
    logger.record("hyperparameters", HParam(plain, dict(metrics)), exclude=("stdout", "log", "json", "csv"))
