"""Candidates for a defence of the project's own: what was tried on development data, failures included.

Each is a full method, so that what was tried is a record like any other and can be replayed. Most prune a random two
thirds of each layer (`random-third`), which removes more than the paper's rankings and searches nothing; they differ in
what is done against the accuracy it costs. Their rate is a multiple of the protocol's (2e-5 on SST-2, so 1e-4 at five
times): the warmer rate is half of the defence. What they are chosen by, and where, is declared in
`baselines/PROTOCOL.md`. `hybrid` is the one that was kept: `vote`.

| candidate | idea |
| --- | --- |
| vote | three members with masks and streams of their own, which vote (as `ensemble`, without a threshold) |
| soup | the same three, their weights averaged to one model (model soups, Wortsman et al. 2022) |
| distil | half of the loss is the plainly fine-tuned model's soft labels on the clean sentences (Hinton et al. 2015) |
| sharpness | sharpness-aware steps (Foret et al. 2021; against backdoors FT-SAM, Zhu et al. 2023), all heads kept |
| third-sharpness | the same on a random third |
| reinit | the two thirds get new weights instead of being pruned, so that capacity stays |
| epochs | a random third, fine-tuned for twice the epochs |
| hot, ft-hot | ten times the rate, on a random third and on all heads |
| best | of eight random thirds the one with the best accuracy *after a short recovery*, at a warm rate |
| recovered | random groups go while accuracy *after a short recovery* holds, two points under the full mask's |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prune_env.baselines.ensemble import Members
from prune_env.baselines.random_heads import RANDOM_THIRD
from prune_env.baselines.reinit import NewHeads
from prune_env.baselines.sharpness import SharpnessAware
from prune_env.engine.architecture import Architecture, describe
from prune_env.engine.batching import plan
from prune_env.engine.device import resolve_device
from prune_env.engine.forward import forward
from prune_env.importance.passes import BATCH_TOKENS
from prune_env.methods import Method, Recovery
from prune_env.observation import Observation
from prune_env.recovery import PLAIN, Job, Purified, begin, finish, fit
from prune_env.scripted import Action, choose, group_size, prune
from prune_env.types import HeadMask
from prune_env.victims.training import Batch, LossFunction, make_batch

WARM = 5.0
"""Times the protocol's rate."""


@dataclass(frozen=True)
class Soup:
    """Plain recovery of every member, and the mean of their weights."""

    def purify(self, job: Job) -> Purified:
        """Returns one model; a head that a member pruned counts there with an output of zero."""
        voters = Members().purify(job)
        states = [model.state_dict() for model in voters.models]
        with torch.no_grad():
            for name, values in voters.model.state_dict().items():
                if values.is_floating_point():
                    values.copy_(torch.stack([state[name] for state in states]).mean(0))
        return replace(voters, others=())


@dataclass(frozen=True)
class Distilled:
    """Plain recovery with soft labels beside the given ones.

    The teacher is the defender's own scoring model: plainly fine-tuned, the backdoor still in it, but shown clean
    sentences only.

    Attributes:
        weight: Of the soft labels; the rest is the given labels'.
        temperature: Divides both models' logits.
    """

    weight: float = 0.5
    temperature: float = 2.0

    def purify(self, job: Job) -> Purified:
        """Scores the clean training sentences once and fine-tunes the suspect's encoder."""
        teacher = soft_labels(job, self.temperature)
        begun = begin(job)
        fit(job, begun, distilled(job.mask, teacher, self.weight, self.temperature))
        return finish(job, begun)


def soft_labels(job: Job, temperature: float) -> Tensor:
    """Returns the scoring model's probabilities of the training sentences without dropout, (N, labels)."""
    model = job.task.scoring_model()
    model.to(resolve_device(job.device))  # type: ignore[arg-type]  # transformers hides the signature
    tokens = job.task.tokens("train", job.task.tokenizer(model))
    architecture = describe(model)
    found = torch.zeros(len(tokens), architecture.labels)
    device = next(model.parameters()).device
    with torch.no_grad():
        for index in plan(tokens.lengths, BATCH_TOKENS, 0):
            batch = make_batch(tokens, index, device)
            logits = forward(architecture, batch.input_ids, batch.lengths)
            found[torch.from_numpy(index)] = (logits.float() / temperature).softmax(-1).cpu()
    return found


def distilled(head_mask: HeadMask, teacher: Tensor, weight: float, temperature: float) -> LossFunction:
    """Returns (1 - weight) * cross-entropy + weight * temperature^2 * KL(teacher, student)."""

    def loss(architecture: Architecture, batch: Batch) -> Tensor:
        logits = forward(architecture, batch.input_ids, batch.lengths, head_mask=head_mask, training=True).float()
        target = teacher[torch.from_numpy(batch.index)].to(logits.device)
        student = (logits / temperature).log_softmax(-1)
        soft = functional.kl_div(student, target, reduction="batchmean") * temperature**2
        return (1.0 - weight) * functional.cross_entropy(logits, batch.labels) + weight * soft

    return loss


@dataclass(frozen=True)
class Longer:
    """Plain recovery for more epochs.

    Attributes:
        factor: Times the protocol's epochs.
    """

    factor: int = 2

    def purify(self, job: Job) -> Purified:
        """Fine-tunes the suspect's encoder."""
        return PLAIN.purify(replace(job, training=replace(job.training, epochs=self.factor * job.training.epochs)))


def _candidate(name: str, summary: str, recovery: Recovery | None = None, episodes: int = 1) -> Method:
    """Returns a warm method on random thirds."""
    return replace(
        RANDOM_THIRD,
        name=f"candidate-{name}",
        summary=f"{summary} (candidate)",
        kind="own",
        recovery=recovery,
        rate_factor=WARM,
        episodes=episodes,
    )


@dataclass(frozen=True)
class RandomFirst:
    """Prunes random groups until one fails.

    Attributes:
        seed: Decides the order.
    """

    seed: int

    def predict(
        self, observation: Observation, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Action, Any]:
        """Returns the next group of a fixed random order, or stop once heads have failed or none can go."""
        order = np.random.default_rng(self.seed).permutation(len(observation["mask"]))
        group = choose(observation, order, group_size(observation))
        done = bool(observation["failed"].any()) or not group
        return prune(observation, [] if done else group, stop=done), state


VOTE = _candidate("vote", "three random thirds at a warm rate that vote", Members(), episodes=3)
SOUP = _candidate("soup", "three random thirds at a warm rate, averaged", Soup(), episodes=3)
DISTIL = _candidate("distil", "a random third at a warm rate, with the fine-tuned model's soft labels", Distilled())
THIRD_SHARPNESS = _candidate("third-sharpness", "a random third, sharpness-aware", SharpnessAware())
NEW_HEADS = _candidate("reinit", "two random thirds get new weights, at a warm rate", NewHeads())
EPOCHS = _candidate("epochs", "a random third at a warm rate, twice the epochs", Longer())
HOT = replace(_candidate("hot", "a random third at ten times the rate"), rate_factor=2 * WARM)
FT_HOT = Method(
    "candidate-ft-hot", "plain fine-tuning at ten times the rate (candidate)", rate_factor=2 * WARM, kind="own"
)
SHARPNESS = Method(
    "candidate-sharpness",
    "every head kept, sharpness-aware at a warm rate (candidate)",
    kind="own",
    recovery=SharpnessAware(),
    rate_factor=WARM,
)

RECOVERED = Method(
    "candidate-recovered",
    "random groups while accuracy after a short recovery holds, then a warm rate (candidate)",
    policy=lambda context: RandomFirst(context.seed),
    metrics=("gradient",),
    environment={"on_violation": "backtrack"},
    constraint={"max_accuracy_drop": 0.02},
    kind="own",
    recover_on=1600,
    rate_factor=WARM,
)
BEST = replace(
    _candidate("best", "of eight random thirds the best after a short recovery, at a warm rate", episodes=8),
    best=True,
    recover_on=1600,
)
