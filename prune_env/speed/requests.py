"""The masks of each workload: drawn, listed, or recorded once from the real environment and policy.

A recorded sequence holds what the environment asks of its evaluator, violating masks included, so that each contestant
answers the same questions in the same order. Repeated masks stay in it where many episodes are recorded; within one
episode a mask counts once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prune_env.agents.epsilon_greedy import EpsilonGreedy
from prune_env.baselines.gradient import LowestFirst
from prune_env.config import EnvConfig
from prune_env.engine.evaluator import Evaluator
from prune_env.env import BertHeadPruneEnv
from prune_env.importance import score
from prune_env.rollout import rollout
from prune_env.speed.contestants import Contestant, ours
from prune_env.speed.subject import Subject
from prune_env.types import HeadMasks, full_mask

RECORDING_SENTENCES, SCORING_SENTENCES = 64, 64
"""The episodes are recorded on the first sentences only: which masks are asked for is real, and recording is cheap."""

DROP = 0.05
"""Accuracy that the recorded episodes may lose."""


@dataclass(frozen=True)
class Requests:
    """A workload's questions.

    Attributes:
        masks: bool (R, layers, heads), in their order.
        together: Whether they are asked in one call, or one by one.
    """

    masks: HeadMasks
    together: bool = False

    def __len__(self) -> int:
        """Returns the number of evaluations asked for."""
        return len(self.masks)

    @property
    def distinct(self) -> int:
        """How many of the masks are different."""
        return len({mask.tobytes() for mask in self.masks})

    def sampled(self, count: int | None, seed: int) -> Requests:
        """Returns `count` of the requests at random, in their order; all of them for None or where there are fewer."""
        if count is None or count >= len(self):
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self), size=count, replace=False))
        return replace(self, masks=self.masks[chosen])

    def ask(self, contestant: Contestant) -> None:
        """Asks a contestant for every accuracy."""
        if self.together:
            contestant.accuracy(self.masks)
        else:
            for mask in self.masks:
                contestant.accuracy(mask[None])


def random_masks(count: int, layers: int, heads: int, seed: int) -> HeadMasks:
    """Draws masks that keep each head with probability 1/2, and at least one in each layer."""
    rng = np.random.default_rng(seed)
    masks = rng.random((count, layers, heads)) < 0.5
    np.put_along_axis(masks, rng.integers(0, heads, (count, layers, 1)), True, axis=2)
    return masks


def ablation_sweep(layers: int, heads: int) -> Requests:
    """Returns every mask that lacks one head, asked in one call."""
    masks = np.repeat(full_mask(layers, heads)[None], layers * heads, axis=0)
    masks.reshape(len(masks), -1)[np.arange(len(masks)), np.arange(len(masks))] = False
    # A model of one head a layer has nothing to remove.
    whole = np.logical_and.reduce(masks.any(axis=2), axis=1)
    return Requests(masks[whole], together=True)


def gradient_episode(subject: Subject, seed: int) -> Requests:
    """Records one episode of gradient-based pruning in groups, with backtracking; no mask comes twice in an episode."""
    config = EnvConfig(max_accuracy_drop=DROP, on_violation="backtrack")
    recorder, env = _environment(subject, "gradient", config, seed)
    rollout(env, LowestFirst("gradient"), seed)
    masks = list({mask.tobytes(): mask for mask in recorder.asked}.values())
    return Requests(np.stack(masks))


def epsilon_greedy_steps(subject: Subject, seed: int, steps: int, epsilon: float = 0.1) -> Requests:
    """Records so many steps of the paper's agent with one head a step, over as many episodes as they take."""
    config = EnvConfig(max_accuracy_drop=DROP, on_violation="terminate")
    recorder, env = _environment(subject, "attention_variance", config, seed)
    policy, done, episode = EpsilonGreedy(seed, epsilon=epsilon, group=1), 0, 0
    while done < steps:
        observation, over = env.reset(seed=seed + episode)[0], False
        while not over and done < steps:
            observation, _, terminated, truncated, _ = env.step(policy.predict(observation)[0])
            over, done = terminated or truncated, done + 1
        episode += 1
    return Requests(np.stack(recorder.asked))


class Recorder:
    """Hands questions on to an evaluator and keeps them; implements `Evaluator`."""

    def __init__(self, evaluator: Evaluator) -> None:
        """Starts with an empty list."""
        self._evaluator = evaluator
        self.asked: list[NDArray[np.bool_]] = []

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return self._evaluator.layers

    @property
    def heads(self) -> int:
        """Heads in each layer."""
        return self._evaluator.heads

    @property
    def sentences(self) -> int:
        """Sentences in the split."""
        return self._evaluator.sentences

    def accuracy(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns the evaluator's answer, float64 (K,)."""
        self.asked += [mask.copy() for mask in masks]
        return self._evaluator.accuracy(masks)


class Priced:
    """A stand-in for the accuracy of random weights, which says nothing: every head costs its own price.

    Without half of the price accuracy is `DROP` lower, so that episodes are as long as on trained victims, which lose
    about half of their heads. Implements `Evaluator`.
    """

    def __init__(self, layers: int, heads: int, seed: int, sentences: int = 1000) -> None:
        """Draws the prices."""
        self.layers, self.heads, self.sentences = layers, heads, sentences
        prices = np.random.default_rng(seed).random((layers, heads))
        self._prices = prices / prices.sum()

    def accuracy(self, masks: HeadMasks) -> NDArray[np.float64]:
        """Returns the stand-in, float64 (K,), in whole sentences."""
        lost = 2 * DROP * ((~masks) * self._prices).sum(axis=(1, 2))
        counts: NDArray[np.float64] = np.rint((0.9 - lost) * self.sentences)
        return counts / self.sentences


def _environment(subject: Subject, metric: str, config: EnvConfig, seed: int) -> tuple[Recorder, BertHeadPruneEnv]:
    few = subject.tokens.subset(range(min(len(subject.tokens), RECORDING_SENTENCES)))
    sample = subject.training.subset(range(min(len(subject.training), SCORING_SENTENCES)))
    if subject.weights == "random":
        recorder = Recorder(Priced(subject.layers, subject.heads, seed))
    else:
        recorder = Recorder(ours(subject.model, few, "cpu", "float32", reuse=True))
    return recorder, BertHeadPruneEnv(recorder, {metric: score(metric, subject.model, sample)}, config)
