"""Training on one set of twins, judging on another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prune_env.agents import family
from prune_env.agents.family import FamilyTraining, judge_on, train_family, train_on_family
from prune_env.agents.judge import Judgement, judge
from prune_env.agents.learned import method_of
from prune_env.agents.saved import SavedAgent, load_agent
from prune_env.agents.train import train
from prune_env.agents.training import Training
from prune_env.errors import ConfigError, UnknownNameError
from prune_env.tabular.registry import get_twin, list_twins
from tests.agents.twins import choice, twin_file

TINY = FamilyTraining(steps=200, n_envs=8, train="embedded", environment={"on_violation": "reject"})


def test_every_victim_of_the_test_set_is_judged_without_training_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = [twin_file(name) for name in ("random-2x3-7", "random-3x2-1")]
    monkeypatch.setattr(family, "list_twins", lambda split: tests if split == "family-test" else list_twins(split))
    # The random episodes that the regrets of four whole twins are measured by would take most of the time.
    monkeypatch.setattr(family, "yardsticks_of", lambda _: None)
    modes: list[str] = []

    def watched(agent: SavedAgent, made: Any, seed: int, deterministic: bool) -> Judgement:
        assert deterministic
        modes.extend(config.on_violation for config in made.get_attr("config", 0))
        return judge(agent, made, seed, deterministic)

    monkeypatch.setattr(family, "judge", watched)
    result = train_on_family(tmp_path, 0, TINY)
    assert [one.victim for one in result.test] == tests
    assert result.trained.steps == 200 and load_agent(tmp_path).card.slots == 16
    assert result.regret == pytest.approx(sum(one.regret for one in result.test) / 2)
    assert all(one.regret > -1e-6 and one.certified_regret >= 0 and one.evaluations >= 1 for one in result.test)
    assert judge_on(load_agent(tmp_path), tests, 0) == result.test, "the same seed, the same episodes"
    assert modes == ["reject"] * 4, "the agent's own environment where none is named"


def test_a_plain_policy_is_judged_on_the_victim_it_was_trained_on_alone(tmp_path: Path) -> None:
    twin = get_twin(twin_file("right"))
    other = replace(twin, name="other", meta={**twin.meta, "victim_sha256": "9" * 64}).save(tmp_path)
    copy = replace(twin, name="copy").save(tmp_path)
    for policy in ("mlp", "heads"):
        training = Training("ppo", policy, choice("right"), steps=100, n_envs=4, episodes=2)
        train(training, tmp_path / policy)
    plain, general = load_agent(tmp_path / "mlp"), load_agent(tmp_path / "heads")
    assert plain.card.training["victim_sha256"] == twin.meta["victim_sha256"]
    assert method_of(tmp_path / "mlp", "plain").victim_sha256 == twin.meta["victim_sha256"]
    assert method_of(tmp_path / "heads", "general").victim_sha256 is None
    with pytest.raises(ConfigError, match=r"right\.twin that this agent was trained on, got .*other\.twin"):
        judge_on(plain, [str(other)], 0)
    assert [one.victim for one in judge_on(plain, [str(copy)], 0)] == [str(copy)], "the same victim by another name"
    assert [one.victim for one in judge_on(general, [str(other)], 0)] == [str(other)]


def test_another_agent_is_trained_as_ppo_is_as_far_as_it_can_be() -> None:
    masked, values = FamilyTraining.of("maskable-ppo", 50, "reject"), FamilyTraining.of("dqn")
    assert (masked.agent, masked.steps, masked.environment["on_violation"]) == ("maskable-ppo", 50, "reject")
    assert masked.changes == FamilyTraining().changes and masked.policy_arguments == FamilyTraining().policy_arguments
    assert values.changes == {}, "DQN has neither epochs nor minibatches"
    assert "one_head" not in values.policy_arguments and values.policy_arguments["blocks"] == 0
    assert values.environment["metrics"] == FamilyTraining().environment["metrics"]


def test_a_set_without_twins_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "list_twins", lambda _: [])
    with pytest.raises(ConfigError, match="got none"):
        train_on_family(tmp_path, 0, FamilyTraining(train="embedded"))
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_a_victim_in_both_sets_is_refused_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="tiny-style"):
        train_family(tmp_path, 0, FamilyTraining(train="embedded", test="embedded"))
    copy = replace(get_twin("tiny-style"), name="stranger").save(tmp_path)
    monkeypatch.setattr(family, "list_twins", lambda split: [str(copy)] if split == "family-test" else ["tiny-style"])
    with pytest.raises(ConfigError, match="stranger"):
        train_family(tmp_path / "run", 0, FamilyTraining(train="embedded"))
    assert not (tmp_path / "run").exists()


def test_a_set_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="family-test"):
        train_on_family(tmp_path, 0, FamilyTraining(test="family-tests"))
