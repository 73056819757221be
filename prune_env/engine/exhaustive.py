"""Every mask of a small model on one split, each prefix of layer masks computed once: what fills a table.

Masks are visited depth first over the layers. A layer computes each head's part of its output once, and the parts that
a layer mask keeps are summed by one small matrix for all of the layer's masks together; the last layer computes the
[CLS] row only. That adds up in another order than the evaluator does, so that last bits differ: where a sentence is too
close to call, the evaluator is asked for that mask, and its count is what stands in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from prune_env.engine.architecture import Architecture, Block
from prune_env.engine.batching import plan
from prune_env.engine.snapshot import snapshot
from prune_env.engine.table import TableEvaluator, all_masks, table_size
from prune_env.engine.tokens import TokenizedSplit
from prune_env.engine.transformer import TransformerEvaluator

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_TOKENS = 512
"""Places of a batch: a layer's states under all of its masks then take some megabytes at most."""

TOLERANCE = 1e-4
"""Distance between the two best logits below which the evaluator decides; the two differ by about 1e-5."""

REPORTS = 10
"""How often progress is told, at most: a log gets a line each time."""

Report = Callable[[int], None]
"""Called with the number of sentences done."""


def tabulate(model: PreTrainedModel, tokens: TokenizedSplit, report: Report | None = None) -> TableEvaluator:
    """Evaluates every valid mask; the counts are those of `TransformerEvaluator` in float32.

    Args:
        model: A supported sequence-classification model with few enough masks for a table; not changed.
        tokens: The split, from the model's own tokenizer.
        report: Told about progress.

    Raises:
        ConfigError: More valid masks than a table may hold.
        CheckpointError: Weights that are not finite.
        UnsupportedModelError: A model of no known architecture.
        TokenizerError: Token ids or lengths that the model does not have.
        DataError: Labels that the model does not have.
    """
    evaluator = TransformerEvaluator(model, tokens)
    architecture = snapshot(model, torch.device("cpu"), torch.float32)
    layers, heads = architecture.layers, architecture.heads
    counts = np.zeros(table_size(layers, heads), dtype=np.int32)
    doubtful = np.zeros(len(counts), dtype=np.bool_)
    walk, done = _Walk(architecture), 0
    for batch in plan(tokens.lengths, BATCH_TOKENS):
        ids, _ = tokens.batch(batch)
        right, close = walk.batch(torch.from_numpy(ids), torch.from_numpy(tokens.labels[batch]))
        counts += right
        doubtful |= close
        before, done = done, done + len(batch)
        if report is not None and done * REPORTS // len(tokens) > before * REPORTS // len(tokens):
            report(done)
    _decide(counts, doubtful, evaluator)
    return TableEvaluator(layers, heads, counts, len(tokens))


def _decide(counts: NDArray[np.int32], doubtful: NDArray[np.bool_], evaluator: TransformerEvaluator) -> None:
    """Replaces the counts of the doubtful masks by the evaluator's."""
    start = 0
    for masks in all_masks(evaluator.layers, evaluator.heads):
        places = start + doubtful[start : start + len(masks)].nonzero()[0]
        if len(places):
            counts[places] = np.rint(evaluator.accuracy(masks[places - start]) * evaluator.sentences)
        start += len(masks)


class _Walk:
    """The depth-first walk over layer masks for one batch of sentences of one length after the other."""

    def __init__(self, architecture: Architecture) -> None:
        """Takes the model, and lays out the masks of a layer as a matrix (masks, heads) of zeros and ones."""
        self._architecture = architecture
        heads = architecture.heads
        bits = (np.arange(1, 2**heads)[:, None] >> np.arange(heads)) & 1
        self._kept = torch.from_numpy(bits.astype(np.float32))

    @torch.inference_mode()
    def batch(self, input_ids: Tensor, labels: Tensor) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Returns, for each mask in the table's order, the sentences that are right, and whether one is too close.

        Args:
            input_ids: (B, T), without padding.
            labels: (B,).
        """
        right: list[Tensor] = []
        close: list[Tensor] = []
        self._visit(0, self._architecture.embedding(input_ids)[None], labels, right, close)
        return torch.cat(right).numpy().astype(np.int32), torch.cat(close).numpy()

    def _visit(self, layer: int, states: Tensor, labels: Tensor, right: list[Tensor], close: list[Tensor]) -> None:
        """Goes down from what enters a layer under P prefixes, (P, B, T, hidden), in the table's order."""
        if layer == self._architecture.layers - 1:
            logits = self._architecture.classify(self._after(layer, states, rows=1)[..., 0, :])
            two = logits.topk(2, dim=-1)
            right.append((two.indices[..., 0] == labels).sum(-1).flatten())
            close.append((two.values[..., 0] - two.values[..., 1] < TOLERANCE).any(-1).flatten())
            return
        for prefix in states:
            self._visit(layer + 1, self._after(layer, prefix[None], states.shape[2])[0], labels, right, close)

    def _after(self, layer: int, states: Tensor, rows: int) -> Tensor:
        """Returns a layer's output under each of its M masks, (P, M, B, rows, hidden), of (P, B, T, hidden)."""
        block = self._architecture.blocks[layer]
        parts = self._parts(block, states, rows)
        summed = torch.matmul(self._kept, parts.flatten(2)).unflatten(2, parts.shape[2:])
        attended = summed + (states[:, :, :rows] + block.output.bias)[:, None]
        hidden = block.attention_norm(attended)
        inner = self._architecture.activation(functional.linear(hidden, block.ffn_in.weight, block.ffn_in.bias))
        outer = functional.linear(inner, block.ffn_out.weight, block.ffn_out.bias)
        normalised: Tensor = block.ffn_norm(outer + hidden)
        return normalised

    def _parts(self, block: Block, states: Tensor, rows: int) -> Tensor:
        """Returns each head's part of the attention output without the bias, (P, heads, B, rows, hidden)."""
        prefixes, size, length, hidden = states.shape
        heads = self._architecture.heads
        sentences = states.reshape(-1, length, hidden)

        def split(values: Tensor) -> Tensor:
            return values.view(len(sentences), -1, heads, hidden // heads).transpose(1, 2)

        query = split(functional.linear(sentences[:, :rows], block.query.weight, block.query.bias))
        key = split(functional.linear(sentences, block.key.weight, block.key.bias))
        value = split(functional.linear(sentences, block.value.weight, block.value.bias))
        context = functional.scaled_dot_product_attention(query, key, value)
        by_head = context.unflatten(0, (prefixes, size)).transpose(1, 2).flatten(2, 3)
        columns = block.output.weight.view(hidden, heads, -1).permute(1, 2, 0)
        parts: Tensor = torch.matmul(by_head, columns).unflatten(2, (size, rows))
        return parts
