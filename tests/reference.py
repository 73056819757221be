"""An independent float64 classifier in NumPy, with pruned heads physically removed: smaller matrices, no masks.

It shares nothing with the engine: weights are read by name from the state dict, one sentence at a time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

Array = NDArray[np.float64]

_BERT = {
    "layer": "{base}.encoder.layer.{i}.",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "in": "intermediate.dense",
    "out": "output.dense",
    "norm2": "output.LayerNorm",
}
_DISTILBERT = {
    "layer": "{base}.transformer.layer.{i}.",
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "output": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "in": "ffn.lin1",
    "out": "ffn.lin2",
    "norm2": "output_layer_norm",
}


class Removed:
    """A model without its pruned heads."""

    def __init__(self, model: PreTrainedModel, mask: NDArray[np.bool_]) -> None:
        self.weights = {name: tensor.detach().double().numpy() for name, tensor in model.state_dict().items()}
        self.base = model.base_model_prefix
        self.names = _DISTILBERT if self.base == "distilbert" else _BERT
        config: Any = model.config
        self.heads, self.hidden = int(config.num_attention_heads), int(config.hidden_size)
        self.epsilon = 1e-12 if self.base == "distilbert" else float(config.layer_norm_eps)
        self.first = int(config.pad_token_id) + 1 if self.base == "roberta" else 0
        self.mask = mask

    def logits(self, ids: NDArray[np.int32]) -> Array:
        """Returns one sentence's logits (labels,)."""
        embed = f"{self.base}.embeddings."
        positions = np.arange(self.first, self.first + len(ids))
        x = self.weights[embed + "word_embeddings.weight"][ids]
        x = x + self.weights[embed + "position_embeddings.weight"][positions]
        if self.base != "distilbert":
            x = x + self.weights[embed + "token_type_embeddings.weight"][0]
        x = self.norm(x, embed + "LayerNorm")
        for i in range(len(self.mask)):
            x = self.layer(x, i)
        return self.classify(x[0])

    def layer(self, x: Array, i: int) -> Array:
        """One layer with `kept` heads: query, key, value of kept * size rows, output of kept * size columns."""
        prefix = self.names["layer"].format(base=self.base, i=i)
        size = self.hidden // self.heads
        rows = np.flatnonzero(np.repeat(self.mask[i], size))
        q, k, v = (
            x @ self.weights[prefix + self.names[name] + ".weight"][rows].T
            + self.weights[prefix + self.names[name] + ".bias"][rows]
            for name in ("query", "key", "value")
        )
        contexts = []
        for head in range(int(self.mask[i].sum())):
            part = slice(head * size, (head + 1) * size)
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(size))
            contexts.append(scores / scores.sum(1, keepdims=True) @ v[:, part])
        output = prefix + self.names["output"]
        attended = np.concatenate(contexts, 1) @ self.weights[output + ".weight"][:, rows].T
        x = self.norm(x + attended + self.weights[output + ".bias"], prefix + self.names["norm1"])
        inner = self.linear(x, prefix + self.names["in"])
        gelu = inner * 0.5 * (1.0 + np.vectorize(math.erf)(inner / math.sqrt(2.0)))
        return self.norm(x + self.linear(gelu, prefix + self.names["out"]), prefix + self.names["norm2"])

    def classify(self, cls: Array) -> Array:
        """The architecture's own classifier."""
        if self.base == "bert":
            return self.linear(np.tanh(self.linear(cls, "bert.pooler.dense")), "classifier")
        if self.base == "roberta":
            return self.linear(np.tanh(self.linear(cls, "classifier.dense")), "classifier.out_proj")
        return self.linear(np.maximum(self.linear(cls, "pre_classifier"), 0.0), "classifier")

    def linear(self, x: Array, name: str) -> Array:
        """A dense layer."""
        y: Array = x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]
        return y

    def norm(self, x: Array, name: str) -> Array:
        """Layer normalisation."""
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.epsilon)
        y: Array = scaled * self.weights[name + ".weight"] + self.weights[name + ".bias"]
        return y
