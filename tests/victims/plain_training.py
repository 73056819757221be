"""Fine-tuning as anyone would write it with transformers: the loop that the project's own is held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from prune_env.engine.tokens import TokenizedSplit
from prune_env.types import HeadMask
from prune_env.victims.training import TrainingConfig, epoch_order

_READS = ("attention.self.query", "attention.self.key", "attention.self.value", "q_lin", "k_lin", "v_lin")
_WRITES = ("attention.output.dense", "attention.out_lin")


@dataclass(frozen=True)
class PlainLog:
    """Each step's loss, and its gradient's norm before clipping."""

    losses: list[float]
    norms: list[float]


def plain_loop(model: PreTrainedModel, tokens: TokenizedSplit, config: TrainingConfig, seed: int) -> PlainLog:
    """AdamW as it comes, linear decay, clipped gradients; sentences padded, with an attention mask."""
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    total = config.epochs * -(-len(tokens) // config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0 - step / total)
    log = PlainLog([], [])
    for epoch in range(config.epochs):
        for index in epoch_order(tokens.lengths, config.batch_size, seed, epoch):
            ids, lengths = tokens.batch(index, int(model.config.pad_token_id))
            real = np.full(len(index), ids.shape[1]) if lengths is None else lengths
            mask = torch.from_numpy(np.arange(ids.shape[1])[None] < real[:, None]).long()
            labels = torch.from_numpy(tokens.labels[index])
            loss = model(input_ids=torch.from_numpy(ids), attention_mask=mask, labels=labels).loss
            optimiser.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimiser.step()
            schedule.step()
            log.losses.append(float(loss.detach()))
            log.norms.append(float(norm))
    model.eval()
    return log


def remove_heads(model: PreTrainedModel, mask: HeadMask) -> PreTrainedModel:
    """Takes pruned heads out of a model's matrices, in place, by the modules' names: there is nothing left to train."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for ends, dim in ((_READS, 0), (_WRITES, 1)):
        for end in ends:
            found = [module for name, module in layers.items() if name.endswith(end)]
            for module, row in zip(found, mask, strict=bool(found)):
                size = module.weight.shape[dim] // len(row)
                kept = torch.from_numpy(np.flatnonzero(np.repeat(row, size)))
                module.weight = nn.Parameter(module.weight.detach().index_select(dim, kept))
                if dim == 0:
                    module.bias = nn.Parameter(module.bias.detach()[kept])
    return model
