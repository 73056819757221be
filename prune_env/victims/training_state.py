"""A training's state after an epoch, as safetensors and JSON, so that an interrupted build resumes.

Order and dropout follow from (seed, epoch), so no generator state is needed: weights, AdamW's moments and the losses
so far are the whole state.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from prune_env.engine.tokens import TokenizedSplit

if TYPE_CHECKING:
    from prune_env.victims.training import TrainingConfig

STATE, NOTES = "state.safetensors", "state.json"


def run_hash(config: TrainingConfig, seed: int, tokens: TokenizedSplit, model: PreTrainedModel) -> str:
    """Returns what identifies a run: its settings, seed, data and initial weights."""
    digest = hashlib.sha256(json.dumps({**asdict(config), "seed": seed}, sort_keys=True).encode())
    for weight in model.parameters():
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    for row in tokens.input_ids:
        digest.update(np.ascontiguousarray(row, dtype=np.int32).tobytes())
    digest.update(np.ascontiguousarray(tokens.labels, dtype=np.int64).tobytes())
    return digest.hexdigest()


def save(
    folder: Path | None, run: str, model: PreTrainedModel, optimiser: torch.optim.Optimizer, losses: Sequence[float]
) -> None:
    """Writes the state after an epoch; the notes go last and name the state's hash, so a cut write is not resumed."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": weight.detach().cpu().contiguous() for name, weight in model.named_parameters()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value.detach().cpu().contiguous() for name, value in moments.items()}
    part = folder / (STATE + ".part")
    save_file(tensors, str(part))
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    os.replace(part, folder / STATE)
    notes = folder / (NOTES + ".part")
    notes.write_text(json.dumps({"run": run, "losses": list(losses), "sha256": digest}), encoding="utf-8")
    os.replace(notes, folder / NOTES)


def resume(
    folder: Path | None, run: str, model: PreTrainedModel, optimiser: torch.optim.Optimizer
) -> tuple[float, ...]:
    """Restores the last finished epoch of the same run, in place.

    Returns:
        The mean loss of each epoch already done; empty where there is nothing of this run to resume.
    """
    if folder is None or not (folder / NOTES).is_file() or not (folder / STATE).is_file():
        return ()
    notes = json.loads((folder / NOTES).read_text(encoding="utf-8"))
    if notes["run"] != run or hashlib.sha256((folder / STATE).read_bytes()).hexdigest() != notes["sha256"]:
        return ()
    tensors = load_file(str(folder / STATE))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(tensors[f"model.{name}"])
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            states.setdefault(int(index), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": states, "param_groups": groups})
    return tuple(float(loss) for loss in notes["losses"])
