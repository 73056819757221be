"""A training's state between two legs, as safetensors and JSON: the same command goes on from there.

Weights, the optimiser's moments, counters and DQN's replay buffer are the whole state, since every leg begins with
fresh episodes and generators seeded by its first step. The notes name the state by its SHA-256 and are replaced last.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer

from prune_env.agents.training import identity_of, refusal
from prune_env.cache import write_text
from prune_env.errors import CheckpointError, OutputError
from prune_env.victims.manifest import hash_file

NOTES = "state.json"
_COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_n_calls",
    "_current_progress_remaining",
    "exploration_rate",  # DQN's, 0 in a new algorithm until its first step is done
)
_ROWS = ("actions", "rewards", "dones", "timeouts")


def save_state(folder: Path, asked: dict[str, Any], algorithm: BaseAlgorithm, notes: dict[str, Any]) -> None:
    """Writes the state, then deletes the one before.

    Args:
        folder: Of checkpoints, made if it is not there.
        asked: Which training it is of, `Training.asked`.
        algorithm: Between two rollouts.
        notes: What the training itself wants back, as JSON values.

    Raises:
        OutputError: The folder cannot be written.
    """
    state = folder / f"step-{algorithm.num_timesteps}.safetensors"
    counters = {name: getattr(algorithm, name) for name in _COUNTERS if hasattr(algorithm, name)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({**_weights(algorithm), **_moments(algorithm), **_replay(algorithm)}, str(state))
        which = {"run": identity_of(asked), "asked": asked}
        content = {**which, "counters": counters, "notes": notes, "replay": _cursor(algorithm)}
        write_text(folder / NOTES, json.dumps({**content, "sha256": hash_file(state)}))
        for older in folder.glob("*.safetensors"):
            if older != state:
                older.unlink()
    except (OSError, SafetensorError) as error:
        raise OutputError(f"expected to be able to write to {folder}, got: {error}; make room, then resume") from error


def load_state(folder: Path, asked: dict[str, Any], algorithm: BaseAlgorithm) -> dict[str, Any] | None:
    """Restores the last state of the same training, in place.

    Returns:
        Its notes; None where there is nothing to go on from.

    Raises:
        CheckpointError: A state of another training, with what differs, or a damaged one.
    """
    if not (folder / NOTES).exists():
        return None
    try:
        content = json.loads((folder / NOTES).read_text(encoding="utf-8"))
        if content["run"] != identity_of(asked):
            raise refusal(folder, content.get("asked", {}), asked)
        state = folder / f"step-{content['counters']['num_timesteps']}.safetensors"
        if hash_file(state) != content["sha256"]:
            raise CheckpointError(f"expected the state that {folder / NOTES} names, got another; delete {folder}")
        _restore(algorithm, load_file(str(state)), content)
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"expected a checkpoint in {folder}: {error}; delete it to begin anew") from error
    notes: dict[str, Any] = content["notes"]
    return notes


def _restore(algorithm: BaseAlgorithm, tensors: dict[str, torch.Tensor], content: dict[str, Any]) -> None:
    algorithm.policy.load_state_dict(_part(tensors, "policy."))
    states: dict[int, dict[str, Any]] = {}
    for key, value in _part(tensors, "optimiser.").items():
        index, name, kind = key.split(".")
        states.setdefault(int(index), {})[name] = value.item() if kind == "number" else value.clone()
    optimiser = algorithm.policy.optimizer
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
    for name, value in content["counters"].items():
        setattr(algorithm, name, value)
    buffer = _buffer(algorithm)
    if buffer is not None:
        for name, rows in _arrays(buffer).items():
            saved = tensors[f"replay.{name}"].numpy()
            rows[: len(saved)] = saved
        buffer.pos, buffer.full = content["replay"]["pos"], content["replay"]["full"]


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _weights(algorithm: BaseAlgorithm) -> dict[str, torch.Tensor]:
    weights = algorithm.policy.state_dict()
    return {f"policy.{name}": weight.detach().cpu().contiguous().clone() for name, weight in weights.items()}


def _moments(algorithm: BaseAlgorithm) -> dict[str, torch.Tensor]:
    """Returns the optimiser's state; a plain number's name says so."""
    found = {}
    for index, moments in algorithm.policy.optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            kind = "tensor" if isinstance(value, torch.Tensor) else "number"
            found[f"optimiser.{index}.{name}.{kind}"] = torch.as_tensor(value).detach().cpu().contiguous().clone()
    return found


def _buffer(algorithm: BaseAlgorithm) -> DictReplayBuffer | None:
    buffer = getattr(algorithm, "replay_buffer", None)
    return buffer if isinstance(buffer, DictReplayBuffer) else None


def _arrays(buffer: DictReplayBuffer) -> dict[str, NDArray[Any]]:
    arrays = {f"now.{key}": rows for key, rows in buffer.observations.items()}
    arrays |= {f"next.{key}": rows for key, rows in buffer.next_observations.items()}
    return arrays | {name: getattr(buffer, name) for name in _ROWS}


def _replay(algorithm: BaseAlgorithm) -> dict[str, torch.Tensor]:
    """Returns what the replay buffer holds."""
    buffer = _buffer(algorithm)
    if buffer is None:
        return {}
    held = buffer.size()
    return {
        f"replay.{name}": torch.from_numpy(np.ascontiguousarray(rows[:held])) for name, rows in _arrays(buffer).items()
    }


def _cursor(algorithm: BaseAlgorithm) -> dict[str, Any] | None:
    buffer = _buffer(algorithm)
    return None if buffer is None else {"pos": buffer.pos, "full": buffer.full}
