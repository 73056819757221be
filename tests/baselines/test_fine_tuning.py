"""Plain fine-tuning, cold and warm: no mask, no search, and a rate that is the paper's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prune_env.baselines.fine_tuning import FT, FTH
from prune_env.defense import defend, purify, training_for
from prune_env.methods import Method
from prune_env.search import search_config
from prune_env.types import full_mask
from prune_env.victims.training_config import TrainingConfig
from tests.test_defense import SEARCH, equal, task
from tests.victims_factory import TINY


@pytest.mark.parametrize("method", [FT, FTH])
def test_neither_searches_nor_prunes(method: Method) -> None:
    assert method.policy is None and method.recovery is None
    assert search_config(method, SEARCH) == {}


def test_the_warm_rate_is_the_papers() -> None:
    paper = TrainingConfig(learning_rate=2e-5)
    assert training_for(paper, None, FTH).learning_rate == 5e-5
    assert training_for(paper, None, FT).learning_rate == 2e-5


@pytest.mark.parametrize("rate", [None, 1e-5, 1e-2])
def test_the_warm_rate_is_no_setting_of_the_run(rate: float | None) -> None:
    assert training_for(TINY.training, rate, FTH) == replace(TINY.training, learning_rate=2.5e-3)


def test_warm_fine_tuning_is_plain_fine_tuning_at_its_rate() -> None:
    found, purified = defend(task(), FTH, SEARCH, training_for(TINY.training, None, FTH))
    assert found.mask.all() and found.evaluations == 0
    assert equal(purified.model, purify(task(), full_mask(2, 2), replace(TINY.training, learning_rate=2.5e-3)).model)
    assert not equal(purified.model, defend(task(), FT, SEARCH, TINY.training)[1].model)


def test_cold_fine_tuning_is_the_scoring_model() -> None:
    assert equal(defend(task(), FT, SEARCH, TINY.training)[1].model, task().scoring_model())
