"""A model and a split on a device: logits under masks, each launch restarting where its masks part from stored ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune_env.engine.batching import plan
from prune_env.engine.forward import narrow, pack, run_layers
from prune_env.engine.prefix import DEFAULT_BYTES, PrefixStore, mask_keys
from prune_env.engine.snapshot import snapshot
from prune_env.engine.tokens import TokenizedSplit
from prune_env.types import HeadMasks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PADDING = {"cpu": 0, "cuda": 8}
_BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}


@dataclass(frozen=True)
class _DeviceBatch:
    """Sentences of like length: input_ids (B, T), lengths (B,) or None without padding, places in the split (B,)."""

    input_ids: Tensor
    lengths: Tensor | None
    index: NDArray[np.int64]


class MaskedModel:
    """Computes logits of a fixed split under any masks, in launches of a fixed number of masks.

    The shapes of a launch follow from the split and the number of slots alone, so a mask's logits are the same bits
    alone or among others, from the embedding or from stored states. One thread at a time.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: TokenizedSplit,
        device: torch.device,
        dtype: torch.dtype,
        *,
        prefix_bytes: int | None = None,
        slots: int = 1,
    ) -> None:
        """Copies the weights to the device once, in the compute dtype, and fixes the batches.

        Args:
            model: A supported sequence-classification model; not changed.
            tokens: The split.
            device: Where to compute.
            dtype: Arithmetic of all but the classifier, which stays float32.
            prefix_bytes: Memory for stored hidden states; the device's default if None.
            slots: Masks in a launch: one skips its pruned heads, more multiply them by zero.

        Raises:
            CheckpointError: Weights that are not finite.
            UnsupportedModelError: A model of no known architecture.
            TokenizerError: Token ids or lengths that the model does not have.
            DataError: Labels that the model does not have.
        """
        self.architecture = snapshot(model, device, dtype)
        tokens.check_fit(self.architecture.vocabulary, self.architecture.positions, self.architecture.labels)
        self.slots = slots
        self.layers_computed = 0
        self._device, self._dtype = device, dtype
        self._packed = pack(self.architecture)
        budget = max(_BATCH_TOKENS[device.type] // self.slots, 1)
        self._batches = [_load(tokens, index, device) for index in plan(tokens.lengths, budget, _PADDING[device.type])]
        self._order = np.concatenate([batch.index for batch in self._batches])
        places = sum(batch.input_ids.numel() for batch in self._batches)
        self.prefixes = PrefixStore(
            self.architecture.layers,
            DEFAULT_BYTES[device.type] if prefix_bytes is None else prefix_bytes,
            places * self.architecture.hidden_size * dtype.itemsize,
        )

    @torch.inference_mode()
    def logits(self, masks: HeadMasks) -> NDArray[np.float32]:
        """Computes one launch; the device is waited for once, when all of its batches are queued.

        Args:
            masks: bool (K, layers, heads), valid, 1 <= K <= slots.

        Returns:
            float32 (K, sentences, labels), in the split's own order.
        """
        # Unused slots repeat the last mask: the shapes, and with them the bits, stay those of a full launch.
        filled = np.concatenate([masks, np.repeat(masks[-1:], self.slots - len(masks), axis=0)])
        keys = mask_keys(filled)
        start = self._start(keys)
        stored = [self.prefixes.get(key, start) for key in keys]
        wanted = self.prefixes.missing(keys, start)
        states: dict[bytes, list[Tensor]] = {prefix: [] for prefix in wanted}
        weights = narrow(self._packed, self.architecture.heads, filled[0]) if self.slots == 1 else self._packed
        gates = None if self.slots == 1 else torch.from_numpy(filled).to(self._device, self._dtype)
        rows = []
        for number, batch in enumerate(self._batches):
            hidden = self._enter(stored, number)
            _keep(states, wanted, hidden, start, self.slots)
            each = None if gates is None else gates.repeat_interleave(len(batch.index), dim=0)
            lengths = None if batch.lengths is None else batch.lengths.repeat(self.slots)
            run = run_layers(self.architecture, hidden, lengths, weights=weights, start=start, gates=each)
            for depth, hidden in enumerate(run, start + 1):
                _keep(states, wanted, hidden, depth, self.slots)
            # The classifier is float32: bfloat16 logits tie so often that argmax would favour the first label.
            rows.append(self.architecture.classify(hidden[:, 0].float()).unflatten(0, (self.slots, -1)))
        for prefix, tensors in states.items():
            self.prefixes.put(prefix, tensors)
        self.layers_computed += (self.architecture.layers - start) * len(masks)
        found = np.empty((len(masks), len(self._order), self.architecture.labels), dtype=np.float32)
        found[:, self._order] = torch.cat(rows, dim=1)[: len(masks)].cpu().numpy()
        return found

    def _start(self, keys: Sequence[bytes]) -> int:
        """Returns the deepest layer whose input is stored for every mask of the launch; 0 if there is none."""
        deepest = min((depth or 0 for depth in map(self.prefixes.touch, keys)), default=0)
        stored = (depth for depth in reversed(self.prefixes.depths) if depth <= deepest)
        return next((depth for depth in stored if all(self.prefixes.get(key, depth) for key in keys)), 0)

    def _enter(self, stored: Sequence[tuple[Tensor, ...] | None], number: int) -> Tensor:
        """Returns what the launch starts from in one batch, (slots * B, T, hidden): stored states, or the embedding."""
        parts = [states[number] for states in stored if states is not None]
        if len(parts) < len(stored):
            parts = [self.architecture.embedding(self._batches[number].input_ids)] * len(stored)
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _keep(
    states: dict[bytes, list[Tensor]], wanted: dict[bytes, tuple[int, int]], hidden: Tensor, depth: int, slots: int
) -> None:
    """Adds a batch's hidden states (slots * B, T, hidden) to the wanted nodes of this depth."""
    for prefix, (slot, at) in wanted.items():
        if at == depth:
            # A view would keep the other slots' memory alive, which the store does not count.
            states[prefix].append(hidden if slots == 1 else hidden.unflatten(0, (slots, -1))[slot].clone())


def _load(tokens: TokenizedSplit, index: NDArray[np.int64], device: torch.device) -> _DeviceBatch:
    """Puts one batch on the device for good."""
    ids, lengths = tokens.batch(index)
    return _DeviceBatch(_move(ids, device), None if lengths is None else _move(lengths, device), index)


def _move(values: NDArray[np.int64], device: torch.device) -> Tensor:
    here = torch.from_numpy(values)
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here
