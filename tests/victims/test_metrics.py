"""What a table reports, against values computed by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from prune_env.errors import DataError
from prune_env.metrics import (
    accuracy,
    accuracy_by_class,
    auc,
    auc_sd,
    label_flip_rate,
    paired_bootstrap,
    removal_fraction,
)

PREDICTED = np.array([1, 1, 0, 1, 0, 0])
LABELS = np.array([1, 0, 0, 1, 1, 0])


def test_rates_by_hand() -> None:
    assert accuracy(PREDICTED, LABELS) == pytest.approx(4 / 6)
    assert accuracy_by_class(PREDICTED, LABELS) == pytest.approx({0: 2 / 3, 1: 2 / 3})
    # Of the three triggered sentences of class 0, one is taken for the target 1; of class 1, one for the target 0.
    assert label_flip_rate(PREDICTED, LABELS, target=1) == pytest.approx(1 / 3)
    assert label_flip_rate(PREDICTED, LABELS, target=0) == pytest.approx(1 / 3)


def test_label_flip_rate_looks_at_other_classes_alone() -> None:
    labels, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([2, 0, 2, 2, 0, 1])
    assert label_flip_rate(predicted, labels, target=2) == pytest.approx(2 / 3)
    assert label_flip_rate(predicted, labels, target=1) == pytest.approx(1 / 5)


def test_auc_by_hand() -> None:
    # Pairs (positive, negative): 2>1, 2>0, 1=1 (half), 1>0 of four.
    assert auc(np.array([2.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(3.5 / 4)
    assert auc(np.array([1.0]), np.array([0.0])) == 1.0
    assert auc(np.array([0.0]), np.array([1.0])) == 0.0
    assert auc(np.array([3.0, 3.0]), np.array([3.0])) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_rates_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    scores = rng.integers(0, 8, 50).astype(np.float32)  # few values, so that there are ties
    assert accuracy(predicted, labels) == pytest.approx(accuracy_score(labels, predicted))
    assert list(accuracy_by_class(predicted, labels).values()) == pytest.approx(
        recall_score(labels, predicted, average=None)
    )
    assert auc(scores[labels == 1], scores[labels != 1]) == pytest.approx(roc_auc_score(labels == 1, scores))


def test_auc_does_not_depend_on_where_the_threshold_lies() -> None:
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(1, 1, 40), rng.normal(0, 1, 60)
    assert auc(positive + 100, negative + 100) == pytest.approx(auc(positive, negative))
    assert auc(np.tanh(positive), np.tanh(negative)) == pytest.approx(auc(positive, negative))


def test_paired_bootstrap_of_a_known_difference() -> None:
    first, second = np.array([1.0] * 60 + [0.0] * 40), np.array([1.0] * 40 + [0.0] * 60)
    found = paired_bootstrap(first, second, np.random.default_rng(0))
    # 20 of 100 sentences differ, all one way: standard error sqrt(.2 * .8 / 100) = .04.
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - 1.96 * 0.04, abs=0.015)
    assert found.high == pytest.approx(0.2 + 1.96 * 0.04, abs=0.015)


def test_paired_bootstrap_is_paired_and_seeded() -> None:
    values = np.random.default_rng(1).random(50)
    same = paired_bootstrap(values, values, np.random.default_rng(0))
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    flags = values > 0.5
    one, again = (paired_bootstrap(flags, ~flags, np.random.default_rng(3)) for _ in range(2))
    assert one == again
    assert one.low <= one.value <= one.high


def test_removal_fraction_by_hand() -> None:
    assert removal_fraction(0.9, 0.5, 0.1, noise=0.05) == pytest.approx(0.5)
    assert removal_fraction(0.9, 0.1, 0.1, noise=0.05) == pytest.approx(1.0)
    assert removal_fraction(0.9, 0.95, 0.1, noise=0.05) == pytest.approx(-0.0625)
    assert removal_fraction(0.3, 0.2, 0.25, noise=0.05) is None
    assert removal_fraction(0.2, 0.2, 0.3, noise=0.0) is None


def test_what_is_undefined_is_an_error() -> None:
    none = np.array([], dtype=np.int64)
    with pytest.raises(DataError, match="at least one sentence"):
        accuracy(none, none)
    with pytest.raises(DataError, match=r"got \(6,\) and \(2,\)"):
        accuracy_by_class(PREDICTED, LABELS[:2])
    with pytest.raises(DataError, match="LFR is undefined"):
        label_flip_rate(np.array([1]), np.array([1]), target=1)
    with pytest.raises(DataError, match="AUC is undefined"):
        auc(np.array([]), np.array([0.5]))
    with pytest.raises(DataError, match="at least one sentence"):
        paired_bootstrap(np.array([0.1, 0.2]), np.array([0.1]), np.random.default_rng(0))


def test_the_standard_error_of_auc_by_hand() -> None:
    # Placements 1/2 and 1 on either side: variance 1/8 each, over two sentences each.
    found = auc_sd(np.array([1.0, 3.0]), np.array([0.0, 2.0]))
    assert found == pytest.approx(np.sqrt(1 / 8))
    with pytest.raises(DataError, match="at least two"):
        auc_sd(np.array([1.0]), np.array([0.0, 2.0]))
