"""Exact accuracy of a transformer under any head mask, on one split that is tokenised and batched once."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune_env.engine.architecture import Architecture, describe
from prune_env.engine.batching import plan
from prune_env.engine.device import resolve_device, resolve_dtype
from prune_env.engine.forward import cls_states, narrow, pack
from prune_env.engine.tokens import TokenizedSplit
from prune_env.errors import CheckpointError
from prune_env.types import HeadMask, HeadMasks, check_mask, check_masks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PADDING = {"cpu": 0, "cuda": 8}
_BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}


class TransformerEvaluator:
    """Evaluates masks of one model on one split; implements `CorrectnessEvaluator`.

    The model's weights are copied at construction: what happens to the model later changes nothing here. A mask's
    result depends on nothing but the mask: the batches are fixed, one mask is computed at a time, and results are
    kept by mask, so a repeated question costs nothing and gives the same bits.
    """

    def __init__(
        self, model: PreTrainedModel, tokens: TokenizedSplit, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        """Copies the weights to the device and fixes the batches.

        Args:
            model: A supported sequence-classification model; not changed.
            tokens: The split, from the model's own tokenizer.
            device: "cpu", "cuda" or "cuda:N".
            dtype: "float32" (exact), or "bfloat16": faster where native, and off by what `deviation` measures.

        Raises:
            CheckpointError: Weights that are not finite.
            DeviceError: A device or dtype that is not there.
            UnsupportedModelError: A model of no known architecture.
            TokenizerError: Token ids or lengths that the model does not have.
            DataError: Labels that the model does not have.
        """
        self._device, compute = resolve_device(device), resolve_dtype(dtype)
        self._device_name, self._dtype_name = device, dtype
        self._architecture = _snapshot(model, self._device, compute)
        tokens.check_fit(self._architecture.vocabulary, self._architecture.positions, self._architecture.labels)
        self._packed = pack(self._architecture)
        self._labels = tokens.labels
        self._batches = [
            self._load(tokens, index)
            for index in plan(tokens.lengths, _BATCH_TOKENS[self._device.type], _PADDING[self._device.type])
        ]
        self._order = np.concatenate([index for _, _, index in self._batches])
        self._cache: dict[bytes, NDArray[np.uint8]] = {}
        self._passes = 0

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return self._architecture.layers

    @property
    def heads(self) -> int:
        """Attention heads in each layer."""
        return self._architecture.heads

    @property
    def sentences(self) -> int:
        """Sentences in the split."""
        return len(self._labels)

    @property
    def device(self) -> str:
        """Name of the device, as it was asked for."""
        return self._device_name

    @property
    def dtype(self) -> str:
        """Name of the arithmetic: "float32" or "bfloat16"."""
        return self._dtype_name

    @property
    def physical_passes(self) -> int:
        """Masks computed so far; a mask answered from the cache is not counted."""
        return self._passes

    @property
    def sentence_passes(self) -> int:
        """Sentences sent through the model so far."""
        return self._passes * self.sentences

    def accuracy(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns the share of sentences classified correctly under each mask, float64 (K,).

        Args:
            masks: bool (K, layers, heads), True = kept.

        Raises:
            MaskError: An invalid mask.
        """
        shares: NDArray[np.float64] = self.correct(masks).mean(axis=1, dtype=np.float64)
        return shares

    def correct(self, masks: HeadMasks) -> NDArray[np.bool_]:
        """Returns bool (K, sentences) in the split's own order: whether each sentence is classified correctly.

        Args:
            masks: bool (K, layers, heads), True = kept.

        Raises:
            MaskError: An invalid mask; nothing is computed then.
        """
        valid = check_masks(masks, self.layers, self.heads)
        found = np.empty((len(valid), self.sentences), dtype=np.bool_)
        for row, mask in zip(found, valid, strict=True):
            key = np.packbits(mask).tobytes()
            if key not in self._cache:
                self._cache[key] = np.packbits(self._compute(mask).argmax(axis=1) == self._labels)
            row[:] = np.unpackbits(self._cache[key], count=self.sentences)
        return found

    def logits(self, mask: HeadMask) -> NDArray[np.float32]:
        """Returns float32 (sentences, labels) in the split's own order; computed anew at every call.

        Args:
            mask: bool (layers, heads), True = kept.

        Raises:
            MaskError: An invalid mask.
        """
        return self._compute(check_mask(mask, self.layers, self.heads))

    def _load(
        self, tokens: TokenizedSplit, index: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor | None, NDArray[np.int64]]:
        """Puts one batch on the device for good."""
        ids, lengths = tokens.batch(index)
        on_device = None if lengths is None else torch.from_numpy(lengths).to(self._device)
        return torch.from_numpy(ids).to(self._device), on_device, index

    @torch.inference_mode()
    def _compute(self, mask: HeadMask) -> NDArray[np.float32]:
        """One pass of the split under one mask: all batches are queued before the only wait for the device."""
        weights = narrow(self._packed, self.heads, mask)
        rows = []
        for ids, lengths, _ in self._batches:
            # The classifier stays float32: bfloat16 logits tie so often that argmax would favour the first label.
            last = cls_states(self._architecture, ids, lengths, weights=weights)[-1].float()
            rows.append(self._architecture.classify(last))
        logits = np.empty((self.sentences, self._architecture.labels), dtype=np.float32)
        logits[self._order] = torch.cat(rows).cpu().numpy()
        self._passes += 1
        return logits


def _snapshot(model: PreTrainedModel, device: torch.device, dtype: torch.dtype) -> Architecture:
    """Describes a copy of the model on the device: the classifier in float32, all else in `dtype`."""
    check_finite(model)
    architecture = describe(copy.deepcopy(model).requires_grad_(False))
    embedding, classifier = architecture.embedding, architecture.classifier
    for block in architecture.blocks:
        for module in vars(block).values():
            module.to(device, dtype)
    for part in (embedding.word, embedding.position, embedding.token_type, embedding.norm):
        if part is not None:
            part.to(device, dtype)
    classifier.dense.to(device, torch.float32)
    classifier.output.to(device, torch.float32)
    return architecture


def check_finite(model: PreTrainedModel) -> None:
    """Checks that every weight is a finite number.

    Raises:
        CheckpointError: NaN or infinite weights; names the first tensor that has them.
    """
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise CheckpointError(
                f"expected finite weights, but {name} has NaN or infinite values; train or load it anew"
            )
