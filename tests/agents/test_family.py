"""Training on one set of twins, judging on another."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune_env.agents import environments, family
from prune_env.agents.family import FamilyTraining, judge_on, train_on_family
from prune_env.agents.saved import load_agent
from prune_env.errors import ConfigError, UnknownNameError
from tests.agents.twins import twin_file

TINY = FamilyTraining(steps=200, n_envs=8, train="embedded", test="embedded")


def test_every_victim_of_the_test_set_is_judged_without_training_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = [twin_file(name) for name in ("random-2x3-7", "random-3x2-1")]
    known = environments.yardsticks_of
    monkeypatch.setattr(family, "list_twins", lambda split: tests if split == "embedded" else [])
    # The random episodes that the regrets of four whole twins are measured by would take most of the time.
    monkeypatch.setattr(family, "yardsticks_of", lambda choice: None if choice.victim == "embedded" else known(choice))
    result = train_on_family(tmp_path, 0, TINY)
    assert [one.victim for one in result.test] == tests
    assert result.trained.steps == 200 and load_agent(tmp_path).card.slots == 16
    assert result.regret == pytest.approx(sum(one.regret for one in result.test) / 2)
    assert all(one.regret > -1e-6 and one.certified_regret >= 0 and one.evaluations >= 1 for one in result.test)
    assert judge_on(load_agent(tmp_path), tests, 0) == result.test, "the same seed, the same episodes"
    with pytest.raises(ConfigError, match="got none"):
        train_on_family(tmp_path, 0, FamilyTraining(test="family-test"))


def test_a_set_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="family-test"):
        train_on_family(tmp_path, 0, FamilyTraining(test="family-tests"))
