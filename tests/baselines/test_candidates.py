"""Candidates: each does what its name says, by hand on a tiny model."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prune_env.baselines.candidates import HOT, Distilled, Longer, RandomFirst, Soup, distilled, soft_labels
from prune_env.baselines.ensemble import Members
from prune_env.baselines.sharpness import SharpnessAware, sharpness_aware
from prune_env.defense import training_for
from prune_env.engine.architecture import Architecture, describe
from prune_env.engine.forward import forward
from prune_env.engine.masking import mask_of
from prune_env.methods import METHODS, get_method
from prune_env.recovery import PLAIN, Job
from prune_env.types import full_mask, mask_from_text
from prune_env.victims.training import Batch, cross_entropy, make_batch
from tests.test_defense import MASK, equal, task
from tests.victims_factory import TINY

JOB = Job(task(), MASK, TINY.training)


def plain(architecture: Architecture, batch: Batch) -> Tensor:
    return functional.cross_entropy(forward(architecture, batch.input_ids, batch.lengths), batch.labels)


def batch() -> Batch:
    model = task().suspect.model()
    return make_batch(task().tokens("train", task().suspect.tokenizer(model)), np.arange(16))


def gradients(model: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def test_a_sharpness_aware_loss_has_the_gradient_at_the_worst_nearby_weights() -> None:
    model = task().suspect.model()
    architecture, before = describe(model), {name: one.clone() for name, one in model.state_dict().items()}
    loss = sharpness_aware(plain, 0.05)(architecture, batch())
    found = gradients(model, loss)
    assert loss.item() == plain(architecture, batch()).item()
    assert all(torch.equal(before[name], one) for name, one in model.state_dict().items())
    first = gradients(model, plain(architecture, batch()))
    length = torch.sqrt(sum((one**2).sum() for one in first.values()))  # type: ignore[arg-type]
    with torch.no_grad():
        for name, one in model.named_parameters():
            if name in first:
                one.add_(0.05 * first[name] / length)
    expected = gradients(model, plain(architecture, batch()))
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-4)
    assert any(not torch.allclose(found[name], first[name], atol=1e-5) for name in first)


def test_sharpness_aware_fine_tuning_trains_the_masked_model() -> None:
    made = SharpnessAware().purify(JOB)
    assert np.array_equal(mask_of(made.model), MASK)
    assert not equal(made.model, PLAIN.purify(JOB).model)
    assert equal(made.model, SharpnessAware().purify(JOB).model)


def test_a_soup_is_the_mean_of_the_members() -> None:
    job = replace(JOB, members=(MASK, mask_from_text("01/10")))
    voters, soup = Members().purify(job), Soup().purify(job)
    assert soup.others == ()
    assert soup.sentences == voters.sentences
    members = [dict(model.named_parameters()) for model in voters.models]
    for name, mean in soup.model.named_parameters():
        torch.testing.assert_close(mean, (members[0][name] + members[1][name]) / 2)
    assert np.array_equal(mask_of(soup.model), mask_from_text("11/11"))


def test_soft_labels_are_the_scoring_models_without_dropout() -> None:
    found = soft_labels(JOB, 2.0)
    model = task().scoring_model()
    tokens = task().tokens("train", task().tokenizer(model))
    one = make_batch(tokens, np.arange(5))
    with torch.no_grad():
        logits = forward(describe(model), one.input_ids, one.lengths)
    torch.testing.assert_close(found[:5], (logits / 2.0).softmax(-1), atol=1e-5, rtol=1e-4)
    assert found.shape == (96, 2)


def test_the_distilled_loss_weighs_given_and_soft_labels() -> None:
    model = task().suspect.model()
    model.eval()
    architecture, one = describe(model), batch()
    teacher = torch.tensor([[0.25, 0.75]]).expand(96, 2)
    for name in ("embedding", "attention", "output", "ffn", "classifier"):
        architecture = replace(architecture, dropout=replace(architecture.dropout, **{name: 0.0}))
    logits = forward(architecture, one.input_ids, one.lengths)
    logs = (logits / 2.0).log_softmax(-1)
    kl = (0.25 * (np.log(0.25) - logs[:, 0]) + 0.75 * (np.log(0.75) - logs[:, 1])).mean()
    expected = 0.7 * functional.cross_entropy(logits, one.labels) + 0.3 * 4.0 * kl
    torch.testing.assert_close(distilled(full_mask(2, 2), teacher, 0.3, 2.0)(architecture, one), expected)


def test_without_weight_distilling_is_plain_recovery() -> None:
    assert equal(Distilled(weight=0.0).purify(JOB).model, PLAIN.purify(JOB).model)
    assert not equal(Distilled().purify(JOB).model, PLAIN.purify(JOB).model)


def test_longer_is_plain_recovery_of_more_epochs() -> None:
    twice = replace(JOB, training=replace(TINY.training, epochs=2))
    assert equal(Longer(2).purify(JOB).model, PLAIN.purify(twice).model)
    assert Longer(2).purify(JOB).sentences == 2 * 96


def test_random_groups_go_in_a_fixed_order_until_one_fails() -> None:
    env = gym.make("BertHeadPrune-v0", victim="tiny-syntactic", on_violation="backtrack", max_accuracy_drop=0.3)
    masks = []
    for _ in range(2):
        observation, _ = env.reset(seed=1)
        done = False
        while not done:
            action, _ = RandomFirst(7).predict(observation)
            failed = bool(observation["failed"].any())
            assert not failed or (action[-1] == 1 and not action[:-1].any())
            observation, _, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
        masks.append(observation["mask"].tolist())
    assert masks[0] == masks[1]
    assert 0 < sum(masks[0]) < 16
    action, _ = RandomFirst(8).predict(env.reset(seed=1)[0])
    assert action[:-1].sum() == 2


def test_rates_are_multiples_of_the_protocols() -> None:
    assert training_for(TINY.training, None, HOT).learning_rate == 10 * TINY.training.learning_rate
    warm = [get_method(name) for name in METHODS if name.startswith("candidate-")]
    assert {method.rate_factor for method in warm} == {5.0, 10.0}
    assert all(method.regime == "clean_only" and "(candidate)" in method.summary for method in warm)


def test_a_plain_loss_is_untouched_by_a_radius_of_zero() -> None:
    model = task().suspect.model()
    architecture = describe(model)
    torch.manual_seed(0)
    one = gradients(model, cross_entropy()(architecture, batch()))
    mine = gradients(model, sharpness_aware(plain, 0.0)(architecture, batch()))
    again = gradients(model, plain(architecture, batch()))
    assert all(torch.allclose(mine[name], again[name], atol=1e-7) for name in again)
    assert one.keys() == mine.keys()
