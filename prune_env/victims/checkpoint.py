"""Loading a model that somebody else made: safetensors only, nothing unpickled, no code from the checkpoint.

The model is the architecture's own Hugging Face sequence-classification model, so every folder written here is an
ordinary `save_pretrained` checkpoint. BERT's pooler belongs to the encoder (the paper's head reads the [CLS] hidden
state without one: a deviation); the head is what lies behind it, and only the head is drawn afresh by a defender.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from prune_env.engine.architecture import describe
from prune_env.errors import CheckpointError, OutputError, TokenizerError
from prune_env.victims.checkpoint_folder import TOKENIZER_FILES, check_folder, resolve_backbone

__all__ = [
    "fresh_head",
    "head_modules",
    "load_model",
    "load_tokenizer",
    "resolve_backbone",
    "save_checkpoint",
]

_LAYER = re.compile(r"(^|\.)layer\.\d+\.")


SINGLE_LABEL = "single_label_classification"


def load_model(source: str | Path, labels: int = 2, *, with_head: bool = False) -> PreTrainedModel:
    """Loads a sequence-classification model in float32, in eval mode, after checking what it is made of.

    What an encoder lacks behind its layers is drawn with a fixed seed, the same in every call: the head, and BERT's
    pooler, which some checkpoints (sentence encoders, masked language models) come without. A defender draws the head
    anew (`fresh_head`), but a pooler that was missing stays as it was drawn here.

    The model classifies one label a sentence, whatever `problem_type` its config names (regression, several labels):
    it is reset, so that what is saved later is used as what it was fine-tuned for.

    Args:
        source: A checkpoint folder, or a Hugging Face model id.
        labels: Number of classes.
        with_head: Whether the checkpoint's own head (BERT's pooler included) is needed: to measure the model as it is.

    Raises:
        CheckpointError: Pickled weights, no safetensors, a foreign architecture, a config with impossible values,
            missing, surplus or misshapen weights, or weights that are not finite.
        UnsupportedModelError: A decoder.
    """
    folder = Path(resolve_backbone(str(source)))
    check_folder(folder)
    try:
        # A missing head is drawn by from_pretrained from the global generator; a defender draws it anew by seed.
        with _quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                str(folder),
                num_labels=labels,
                use_safetensors=True,
                dtype=torch.float32,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except Exception as error:  # config values of any kind reach the loader's own checks, divisions and assertions
        raise CheckpointError(
            f"{source} cannot be loaded as a sequence-classification model: {_sentence(error)}; restore or export it "
            "again"
        ) from error
    _check_weights(model, report, str(source), with_head)
    describe(model)
    if model.config.problem_type is not None:
        model.config.problem_type = SINGLE_LABEL
    model.eval()
    loaded: PreTrainedModel = model
    return loaded


def load_tokenizer(source: str | Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a checkpoint.

    Raises:
        TokenizerError: No tokenizer, no padding token, no [CLS] in front, or ids beyond the model's embeddings.
    """
    folder = Path(resolve_backbone(str(source)))
    # Without its files transformers makes up a tokenizer that knows no word at all.
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise TokenizerError(
            f"expected a tokenizer ({' or '.join(TOKENIZER_FILES)}) in {folder}, found none; save the model's own there"
        )
    try:
        with _quiet():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True
            )
            first = tokenizer("a")["input_ids"][0]
    except Exception as error:
        raise TokenizerError(
            f"no usable tokenizer in {source}: {_sentence(error)}; put tokenizer.json beside the model"
        ) from error
    rows = describe(model).vocabulary
    ids = max(tokenizer.get_vocab().values(), default=0) + 1
    if ids > rows or tokenizer.pad_token_id is None:
        raise TokenizerError(
            f"the tokenizer in {source} does not fit its model: expected a padding token and at most {rows} ids, "
            f"got {ids} ids and padding token {tokenizer.pad_token!r}; use the model's own tokenizer"
        )
    if tokenizer.cls_token_id is None or first != tokenizer.cls_token_id:
        raise TokenizerError(
            f"the tokenizer in {source} puts no [CLS] in front of a sentence (id {first} came, expected "
            f"{tokenizer.cls_token_id}), and that is where the classifier reads; use the model's own tokenizer"
        )
    return tokenizer


def save_checkpoint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes model (safetensors) and tokenizer with `save_pretrained`.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _quiet():
            model.save_pretrained(str(folder))
            tokenizer.save_pretrained(str(folder))
    except (OSError, SafetensorError) as error:
        raise OutputError(f"expected to be able to write a checkpoint to {folder}, got: {error}; make room") from error


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


def _sentence(error: Exception) -> str:
    """Returns what a library said, on one line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers' own warnings and bars off the screen: what matters is checked and raised here."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _check_weights(model: PreTrainedModel, report: dict[str, Any], source: str, with_head: bool) -> None:
    prefix = f"{model.base_model_prefix}."

    def needed(key: str) -> bool:
        return with_head or (key.startswith(prefix) and ".pooler." not in key)

    missing = sorted(key for key in report["missing_keys"] if needed(key))
    misshapen = sorted(row[0] for row in report["mismatched_keys"] if with_head or row[0].startswith(prefix))
    if missing or misshapen:
        raise CheckpointError(
            f"expected every {'weight' if with_head else 'encoder weight'} in {source}, got {len(missing)} missing and "
            f"{len(misshapen)} misshapen, first {(missing + misshapen)[0]}; restore the checkpoint"
        )
    surplus = sorted(key for key in report["unexpected_keys"] if _LAYER.search(key))
    if surplus:
        raise CheckpointError(
            f"expected the {model.config.num_hidden_layers} layers of its config in {source}, got weights beyond them, "
            f"first {surplus[0]}; restore config.json"
        )
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise CheckpointError(
                f"expected finite weights in {source}, got NaN or infinity in {name}; do not use this model"
            )
