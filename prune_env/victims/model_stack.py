"""K copies of one small model, each under a head mask of its own, as stacked tensors: one product serves all of them.

A small model's step is mostly the overhead of many small operations. Copies that read the same sentences share it: a
weight is (K, out, in), a hidden state (K, sentences * tokens, hidden). All weights lie in one matrix (K, P), so that
clipping and AdamW are a handful of operations over the whole stack.

Pruned heads leave the matrices as in `prune_env.engine.forward`, as far as the stack allows: a layer has as many
places as the mask that keeps most heads there, and masks that keep fewer switch the surplus places off by gates of
zero. Masks that keep like numbers of heads a layer make a cheap stack.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from prune_env.engine.architecture import Architecture, describe
from prune_env.engine.masking import apply_mask
from prune_env.types import HeadMasks, check_masks
from prune_env.victims.dropout_pool import NO_DROPOUT, Drop


@dataclass(frozen=True)
class _Places:
    """A layer's places: which head sits in each, and whether the copy keeps it.

    Attributes:
        head: int64 (K, places); a copy's kept heads stand first.
        kept: float32 (K, 1, places, 1): 1 = kept, 0 = a place that this copy does not use.
        open: Whether every copy uses all places.
    """

    head: Tensor
    kept: Tensor
    open: bool


class ModelStack:
    """K copies of a model, trained and asked together."""

    def __init__(self, model: PreTrainedModel, masks: HeadMasks) -> None:
        """Copies the model's weights.

        Args:
            model: A supported sequence-classification model; it stays as it is.
            masks: bool (K, layers, heads), True = kept.

        Raises:
            MaskError: An invalid mask.
            UnsupportedModelError: A model of no known architecture.
        """
        self._model = model
        self.architecture = describe(model)
        self.masks = check_masks(masks, self.architecture.layers, self.architecture.heads)
        self._places = [_places(self.masks[:, layer]) for layer in range(self.architecture.layers)]
        start = {name: part.detach().float() for name, part in _parts(self.architecture).items()}
        stacked = {name: self._narrowed(name, part) for name, part in start.items()}
        self.flat = torch.cat([part.flatten(1) for part in stacked.values()], dim=1)
        self.gradient = torch.zeros_like(self.flat)
        self.decay = 1.0
        """What weight decay has left of the weights of heads that no place of their copy holds."""
        self._exported: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._gradients: list[Tensor] = []
        at = 0
        for name, part in stacked.items():
            self._exported[name] = self._view(self.flat, at, part)
            fused = _fused(name, part)
            if fused is not None:
                self._weights[fused[0]] = self._view(self.flat, at, fused[1]).requires_grad_()
                self._gradients.append(self._view(self.gradient, at, fused[1]))
            at += part[0].numel()

    def __len__(self) -> int:
        """Returns K."""
        return len(self.masks)

    def logits(self, input_ids: Tensor, lengths: Tensor | None = None, drop: Drop = NO_DROPOUT) -> Tensor:
        """Returns every copy's logits (K, B, labels) of right-padded sentences.

        Args:
            input_ids: Token ids (B, T).
            lengths: Tokens of each sentence (B,), or None if none is padded.
            drop: What drops in training.
        """
        architecture, size = self.architecture, input_ids.shape
        padding = None
        if lengths is not None:
            behind = torch.arange(size[1]) >= lengths[:, None]
            padding = torch.zeros(size).masked_fill_(behind, float("-inf"))[None, :, None, None, :]
        hidden = drop(self._embedded(input_ids), architecture.dropout.embedding)
        for layer in range(architecture.layers):
            last = layer == architecture.layers - 1
            context = self._attention(layer, hidden.unflatten(1, size), padding, last, drop)
            rows = hidden.unflatten(1, size)[:, :, 0] if last else hidden
            hidden = self._after_attention(layer, context, rows, drop)
        classifier, rate = architecture.classifier, architecture.dropout.classifier
        if classifier.drops_input:
            hidden = drop(hidden, rate)
        return self._linear("output", drop(classifier.activation(self._linear("dense", hidden)), rate))

    def differentiate(self, loss: Tensor) -> None:
        """Writes the gradient of a scalar into `gradient`."""
        found = torch.autograd.grad(loss, list(self._weights.values()))
        for place, part in zip(self._gradients, found, strict=True):
            place.copy_(part)

    def model(self, copy_number: int) -> PreTrainedModel:
        """Returns one copy as a model of its own, in eval mode, its mask applied."""
        model: PreTrainedModel = copy.deepcopy(self._model).eval()
        with torch.no_grad():
            for name, part in _parts(describe(model)).items():
                found, (layer, _, role) = self._exported[name][copy_number], name.partition(".")
                if role in _AXES:
                    view, heads = _by_head(part, role, self.architecture.heads), self._places[int(layer)].head
                    view.mul_(self.decay)
                    view.index_copy_(_AXES[role], heads[copy_number], _by_head(found, role, heads.shape[1]))
                else:
                    part.copy_(found)
        apply_mask(model, self.masks[copy_number])
        return model

    @staticmethod
    def _view(flat: Tensor, at: int, like: Tensor) -> Tensor:
        return flat[:, at : at + like[0].numel()].view(like.shape)

    def _narrowed(self, name: str, part: Tensor) -> Tensor:
        """Returns a weight of all copies (K, ...), of their places alone where it has rows or columns a head."""
        layer, _, role = name.partition(".")
        if role not in _AXES:
            return part.expand(len(self), *part.shape)
        places, view = self._places[int(layer)], _by_head(part, role, self.architecture.heads)
        chosen = torch.stack([view.index_select(_AXES[role], heads) for heads in places.head])
        if role == "output.weight":
            chosen = chosen * places.kept
        return chosen.flatten(_AXES[role] + 1, _AXES[role] + 2)

    def _linear(self, name: str, hidden: Tensor) -> Tensor:
        return _affine(hidden, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normalised(self, name: str, hidden: Tensor, norm: nn.LayerNorm) -> Tensor:
        standard = functional.layer_norm(hidden, hidden.shape[-1:], eps=norm.eps)
        return torch.addcmul(self._weights[f"{name}.bias"][:, None], standard, self._weights[f"{name}.weight"][:, None])

    def _embedded(self, input_ids: Tensor) -> Tensor:
        """Returns (K, B * T, hidden)."""
        embedding = self.architecture.embedding
        first, length = embedding.first_position, input_ids.shape[1]
        offset = self._weights["position"][:, first : first + length]
        if embedding.token_type is not None:
            offset = offset + self._weights["token_type"][:, :1]
        # Only the batch's own words: a gradient of the vocabulary's size is not filled with zeros for each use.
        words = self._weights["word"].index_select(1, input_ids.flatten()).unflatten(1, input_ids.shape)
        return self._normalised("embedding", (words + offset[:, None]).flatten(1, 2), embedding.norm)

    def _attention(self, layer: int, hidden: Tensor, padding: Tensor | None, cls_only: bool, drop: Drop) -> Tensor:
        """Returns the contexts (K, B * T, places * head_size), or of [CLS] alone (K, B, places * head_size)."""
        copies, batch = hidden.shape[:2]
        size, places = self.architecture.head_size, self._places[layer]
        weight, bias = self._weights[f"{layer}.qkv.weight"], self._weights[f"{layer}.qkv.bias"]
        width, states = weight.shape[1] // 3, hidden.flatten(1, 2)
        if cls_only:
            first = _affine(hidden[:, :, 0], weight[:, :width], bias[:, :width])
            rest = _affine(states, weight[:, width:], bias[:, width:]).chunk(2, dim=-1)
            parts = (first, *rest)
        else:
            parts = _affine(states, weight, bias).chunk(3, dim=-1)
        query, key, value = (part.view(copies, batch, -1, width // size, size).transpose(2, 3) for part in parts)
        scores = torch.matmul(query * size**-0.5, key.transpose(3, 4))
        probabilities = (scores if padding is None else scores + padding).softmax(-1)
        dropped = drop(probabilities, self.architecture.dropout.attention)
        context = torch.matmul(dropped, value).transpose(2, 3).flatten(1, 2)
        if not places.open:
            context = context * places.kept
        return context.flatten(2)

    def _after_attention(self, layer: int, context: Tensor, hidden: Tensor, drop: Drop) -> Tensor:
        block, rates = self.architecture.blocks[layer], self.architecture.dropout
        attended = drop(self._linear(f"{layer}.output", context), rates.output) + hidden
        hidden = self._normalised(f"{layer}.attention_norm", attended, block.attention_norm)
        inner = self.architecture.activation(self._linear(f"{layer}.ffn_in", hidden))
        outer = drop(self._linear(f"{layer}.ffn_out", inner), rates.ffn) + hidden
        return self._normalised(f"{layer}.ffn_norm", outer, block.ffn_norm)


_AXES = {f"{role}.{kind}": 0 for role in ("query", "key", "value") for kind in ("weight", "bias")} | {
    "output.weight": 1
}
"""Weights with rows or columns of each head, and along which axis the heads lie."""


def _affine(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias[:, None], hidden, weight.transpose(1, 2))


def _places(kept: NDArray[np.bool_]) -> _Places:
    """Gives the heads that masks (K, heads) keep in one layer their places."""
    counts = kept.sum(1)
    head = torch.from_numpy(np.argsort(~kept, axis=1, kind="stable")[:, : counts.max()].copy())
    used = torch.arange(int(counts.max())) < torch.from_numpy(counts)[:, None]
    return _Places(head, used.float()[:, None, :, None], bool(used.all()))


def _parts(architecture: Architecture) -> dict[str, Tensor]:
    """Returns every weight by its role; query, key and value stand one behind the other."""
    embedding, classifier = architecture.embedding, architecture.classifier
    found: dict[str, Tensor] = {"word": embedding.word.weight, "position": embedding.position.weight}
    if embedding.token_type is not None:
        found["token_type"] = embedding.token_type.weight
    modules: dict[str, nn.Linear | nn.LayerNorm] = {"embedding": embedding.norm}
    modules |= {"dense": classifier.dense, "output": classifier.output}
    for layer, block in enumerate(architecture.blocks):
        for kind in ("weight", "bias"):
            found |= {
                f"{layer}.{role}.{kind}": getattr(getattr(block, role), kind) for role in ("query", "key", "value")
            }
        others = ("output", "attention_norm", "ffn_in", "ffn_out", "ffn_norm")
        modules |= {f"{layer}.{role}": getattr(block, role) for role in others}
    for name, module in modules.items():
        found |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    return found


def _fused(name: str, part: Tensor) -> tuple[str, Tensor] | None:
    """Returns the name and a tensor of the shape under which a weight is trained: query, key and value as one."""
    layer, _, role = name.partition(".")
    if role not in _AXES or role == "output.weight":
        return name, part
    if not role.startswith("query"):
        return None
    return f"{layer}.qkv{role.removeprefix('query')}", torch.cat([part] * 3, dim=1)


def _by_head(part: Tensor, role: str, heads: int) -> Tensor:
    """Views a weight with the heads on an axis of their own, (heads, size, ...) or (hidden, heads, size)."""
    view: Tensor = part.unflatten(_AXES[role], (heads, -1))
    return view
