"""What a masked scoring model does on triggered validation sentences: a diagnosis, no part of a clean-only search."""

from __future__ import annotations

from prune_env.engine.tokens import TokenizedSplit, tokenize
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.scoring import Scoring
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.store import Victim


def oracle_tokens(scoring: Scoring, victim: Victim) -> TokenizedSplit:
    """Returns the judge's triggered validation sentences of the other classes, labelled as the target."""
    diagnosis = open_diagnosis(victim)
    triggered = diagnosis.triggered_dev.excluding(diagnosis.target).relabelled(diagnosis.target)
    length = scoring.task.protocol.training.max_length
    return tokenize(scoring.tokenizer, triggered.texts, triggered.labels, length)


def oracle_evaluator(scoring: Scoring, victim: Victim) -> TransformerEvaluator:
    """Returns an evaluator whose accuracy is the scoring model's LFR: triggered sentences labelled as the target.

    It uses the judge's triggered VALIDATION sentences, so that nothing is ever chosen on the test set.
    """
    return scoring.evaluate_on(oracle_tokens(scoring, victim))
