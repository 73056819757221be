"""Bits all at once: number for number what sb3-contrib's one categorical a bit says, and sets that are never empty."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib.common.maskable.distributions import MaskableBernoulliDistribution
from torch import Tensor

from prune_env.agents import throughput
from prune_env.agents.distributions import (
    MaskedBernoulliDistribution,
    NonEmptyBernoulliDistribution,
    OneBitDistribution,
)

BITS = 4
EVERY = torch.tensor(list(product((0.0, 1.0), repeat=BITS)))


def masks(seed: int, rows: int) -> np.ndarray:
    """Every bit may be 0, 1 or both, and each of the three occurs."""
    kinds = np.array([[True, True], [True, False], [False, True]])
    return kinds[np.random.default_rng(seed).integers(0, 3, (rows, BITS))].reshape(rows, -1)


def pair(odds: Tensor, allowed: np.ndarray | None) -> tuple[MaskedBernoulliDistribution, MaskableBernoulliDistribution]:
    ours = MaskedBernoulliDistribution(BITS).proba_distribution(odds)
    stock = MaskableBernoulliDistribution(BITS)
    stock.proba_distribution(torch.stack([torch.zeros_like(odds), odds], dim=2).reshape(len(odds), -1))
    if allowed is not None:
        ours.apply_masking(allowed)
        stock.apply_masking(allowed)
    return ours, stock


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_sb3_contribs(seed: int, masked: bool) -> None:
    odds = torch.tensor(np.random.default_rng(seed).normal(0, 3, (16, BITS)), dtype=torch.float32, requires_grad=True)
    ours, stock = pair(odds, masks(seed, 16) if masked else None)
    mine, theirs = ours.log_prob(EVERY), stock.log_prob(EVERY)
    possible = theirs > -1e6
    assert torch.allclose(mine[possible], theirs[possible], atol=1e-5)
    assert (mine[~possible] < -1e6).all()
    assert torch.allclose(ours.entropy(), stock.entropy(), atol=1e-5)
    assert torch.equal(ours.mode(), stock.mode().float())
    gradients = [
        torch.autograd.grad(one.log_prob(one.mode().float()).sum() + one.entropy().sum(), odds)[0]
        for one in (ours, stock)
    ]
    assert torch.allclose(gradients[0], gradients[1], atol=1e-5)


def test_masks_start_from_what_was_given_and_can_be_lifted() -> None:
    odds = torch.zeros(1, BITS)
    ours, _ = pair(odds, None)
    free = ours.entropy()
    for allowed in (masks(1, 1), masks(2, 1)):
        ours.apply_masking(allowed)
        assert torch.equal(ours.entropy(), pair(odds, allowed)[0].entropy())
    ours.apply_masking(None)
    assert torch.equal(ours.entropy(), free)


def test_draws_follow_the_odds_and_the_masks() -> None:
    torch.manual_seed(0)
    ours, _ = pair(
        torch.tensor([[-1.0, 0.0, 2.0, 0.0]]).expand(20_000, BITS), np.tile([1, 1, 1, 1, 1, 1, 1, 0], (20_000, 1))
    )
    means = ours.sample().mean(dim=0)
    assert means[:3].tolist() == pytest.approx(torch.sigmoid(torch.tensor([-1.0, 0.0, 2.0])).tolist(), abs=0.015)
    assert means[3] == 0


@pytest.mark.parametrize("shift", [0.0, -5.0, -30.0], ids=["likely", "unlikely", "all but impossible"])
def test_a_set_is_never_empty(shift: float) -> None:
    odds = torch.tensor([[-2.0, -1.0, 0.5, -3.0]]) + shift
    allowed = np.tile([True, True, True, True, True, False, True, True], (len(EVERY), 1))

    def conditioned(rows: int) -> NonEmptyBernoulliDistribution:
        found = NonEmptyBernoulliDistribution(BITS)
        found.proba_distribution(odds.expand(rows, BITS))
        found.apply_masking(np.tile(allowed[0], (rows, 1)))
        return found

    some = EVERY[1:]
    chances = conditioned(len(some)).log_prob(some).exp()
    assert float(chances.sum()) == pytest.approx(1.0, abs=1e-5)
    entropy = -(chances[chances > 0] * chances[chances > 0].log()).sum()
    assert float(conditioned(1).entropy()) == pytest.approx(float(entropy), abs=1e-4)
    assert torch.equal(conditioned(1).mode()[0], some[chances.argmax()])
    torch.manual_seed(0)
    drawn = conditioned(50_000).sample()
    assert (drawn.sum(dim=1) > 0).all()
    places = (drawn @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long()
    found = torch.bincount(places, minlength=16)[1:] / len(drawn)
    assert torch.allclose(found, chances, atol=0.01)


def test_a_draw_of_zero_sets_no_bit_without_a_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    found = NonEmptyBernoulliDistribution(BITS)
    found.proba_distribution(torch.tensor([[-1e8, -1e8, -1.0, -2.0]]))
    monkeypatch.setattr(torch, "rand_like", torch.zeros_like)
    assert found.sample().tolist() == [[0.0, 0.0, 1.0, 1.0]]


def test_one_bit_is_a_categorical_choice_among_those_allowed() -> None:
    odds = torch.tensor([[0.3, -1.0, 2.0, 0.5]]).expand(20_000, BITS)
    found = OneBitDistribution(BITS)
    found.proba_distribution(odds)
    found.apply_masking(np.tile([1, 1, 1, 1, 1, 0, 1, 1], (len(odds), 1)))
    stock = torch.distributions.Categorical(logits=torch.tensor([0.3, -1.0, -torch.inf, 0.5]))
    torch.manual_seed(0)
    drawn = found.sample()
    assert (drawn.sum(dim=1) == 1).all()
    assert torch.allclose(drawn.mean(dim=0), stock.probs, atol=0.015)
    every = torch.eye(BITS)[[0, 1, 3]]
    assert torch.allclose(_of_rows(found, 3).log_prob(every), stock.logits[[0, 1, 3]], atol=1e-5)
    assert float(_of_rows(found, 1).entropy()) == pytest.approx(
        -float((every @ stock.probs).log() @ (every @ stock.probs))
    )
    assert _of_rows(found, 1).mode().tolist() == [[0.0, 0.0, 0.0, 1.0]]


def _of_rows(distribution: OneBitDistribution, rows: int) -> OneBitDistribution:
    found = OneBitDistribution(BITS)
    found.proba_distribution(distribution._logits[:rows])
    return found


def test_the_cost_of_bits_one_by_one_is_measured_on_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Any] = []

    def fastest(distribution: Any, odds: np.ndarray, allowed: np.ndarray, repeats: int) -> float:
        distribution.proba_distribution(torch.tensor(odds))
        distribution.apply_masking(allowed)
        timed.append((distribution, allowed, repeats))
        return 6.0 if isinstance(distribution, MaskableBernoulliDistribution) else 2.0

    monkeypatch.setattr(throughput, "_fastest", fastest)
    assert throughput.distribution_ratio(bits=BITS, batch=len(EVERY), repeats=7) == 3.0, "sb3-contrib's over ours"
    (stock, allowed, _), (ours, same, _) = timed
    assert allowed is same and not allowed.all() and [repeats for *_, repeats in timed] == [7, 7]
    assert allowed.shape == (len(EVERY), 2 * BITS)
    possible = ours.mode()
    assert torch.allclose(stock.log_prob(possible), ours.log_prob(possible), atol=1e-4)
    assert torch.allclose(stock.entropy(), ours.entropy(), atol=1e-4)
