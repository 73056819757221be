"""What an agent's parts are worth: MaskablePPO as `prune-env train` trains it, and the same with one thing changed.

The variants leave out the action-bias initialisation, the action masks, or both, change the price of missing accuracy
(kappa) while training, or the number of heads that one step may prune.

Regret is measured by the reference's own yardstick, whatever a variant changes: the optimum and the random play of the
victim's default environment. Another limit on the heads of a step is another environment, in which random play is worth
something else, and so is, with a scale of its own, the same return: regrets of two scales do not compare. A variant
still plays its judged episodes in the environment it was trained in, by the environment's own reward. Where that one
reaches a mask that the default environment does not, its regret is below 0.

To add a variant, write its line in `VARIANTS`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prune_env import __version__
from prune_env.agents.ablation_records import Ablation, append_ablation
from prune_env.agents.callbacks import FOLDER
from prune_env.agents.environments import EnvChoice
from prune_env.agents.train import CHECKPOINT, train
from prune_env.agents.training import Training
from prune_env.errors import UnknownNameError
from prune_env.tabular.environment import TABULAR_ID
from prune_env.tabular.registry import get_twin
from prune_env.tabular.regret import yardstick_of

RECORDS = "ablations.jsonl"
REFERENCE = "reference"
_LIBRARIES = ("gymnasium", "numpy", "sb3-contrib", "stable-baselines3", "tensorboard", "torch")


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        differs: From the reference in what, in a line.
        training: Fields of `Training` that are others.
        environment: Fields of `EnvChoice` that are others.
    """

    differs: str
    training: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


_EVEN_ODDS = {"policy_arguments": {"wanted_heads": None}}

VARIANTS: dict[str, Variant] = {
    REFERENCE: Variant(
        "nothing: MaskablePPO, policy `mlp`, 1.5 wanted heads, kappa 1, at most the paper's share a step"
    ),
    "no-action-bias": Variant("starts at even odds for every head (`wanted_heads=None`)", _EVEN_ODDS),
    "no-masking": Variant("PPO, without action masks", {"agent": "ppo"}),
    "no-masking-no-action-bias": Variant(
        "PPO, without action masks, starting at even odds", {"agent": "ppo", **_EVEN_ODDS}
    ),
    "kappa-0": Variant(
        "`shortfall_weight` 0 in training: it costs to miss the threshold, but not by how much",
        {},
        {"shortfall_weight": 0.0},
    ),
    "kappa-0.1": Variant("`shortfall_weight` 0.1 in training", {}, {"shortfall_weight": 0.1}),
    "kappa-10": Variant("`shortfall_weight` 10 in training", {}, {"shortfall_weight": 10.0}),
    "one-head-a-step": Variant("`max_heads_per_step` 1", {}, {"arguments": {"max_heads_per_step": 1}}),
    "no-step-limit": Variant("`max_heads_per_step` None: any set", {}, {"arguments": {"max_heads_per_step": None}}),
}
"""Name -> variant, the reference first."""


def get_variant(name: str) -> Variant:
    """Returns a variant by name.

    Raises:
        UnknownNameError: No such variant; the message names the nearest.
    """
    if name not in VARIANTS:
        raise UnknownNameError("variant", name, VARIANTS)
    return VARIANTS[name]


@dataclass(frozen=True)
class Cell:
    """A variant on a victim with a seed.

    Attributes:
        variant: A name of `VARIANTS`.
        victim: A tabular twin's name, or its file.
        seed: Of the training and its judgements.
        steps: Environment steps in all.
    """

    variant: str
    victim: str
    seed: int
    steps: int = Training.steps

    @property
    def training(self) -> Training:
        """The training.

        Raises:
            UnknownNameError: No such variant.
            ConfigError: Steps or a seed that are none.
        """
        variant = get_variant(self.variant)
        environment = replace(EnvChoice(self.victim, TABULAR_ID), **variant.environment)
        reference = Training("maskable-ppo", "mlp", environment, steps=self.steps, seed=self.seed)
        return replace(reference, **variant.training)

    def folder(self, out: Path) -> Path:
        """Returns where the training is kept: a folder a victim, in it one a variant and seed."""
        return out / get_twin(self.victim).name / f"{self.variant}-s{self.seed}"


def run_cell(cell: Cell, out: Path) -> Ablation:
    """Trains, or goes on, or takes a finished training as it is; then appends what came of it to the records in `out`.

    Raises:
        ConfigError: An agent of sb3-contrib, which is not installed.
        CheckpointError: The folder holds another training.
        OutputError: It cannot be written.
    """
    training, folder, scale = cell.training, cell.folder(out), yardstick_of(cell.victim).scale
    fresh, started = not (folder / CHECKPOINT).exists(), time.process_time()
    trained = train(training, folder, yardstick_of)
    spent = time.process_time() - started
    found = Ablation(
        variant=cell.variant,
        victim=get_twin(cell.victim).name,
        seed=cell.seed,
        training=described(training),
        identity=training.identity,
        twins_sha256=str(training.environment.twins_sha256),
        scale=[scale.optimum, scale.random],
        steps=trained.steps,
        best_step=trained.best_step,
        best=dict(trained.deterministic),
        best_by_chance=dict(trained.stochastic),
        curve=curve_of(folder),
        seconds=spent if fresh else None,
        wall_seconds=trained.seconds,
        versions={"prune_env": __version__, **{name: version(name) for name in _LIBRARIES}},
    )
    append_ablation(out / RECORDS, found)
    return found


def described(training: Training) -> dict[str, Any]:
    """Returns all that decides what a training does, but for victim and seed, as JSON values."""
    content = {**asdict(training), "settings": asdict(training.settings)}
    del content["seed"], content["changes"], content["environment"]["victim"]
    found: dict[str, Any] = json.loads(json.dumps(content))
    return found


def curve_of(folder: Path) -> list[list[float]]:
    """Returns [steps, regret, certified regret] of each judgement without chance, as a training's event files have it.

    A resumed training has written some of them twice, with the same numbers; TensorBoard would leave out the one from
    which it went on.
    """
    events = EventAccumulator(
        str(folder / FOLDER), size_guidance={"scalars": 0, "images": 1}, purge_orphaned_data=False
    )
    events.Reload()
    regret, certified = (
        {event.step: event.value for event in events.Scalars(f"deterministic/{name}")}
        for name in ("regret", "certified_regret")
    )
    return [[step, regret[step], certified[step]] for step in sorted(regret)]
