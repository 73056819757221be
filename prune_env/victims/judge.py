"""Judging a model with what only a judge may know: ACC, LFR, AUC, and every sentence's prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prune_env.engine.tokens import tokenize
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.metrics import accuracy, accuracy_by_class, auc, auc_sd, label_flip_rate
from prune_env.types import full_mask
from prune_env.victims.data import Sentences
from prune_env.victims.diagnosis import Diagnosis


@dataclass(frozen=True)
class Judgement:
    """What a model does on the judge's sentences; rates are in [0, 1].

    Attributes:
        acc: Accuracy on the clean test sentences.
        acc_by_class: Each class's recall there.
        lfr: Share of triggered non-target sentences classified as the target.
        auc: Triggered target sentences against triggered non-target ones, by the target's log-odds.
        auc_sd: Standard error of AUC over the sentences.
        correct: Which clean test sentences are right, bool (N,).
        flipped: Which triggered non-target sentences are classified as the target, bool (M,).
        scores: The target's log-odds on all triggered sentences, float32 (T,), and `is_target`, bool (T,).
        is_target: Which triggered sentences are of the target class, bool (T,).
    """

    acc: float
    acc_by_class: dict[int, float]
    lfr: float
    auc: float
    auc_sd: float
    correct: NDArray[np.bool_]
    flipped: NDArray[np.bool_]
    scores: NDArray[np.float32]
    is_target: NDArray[np.bool_]


def judge(
    models: PreTrainedModel | Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    diagnosis: Diagnosis,
    max_length: int = 128,
    device: str = "cpu",
) -> Judgement:
    """Measures a finished model, or several that vote, in float32.

    Args:
        models: The published or purified model, with its head, or an ensemble's.
        tokenizer: Its tokenizer.
        diagnosis: The judge's sentences.
        max_length: Tokens kept of a sentence.
        device: Where to compute.

    Raises:
        DataError: Triggered sentences that are all, or none of them, of the target class.
        TokenizerError: Sentences longer than the model reads.
    """
    target = diagnosis.target
    clean, triggered = diagnosis.clean_test, diagnosis.triggered_test
    members = [models] if isinstance(models, PreTrainedModel) else list(models)
    predicted = vote(members, tokenizer, clean, target, max_length=max_length, device=device)[0]
    fooled, scores = vote(members, tokenizer, triggered, target, max_length=max_length, device=device)
    truth, original = np.array(clean.labels), np.array(triggered.labels)
    is_target = original == target
    return Judgement(
        acc=accuracy(predicted, truth),
        acc_by_class=accuracy_by_class(predicted, truth),
        lfr=label_flip_rate(fooled, original, target),
        auc=auc(scores[is_target], scores[~is_target]),
        auc_sd=auc_sd(scores[is_target], scores[~is_target]),
        correct=predicted == truth,
        flipped=fooled[~is_target] == target,
        scores=scores,
        is_target=is_target,
    )


def voted_accuracy(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sentences,
    max_length: int = 128,
    device: str = "cpu",
) -> float:
    """Returns the share of sentences, such as a task's `certify`, that one model or the vote of several gets right."""
    predicted, _ = vote(models, tokenizer, sentences, 0, max_length=max_length, device=device)
    return accuracy(predicted, np.array(sentences.labels))


def oracle_dev_lfr(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    diagnosis: Diagnosis,
    max_length: int = 128,
    device: str = "cpu",
) -> float:
    """Returns LFR on triggered VALIDATION sentences, in [0, 1]: for developing defences without the test set."""
    triggered, target = diagnosis.triggered_dev, diagnosis.target
    predicted, _ = vote(models, tokenizer, triggered, target, max_length=max_length, device=device)
    return label_flip_rate(predicted, np.array(triggered.labels), target)


def vote(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sentences,
    target: int,
    *,
    max_length: int = 128,
    device: str = "cpu",
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Returns the class that most models predict (N,), and the mean of their log-odds of the target class (N,).

    Of classes with as many votes it is the target where the mean log-odds are positive, else the lowest other one.
    """
    found = [target_scores(one, tokenizer, sentences, target, max_length=max_length, device=device) for one in models]
    if len(found) == 1:
        return found[0]
    mean: NDArray[np.float64] = np.stack([scores for _, scores in found]).mean(axis=0, dtype=np.float64)
    classes = np.stack([predicted for predicted, _ in found])
    votes = np.stack([(classes == label).sum(axis=0) for label in range(int(classes.max(initial=target)) + 1)])
    # Half a vote breaks ties and nothing else.
    ballots = votes.astype(np.float64)
    ballots[target] += np.where(mean > 0.0, 0.5, -0.5)
    return ballots.argmax(axis=0), mean.astype(np.float32)


def target_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sentences,
    target: int,
    *,
    max_length: int = 128,
    device: str = "cpu",
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Returns each sentence's predicted class (N,) and the log-odds of the target class (N,)."""
    tokens = tokenize(tokenizer, sentences.texts, sentences.labels, max_length)
    evaluator = TransformerEvaluator(model, tokens, device=device, prefix_bytes=0)
    logits = evaluator.logits(full_mask(evaluator.layers, evaluator.heads)).astype(np.float64)
    others = np.delete(logits, target, axis=1)
    peak = others.max(axis=1)
    rest = peak + np.log(np.exp(others - peak[:, None]).sum(axis=1))
    return logits.argmax(axis=1), (logits[:, target] - rest).astype(np.float32)
