"""What is known of a mask before it is fine-tuned: what a search sees, and what a judge could see of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.config import EnvConfig
from prune_env.engine.evaluator import Evaluator
from prune_env.engine.tokens import TokenizedSplit, tokenize
from prune_env.env import BertHeadPruneEnv
from prune_env.importance import METRICS
from prune_env.scoring import Scoring
from prune_env.types import HeadMasks, HeadScores
from prune_env.victims.data import Sentences
from prune_env.victims.diagnosis import Diagnosis


@dataclass(frozen=True)
class Beforehand:
    """What a scoring model says of masks.

    Attributes:
        threshold: Accuracy on `search` that the environment holds a mask to.
        importance: (layers, heads) by metric.
        returns: The environment's return of each mask, (N,).
        search_accuracy: Masked accuracy on `search`, (N,).
        acc: Masked ACC on the judge's clean test sentences, (N,).
        lfr: Masked LFR on the judge's triggered test sentences, (N,).
    """

    threshold: float
    importance: dict[str, HeadScores]
    returns: NDArray[np.float64]
    search_accuracy: NDArray[np.float64]
    acc: NDArray[np.float64]
    lfr: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values, rounded where nothing is lost that is worth keeping."""
        rates = {name: getattr(self, name).tolist() for name in ("returns", "search_accuracy", "acc", "lfr")}
        scores = {name: [[float(f"{x:.6g}") for x in row] for row in found] for name, found in self.importance.items()}
        return {"threshold": self.threshold, "importance": scores, **rates}


def beforehand(scoring: Scoring, diagnosis: Diagnosis, masks: HeadMasks, max_accuracy_drop: float) -> Beforehand:
    """Measures every mask on the scoring model, without any fine-tuning.

    Args:
        scoring: The task's scoring model.
        diagnosis: The judge's sentences: for the diagnosis, nothing is chosen by them.
        masks: bool (N, layers, heads).
        max_accuracy_drop: The environment's constraint.
    """
    task = scoring.task
    length = task.protocol.training.max_length

    def tokens(sentences: Sentences) -> TokenizedSplit:
        return tokenize(scoring.tokenizer, sentences.texts, sentences.labels, length)

    fooled = diagnosis.triggered_test.excluding(diagnosis.target).relabelled(diagnosis.target)
    search = scoring.evaluator("search")
    importance = scoring.importance(METRICS)
    threshold, returns = mask_returns(search, importance, masks, max_accuracy_drop)
    return Beforehand(
        threshold=threshold,
        importance=importance,
        returns=returns,
        search_accuracy=search.accuracy(masks),
        acc=scoring.evaluate_on(tokens(diagnosis.clean_test)).accuracy(masks),
        lfr=scoring.evaluate_on(tokens(fooled)).accuracy(masks),
    )


def mask_returns(
    evaluator: Evaluator, importance: dict[str, HeadScores], masks: HeadMasks, max_accuracy_drop: float
) -> tuple[float, NDArray[np.float64]]:
    """Plays, for each mask, the episode that asks for it in one step and stops; the default reward.

    A mask that holds the threshold returns its pruned fraction, by whatever steps it is reached. One that does not
    returns what the set costs that misses the threshold.

    Args:
        evaluator: Accuracy on `search`.
        importance: At least one metric; it decides nothing, since no mask empties a layer.
        masks: bool (N, layers, heads).
        max_accuracy_drop: The constraint.

    Returns:
        The threshold, and the returns (N,).
    """
    # The whole set in one step: that limit belongs to a search, and not to what a mask is worth.
    env = BertHeadPruneEnv(
        evaluator, importance, EnvConfig(max_accuracy_drop=max_accuracy_drop, max_heads_per_step=None)
    )
    returns = []
    for mask in masks:
        env.reset(seed=0)
        _, reward, terminated, _, info = env.step(np.append(~mask.reshape(-1), True).astype(np.int8))
        if not terminated or not (info["violation"] or np.array_equal(info["head_mask"], mask)):
            raise RuntimeError("an episode of one step did not end at the mask it asked for")
        returns.append(reward)
    return env.measurement.threshold.accuracy, np.array(returns)
