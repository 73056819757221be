"""A network over the set of a model's heads: one token a head, attention between them, any number of layers and heads.

Weights are shared between heads and no position is encoded: what tells heads apart is what the observation says of
each, its layer's depth included. Exchanging heads of a layer exchanges their outputs, and nothing in the weights knows
how many heads there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from prune_env.errors import ConfigError

FLAGS = ("mask", "valid", "failed")
NUMBERS = ("accuracy", "last_change", "threshold", "budget")
_IMPORTANCE = "importance_"
_SLACK_SCALE = 20.0
"""Five points of accuracy above the threshold are 1: differences of single sentences have to be seen."""


def metrics_of(keys: Iterable[str]) -> tuple[str, ...]:
    """Returns the metrics whose importance an observation with these keys shows, in alphabetical order."""
    return tuple(sorted(key.removeprefix(_IMPORTANCE) for key in keys if key.startswith(_IMPORTANCE)))


def padding_of(observation: Mapping[str, Tensor]) -> Tensor:
    """Returns which outputs of a network stand for no head, bool (B, slots + 1); stop, the last, never does."""
    return functional.pad(observation["valid"] == 0, (0, 1))


class HeadTokens(nn.Module):
    """Makes the tokens: what an observation says of each head, what follows from it, and the numbers that all share.

    What follows: the head's rank among the kept ones by each metric, as a fraction; one over the kept heads of its
    layer; the fraction of heads that is kept; and how far accuracy is above the threshold.

    Attributes:
        metrics: Importance metrics, in the order in which they stand in a token.
        features: Numbers in a token.
    """

    def __init__(self, metrics: tuple[str, ...]) -> None:
        """Takes the names of the importance metrics."""
        super().__init__()
        self.metrics = metrics
        self.features = 4 + 2 * len(metrics) + 7

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns tokens, float (B, slots, features), and which of them are heads, bool (B, slots)."""
        kept, valid, failed = (observation[name].float() for name in FLAGS)
        depth, count = observation["depth"], valid.sum(dim=1, keepdim=True).clamp(min=1.0)
        same_layer = (depth.unsqueeze(2) == depth.unsqueeze(1)) * kept.unsqueeze(1)
        columns = [kept, failed, depth, 1.0 / same_layer.sum(dim=2).clamp(min=1.0)]
        for metric in self.metrics:
            score = observation[f"{_IMPORTANCE}{metric}"]
            below = (score.unsqueeze(1) < score.unsqueeze(2)) * kept.unsqueeze(1)
            columns += [score, below.sum(dim=2) / count]
        numbers = [observation[name] for name in NUMBERS]
        slack = ((numbers[0] - numbers[2]) * _SLACK_SCALE).clamp(-1.0, 1.0)
        shared = torch.cat([*numbers, kept.sum(dim=1, keepdim=True) / count, slack], dim=1)
        spread = shared.unsqueeze(1).expand(-1, depth.shape[1], -1)
        return torch.cat([torch.stack(columns, dim=2), spread], dim=2), valid > 0


class Block(nn.Module):
    """One layer of a transformer encoder, normalised before each part."""

    def __init__(self, width: int, attention_heads: int) -> None:
        """Takes the width, a multiple of the number of attention heads."""
        super().__init__()
        self._attention_heads = attention_heads
        self.before_attention, self.before_mix = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mix = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, seen: Tensor | None) -> Tensor:
        """Returns tokens (B, slots, width), each having seen those that `seen`, bool (B, 1, 1, slots), leaves."""
        batch, slots, width = tokens.shape
        parts = self.project(self.before_attention(tokens)).reshape(batch, slots, 3, self._attention_heads, -1)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        tokens = tokens + self.join(found.transpose(1, 2).reshape(batch, slots, width))
        mixed: Tensor = tokens + self.mix(self.before_mix(tokens))
        return mixed


class HeadSetNet(nn.Module):
    """Log-odds of pruning each head and of stopping, and the state's value.

    Attributes:
        tokens: What makes tokens of observations.
    """

    def __init__(self, metrics: tuple[str, ...], width: int, blocks: int, attention_heads: int) -> None:
        """Builds the network; its last layers start near zero.

        Args:
            metrics: Importance metrics of the observations.
            width: Numbers in a token inside the network, a multiple of `attention_heads`.
            blocks: Layers of attention, 0 or more.
            attention_heads: Of each such layer.

        Raises:
            ConfigError: Sizes that do not go together.
        """
        if width < 1 or attention_heads < 1 or width % attention_heads or blocks < 0:
            raise ConfigError(
                f"expected a width that is a multiple of attention_heads and no less than 0 blocks, got {width}, "
                f"{attention_heads} and {blocks}; 32, 4 and 1 are the defaults"
            )
        super().__init__()
        self.tokens = HeadTokens(metrics)
        self.embed = nn.Sequential(nn.Linear(self.tokens.features, width), nn.ReLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, attention_heads) for _ in range(blocks))
        self.normalise = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)
        self.stop = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))
        self.value = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))
        for last in (self.head, self.stop[-1]):
            for parameter in last.parameters():
                nn.init.normal_(parameter, 0.0, 0.01 / width**0.5)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns log-odds (B, slots + 1), stop last, and values (B, 1), of observations with arrays (B, ...).

        Padding is neither attended to nor pooled, and its log-odds mean nothing.
        """
        tokens, heads = self.tokens(observation)
        seen = None if bool(heads.all()) else heads[:, None, None, :]
        hidden = self.embed(tokens)
        for block in self.blocks:
            hidden = block(hidden, seen)
        hidden = self.normalise(hidden)
        there = heads.unsqueeze(2)
        mean = (hidden * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
        pooled = torch.cat([mean, hidden.masked_fill(~there, -torch.inf).amax(dim=1)], dim=1)
        return torch.cat([self.head(hidden).squeeze(2), self.stop(pooled)], dim=1), self.value(pooled)
