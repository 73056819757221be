"""Independent bits with masks, all at once: what sb3-contrib has as one categorical distribution a bit."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.distributions import BernoulliDistribution
from torch import Tensor
from torch.nn import functional

CERTAIN = 1e8
"""Size of the log-odds of a bit that has no choice, as large as sb3-contrib's: float32 makes it exactly certain."""

_LEAST = 1e-30
"""Chance below which it is no longer told apart that any bit is set."""

_ROUNDING = 1e-7
"""What a draw below 1 is at least below it, in float32."""


class MaskedBernoulliDistribution(BernoulliDistribution):
    """n independent bits given by their log-odds; serves masked and plain policies alike.

    Log-probabilities, entropies and modes are those of sb3-contrib's `MaskableBernoulliDistribution` with logits
    (0, log-odds) for each bit, where every bit may be 0, 1 or both. A bit that may be neither is taken to be 0.
    """

    def __init__(self, action_dims: int) -> None:
        """Takes the number of bits."""
        super().__init__(action_dims)
        self._given = self._logits = torch.zeros(0, action_dims)

    def proba_distribution(self, action_logits: Tensor) -> MaskedBernoulliDistribution:
        """Takes the log-odds (B, n), and lifts all masks."""
        self._given = self._logits = action_logits.reshape(-1, self.action_dims)
        return self

    def apply_masking(self, masks: Any) -> None:
        """Allows of every bit what `masks`, bool (B, 2 n) or (2 n,), says: [0 allowed, 1 allowed] each; None lifts it.

        As in sb3-contrib, each call starts from the log-odds that were given, not from the last masks.
        """
        self._logits = self._given
        if masks is None:
            return
        allowed = torch.as_tensor(masks, dtype=torch.bool, device=self._given.device)
        zero, one = allowed.reshape(-1, self.action_dims, 2).unbind(-1)
        forced = torch.where(one, CERTAIN, -CERTAIN)
        self._logits = torch.where(zero & one, self._given, forced)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Returns the log-probability (B,) of bits (B, n)."""
        bits = actions.reshape(-1, self.action_dims)
        return (bits * self._logits - functional.softplus(self._logits)).sum(dim=1)

    def entropy(self) -> Tensor:
        """Returns the entropy (B,) in nats."""
        logits = self._logits
        return (functional.softplus(logits) - logits * torch.sigmoid(logits)).sum(dim=1)

    def sample(self) -> Tensor:
        """Draws bits, float (B, n), from torch's generator."""
        return (torch.rand_like(self._logits) < torch.sigmoid(self._logits)).to(self._logits.dtype)

    def mode(self) -> Tensor:
        """Returns the likeliest bits, float (B, n); of equals 0."""
        return (self._logits > 0).to(self._logits.dtype)


class NonEmptyBernoulliDistribution(MaskedBernoulliDistribution):
    """The same bits, given that at least one of them is set: an empty action would be a step that does nothing.

    With P the chance of an empty set and H the entropy of the free bits, a set x has the log-probability
    log p(x) - log(1 - P), and the entropy is (H + P log P) / (1 - P) + log(1 - P). Where every bit is unlikely the mode
    is not the empty set but the likeliest bit, so that a policy that prunes one head at a time can act without chance.
    At least one bit has to be allowed to be 1; stop always is.
    """

    def log_prob(self, actions: Tensor) -> Tensor:
        """Returns the log-probability (B,) of bits (B, n), at least one of which is set."""
        return super().log_prob(actions) - self._some()[1]

    def entropy(self) -> Tensor:
        """Returns the entropy (B,) in nats."""
        empty, some = self._some()
        return (super().entropy() + empty * empty.exp()) / some.exp() + some

    def sample(self) -> Tensor:
        """Draws the first set bit, then those behind it; float (B, n)."""
        logits = self._logits
        silent = torch.cumsum(-functional.softplus(logits), dim=1)
        # log of the chance that some bit up to here is set, over that of any bit: the first set one's distribution.
        reached = -torch.expm1(silent) / -torch.expm1(silent[:, -1:]).clamp(max=-_LEAST)
        # A draw of exactly 0 passes over bits that have no chance.
        first = (reached <= torch.rand_like(logits[:, :1])).sum(dim=1, keepdim=True).clamp(max=self.action_dims - 1)
        places = torch.arange(self.action_dims, device=logits.device)
        bits = torch.where(places > first, super().sample(), 0.0)
        return bits.scatter(1, first, 1.0)

    def mode(self) -> Tensor:
        """Returns the likeliest non-empty set, float (B, n)."""
        bits, best = super().mode(), self._logits.argmax(dim=1, keepdim=True)
        return bits.scatter(1, best, 1.0)

    def _some(self) -> tuple[Tensor, Tensor]:
        """Returns the log-chances (B,) that no bit is set, and that one is."""
        empty = -functional.softplus(self._logits).sum(dim=1)
        return empty, torch.log((-torch.expm1(empty)).clamp(min=_LEAST))


class OneBitDistribution(MaskedBernoulliDistribution):
    """Exactly one bit is set, bit i with a chance in proportion to exp(log-odds i): a categorical choice as bits.

    For policies that prune one head at a time. The likeliest action is then the one that is drawn most often, where
    that of independent bits may be an action that is hardly ever drawn. At least one bit has to be allowed to be 1.

    Acting on a larger model than it was trained on, such a policy may set up to `most` bits: the likeliest ones, or
    those drawn first without putting back, as long as they come before the last bit, which stops. Chances and entropy
    are those of the first bit.
    """

    def __init__(self, action_dims: int, most: int = 1) -> None:
        """Takes the number of bits, and how many may be set."""
        super().__init__(action_dims)
        self._most = most

    def log_prob(self, actions: Tensor) -> Tensor:
        """Returns the log-probability (B,) of bits (B, n), one of which is set."""
        bits = actions.reshape(-1, self.action_dims)
        chosen: Tensor = self._log_chances().gather(1, bits.argmax(dim=1, keepdim=True)).squeeze(1)
        return chosen

    def entropy(self) -> Tensor:
        """Returns the entropy (B,) in nats."""
        chances = self._log_chances()
        return -(chances.exp() * chances).sum(dim=1)

    def sample(self) -> Tensor:
        """Draws bits, float (B, n), from torch's generator."""
        # Log-odds with Gumbel noise are in the order of draws without putting back.
        noise = -torch.log(-torch.log(torch.rand_like(self._logits).clamp(_LEAST, 1 - _ROUNDING)))
        return self._first(self._logits + noise)

    def mode(self) -> Tensor:
        """Returns the likeliest bits, float (B, n)."""
        return self._first(self._logits)

    def _first(self, order: Tensor) -> Tensor:
        """Sets the largest, and further ones that are larger than the last bit's."""
        values, places = order.topk(min(self._most, self.action_dims), dim=1)
        further = values > order[:, -1:]
        further[:, 0] = True
        return torch.zeros_like(order).scatter(1, places, further.to(order.dtype))

    def _log_chances(self) -> Tensor:
        return functional.log_softmax(self._logits, dim=1)
