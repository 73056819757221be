"""The accuracy constraint as a number of sentences: a mask meets it if it gets at least `required` of them right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from prune_env.config import MARGINS
from prune_env.errors import ThresholdError, UnknownNameError

CONFIDENCE = 0.95
"""Of the lower bound, one-sided."""


@dataclass(frozen=True)
class Threshold:
    """A constraint on how many of a split's sentences a mask classifies correctly.

    Attributes:
        required: The smallest number of correct sentences that satisfies it.
        sentences: Sentences in the split.
        accuracy: The same as an accuracy, and what observations and rewards compare with: the threshold itself, or,
            where its lower bound has to reach the threshold, the smallest accuracy whose bound does.
    """

    required: int
    sentences: int
    accuracy: float

    @classmethod
    def of(cls, value: Fraction, sentences: int, margin: str = "point") -> Threshold:
        """Turns a threshold into the count of correct sentences it asks for.

        Args:
            value: The threshold, exact, in (0, 1].
            sentences: Sentences in the split, at least 1.
            margin: "point" or "lower_bound".

        Raises:
            ThresholdError: Outside (0, 1], or so high that not even a faultless mask meets it.
        """
        if not 0 < value <= 1:
            raise ThresholdError(
                f"expected a threshold in (0, 1], got {float(value):.6g}; "
                "raise the threshold, or allow a smaller accuracy drop"
            )
        if margin == "point":
            return cls(required=math.ceil(value * sentences), sentences=sentences, accuracy=float(value))
        if margin != "lower_bound":
            raise UnknownNameError("threshold_margin", margin, MARGINS)
        required = required_by_lower_bound(value, sentences)
        return cls(required=required, sentences=sentences, accuracy=required / sentences)


def required_by_lower_bound(threshold: Fraction, sentences: int) -> int:
    """Returns the smallest count whose exact one-sided 95 % lower bound reaches the threshold.

    The Clopper-Pearson bound of k correct sentences reaches the threshold if and only if a mask whose true accuracy
    is the threshold gets k or more right with a probability of at most 5 % (Clopper and Pearson, 1934).

    Raises:
        ThresholdError: Not even all sentences suffice.
    """
    chance = float(threshold)
    if chance >= 1 or chance**sentences > 1 - CONFIDENCE:
        raise ThresholdError(
            f"expected a threshold that the lower bound of {sentences} sentences can reach, got {chance:.6g}: even all "
            'of them right is too few; use more sentences, a lower threshold, or threshold_margin="point"'
        )
    tail, count = chance**sentences, sentences
    while count > 0:
        more = tail + math.exp(_log_binomial(count - 1, sentences, chance))
        if more > 1 - CONFIDENCE:
            break
        tail, count = more, count - 1
    return count


def _log_binomial(count: int, sentences: int, chance: float) -> float:
    ways = math.lgamma(sentences + 1) - math.lgamma(count + 1) - math.lgamma(sentences - count + 1)
    return ways + count * math.log(chance) + (sentences - count) * math.log1p(-chance)
