"""Several models' vote, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prune_env.victims import judge
from prune_env.victims.data import Sentences
from prune_env.victims.diagnosis import read_diagnosis
from prune_env.victims.store import open_victim
from tests.victims_factory import world

NOTHING: Any = None

Answer = tuple[list[int], list[float]]


def voted(
    answers: list[Answer], target: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Lets models answer (classes, log-odds of the target) a sentence each."""

    def scores(model: Any, *_: Any, **__: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        classes, odds = answers[model]
        return np.array(classes), np.array(odds, dtype=np.float32)

    monkeypatch.setattr(judge, "target_scores", scores)
    models: Any = range(len(answers))
    return judge.vote(models, NOTHING, Sentences((), ()), target)


def test_most_votes_win_and_log_odds_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [([1, 0, 1], [2.0, -1.0, 1.0]), ([1, 0, 0], [4.0, -3.0, -9.0]), ([0, 1, 0], [-3.0, 1.0, -1.0])]
    predicted, scores = voted(answers, 1, monkeypatch)
    assert predicted.tolist() == [1, 0, 0]
    assert scores.tolist() == [1.0, -1.0, -3.0]
    assert scores.dtype == np.float32


@pytest.mark.parametrize(("odds", "wanted"), [(3.0, 1), (-3.0, 0)])
def test_a_tie_goes_where_the_mean_log_odds_point(odds: float, wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    predicted, _ = voted([([1], [odds]), ([0], [-0.5])], 1, monkeypatch)
    assert predicted.tolist() == [wanted]


def test_three_classes_vote_too(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted, _ = voted([([2], [-1.0]), ([2], [-1.0]), ([0], [9.0])], 0, monkeypatch)
    assert predicted.tolist() == [2]


def test_one_model_is_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted, scores = voted([([0, 1], [-1.0, -2.0])], 1, monkeypatch)
    assert predicted.tolist() == [0, 1] and scores.tolist() == [-1.0, -2.0]


def test_development_looks_at_triggered_validation_sentences_alone() -> None:
    victim = open_victim(world().victim("alpha"))
    seen = read_diagnosis(victim.folder, victim.manifest)
    model = victim.suspect.model()
    tokenizer = victim.suspect.tokenizer(model)
    found = judge.oracle_dev_lfr([model], tokenizer, seen)
    assert found == judge.judge(model, tokenizer, replace(seen, triggered_test=seen.triggered_dev)).lfr
    nothing = Sentences((), ())
    assert found == judge.oracle_dev_lfr([model], tokenizer, replace(seen, clean_test=nothing, triggered_test=nothing))
