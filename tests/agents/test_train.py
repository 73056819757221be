"""Learning is real, an interrupted training goes on as if it had not been, and what is logged is there to be read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prune_env.agents import environments
from prune_env.agents import train as trainings
from prune_env.agents.environments import LIVE_ID, EnvChoice, best_id, yardsticks_of
from prune_env.agents.judge import Judgement, judge
from prune_env.agents.learned import method_of
from prune_env.agents.saved import load_agent
from prune_env.agents.sb3 import PPOSettings, make_algorithm, settings_of
from prune_env.agents.throughput import measure
from prune_env.agents.train import train
from prune_env.agents.training import Trained, Training, refusal
from prune_env.errors import CheckpointError, ConfigError, PruneEnvError, UnknownNameError
from prune_env.rewards import SparsityReward
from prune_env.rollout import rollout
from prune_env.search import Search, find_mask
from prune_env.tabular.environment import TABULAR_ID, make_tabular_env
from prune_env.tabular.registry import get_twin, list_twins
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import open_victim
from prune_env.victims.task import build_task
from tests.agents.twins import choice, twin_file

SHORT: dict[str, Any] = {"steps": 400, "n_envs": 4, "leg": 200, "episodes": 2}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def right(folder: Path, agent: str = "ppo", policy: str = "mlp", seed: int = 0, **more: Any) -> Trained:
    training = Training(agent, policy, choice("right"), seed=seed, **{**SHORT, **more})
    return train(training, folder, yardsticks_of(training.environment))


def test_ppo_finds_the_one_right_answer(tmp_path: Path) -> None:
    """Heads 0 and 3 of a 2x2 model can go, no other set: an untrained policy does not know."""
    before = right(tmp_path / "before", policy="heads", steps=25, n_envs=1, leg=25, changes={"learning_rate": 0.0})
    after = right(tmp_path / "after", policy="heads", steps=2_000, n_envs=8, leg=2_000)
    assert before.deterministic["regret"] > 0.2
    assert after.deterministic["regret"] == after.deterministic["certified_regret"] == pytest.approx(0.0)
    assert after.deterministic["return"] == pytest.approx(0.5)
    episode = rollout(make_tabular_env(twin_file("right")), load_agent(tmp_path / "after"), seed=9, deterministic=True)
    assert episode.mask.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(("agent", "policy"), [("maskable-ppo", "heads"), ("a2c", "mlp"), ("dqn", "heads")])
def test_the_other_agents_learn_it_too(agent: str, policy: str, tmp_path: Path) -> None:
    trained = right(tmp_path, agent, policy, steps=2_000, n_envs=8, leg=1_000)
    assert trained.deterministic["regret"] < 0.01


class _CutOffError(Exception):
    pass


@pytest.mark.parametrize(
    ("agent", "policy", "noise"),
    [
        ("ppo", "mlp", 0.0),
        ("ppo", "heads", 0.2),
        ("maskable-ppo", "heads", 0.0),
        ("a2c", "mlp", 0.0),
        ("dqn", "mlp", 0.0),
    ],
)
def test_a_training_that_was_cut_off_goes_on_as_one_that_was_not(
    agent: str, policy: str, noise: float, tmp_path: Path
) -> None:
    changes = {"learning_starts": 50, "exploration_fraction": 0.9} if agent == "dqn" else {}
    environment = replace(choice("right"), metric_noise=noise)
    training = Training(agent, policy, environment, **{**SHORT, "leg": 80}, changes=changes)

    def interrupt(_: str, done: int, total: int) -> None:
        if done > total * 0.3:
            raise _CutOffError

    with pytest.raises(_CutOffError):
        train(training, tmp_path / "cut", report=interrupt)
    assert (tmp_path / "cut" / "checkpoint" / "state.json").exists() and not (
        tmp_path / "cut" / "training.json"
    ).exists()
    told: list[int] = []
    resumed = train(training, tmp_path / "cut", report=lambda _, done, total: told.append(done))
    assert 80 <= told[0] <= 100, "the first leg was done"
    whole = train(training, tmp_path / "whole")
    assert resumed.deterministic == whole.deterministic and resumed.best_step == whole.best_step
    for place in ("best", "last"):
        one, other = (load_file(str(tmp_path / folder / place / "weights.safetensors")) for folder in ("cut", "whole"))
        assert all(torch.equal(weight, other[name]) for name, weight in one.items()) and one
    assert judged_steps(tmp_path / "cut") == judged_steps(tmp_path / "whole"), "of what was logged nothing is lost"


def judged_steps(folder: Path) -> list[int]:
    """Steps of the judgements that TensorBoard shows."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return [event.step for event in events.Scalars("deterministic/return")]


def test_a_finished_training_is_left_as_it_is_and_another_is_refused(tmp_path: Path) -> None:
    first = right(tmp_path)
    stamp = (tmp_path / "best" / "weights.safetensors").stat().st_mtime_ns
    assert right(tmp_path) == first
    assert (tmp_path / "best" / "weights.safetensors").stat().st_mtime_ns == stamp
    for name in ("training.json", "none of its own"):
        with pytest.raises(CheckpointError, match=r"other settings: seed 0 there and 1 asked; choose another folder"):
            right(tmp_path, seed=1)
        with pytest.raises(CheckpointError, match="steps 400 there and 800 asked; a training is not lengthened"):
            right(tmp_path, steps=800)
        (tmp_path / name).unlink(missing_ok=True)


def test_a_refusal_names_what_differs_and_not_what_follows_from_it() -> None:
    first = Training("ppo", "heads", EnvChoice("tiny-style", TABULAR_ID, {"on_violation": "reject"}), seed=3)
    other = Training("ppo", "heads", EnvChoice("tiny-syntactic", TABULAR_ID), changes={"ent_coef": 0.5}, seed=3)
    said = str(refusal(Path("runs/x"), first.asked, other.asked))
    assert (
        "got one with other settings: ent_coef 0.01 there and 0.5 asked, on_violation reject there and not set asked, "
        "victim tiny-style there and tiny-syntactic asked; choose another folder"
    ) in said
    agents = str(refusal(Path("runs/x"), first.asked, replace(first, agent="a2c").asked))
    assert "settings: agent ppo there and a2c asked; choose another folder" in agents
    even = str(refusal(Path("runs/x"), first.asked, replace(first, policy_arguments={"wanted_heads": None}).asked))
    assert "settings: wanted_heads not set there and None asked" in even
    assert "one with other settings or twins; " in str(refusal(Path("runs/x"), {}, first.asked))


def test_what_cannot_be_made_leaves_no_folder(tmp_path: Path) -> None:
    for environment, start in (
        (EnvChoice(twin_file("right"), "NoSuchEnv-v0"), {}),
        (choice("right", on_violation="ignore"), {}),
        (choice("right"), {"wanted_heads": -1.0}),
    ):
        with pytest.raises(PruneEnvError):
            train(Training("ppo", "mlp", environment, policy_arguments=start, **SHORT), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_training_on_a_twin_that_was_built_anew_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right(tmp_path)
    twin = get_twin(twin_file("right"))
    card = load_agent(tmp_path).card
    assert card.training["twins_sha256"] == choice("right").twins_sha256
    changed = replace(twin, meta={**twin.meta, "task_sha256": "1" * 64})
    monkeypatch.setattr(environments, "get_twin", lambda _: changed)
    assert card.training["twins_sha256"] != choice("right").twins_sha256
    with pytest.raises(CheckpointError, match="twins"):
        right(tmp_path)
    (tmp_path / "training.json").unlink()
    with pytest.raises(CheckpointError, match="twins"):
        right(tmp_path)


def test_a_set_is_known_by_all_its_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    family = EnvChoice("embedded", TABULAR_ID)
    whole, names = family.twins_sha256, list_twins("embedded")
    monkeypatch.setattr(environments, "list_twins", lambda _: names[::-1])
    assert family.twins_sha256 == whole, "in any order"
    monkeypatch.setattr(environments, "list_twins", lambda _: names[1:])
    assert family.twins_sha256 != whole
    assert EnvChoice("tiny-syntactic", LIVE_ID).twins_sha256 is None


def test_every_judgement_plays_the_same_victims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def watched(*arguments: Any) -> Judgement:
        found = judge(*arguments)
        seen.append([info["victim"] for info in found.ends])
        return found

    monkeypatch.setattr(trainings, "judge", watched)
    arguments: dict[str, Any] = {"steps": 150, "n_envs": 2, "leg": 50, "episodes": 8}
    train(Training("ppo", "heads", EnvChoice("embedded", TABULAR_ID), **arguments), tmp_path)
    assert len(seen) == 6 and len(set(seen[0])) > 2
    assert all(victims == seen[0] for victims in seen)


def test_nothing_is_pickled(tmp_path: Path) -> None:
    right(tmp_path, "dqn")
    kept = {path.suffix for path in tmp_path.rglob("*") if path.is_file() and "events" not in path.name}
    assert kept == {".json", ".safetensors"}


def test_what_tensorboard_shows(tmp_path: Path) -> None:
    training = Training("ppo", "mlp", choice("right", diagnostics=True), **SHORT)
    trained = train(training, tmp_path, yardsticks_of(training.environment))
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()
    tags = set(events.Tags()["scalars"])
    for numbers in ("return", "accuracy", "pruned_fraction", "violations", "evaluations"):
        assert {f"episodes/{numbers}", f"deterministic/{numbers}", f"stochastic/{numbers}"} <= tags
    assert {"deterministic/regret", "stochastic/certified_regret", "best/regret", "train/value_loss"} <= tags
    assert {"oracle/training_lfr", "oracle/deterministic_lfr", "oracle/stochastic_lfr"} <= tags
    assert not any("lfr" in tag for tag in tags if not tag.startswith("oracle/")), "a diagnosis says that it is one"
    judged = events.Scalars("deterministic/return")
    assert [event.step for event in judged] == [200, 400]
    assert judged[[200, 400].index(trained.best_step)].value == pytest.approx(trained.deterministic["return"])
    assert [event.step for event in events.Images("head_map")] == [200, 400]
    assert events.Images("head_map")[-1].width > 100
    settings = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"learning_rate" in settings and b"ent_coef" in settings and b"victim" in settings


def test_without_diagnostics_nothing_knows_the_backdoor(tmp_path: Path) -> None:
    trained = right(tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert not any("oracle" in tag or "lfr" in tag for tag in events.Tags()["scalars"])
    assert "oracle/lfr" not in trained.deterministic


def test_the_shortfall_weight_counts_in_training_alone() -> None:
    found = EnvChoice(twin_file("right"), TABULAR_ID, shortfall_weight=7.0)
    rewards = [found.make(2, training=training).get_attr("reward")[0] for training in (True, False)]
    assert rewards == [SparsityReward(7.0), SparsityReward()]
    with pytest.raises(ConfigError, match="sparsity"):
        EnvChoice("right", TABULAR_ID, {"reward": "terminal"}, 7.0)


def test_an_environment_of_another_size_and_padding(tmp_path: Path) -> None:
    training = Training("ppo", "heads", choice("random-2x3-7", pad_to=[3, 4]), **SHORT)
    trained = train(training, tmp_path, yardsticks_of(training.environment))
    assert trained.deterministic["regret"] >= 0
    assert load_agent(tmp_path).card.slots == 12


def test_profile_measures_without_keeping() -> None:
    found = measure(Training("maskable-ppo", "mlp", choice("right"), **SHORT))
    assert found.steps == 400 and 0 < found.environment_share < 1
    assert found.as_json()["steps_per_second"] == pytest.approx(found.steps / found.seconds)
    assert "steps/s" in found.sentence and "masked bits" in found.sentence
    assert found.distribution_ratio is not None and found.distribution_ratio > 0
    plain = measure(Training("ppo", "mlp", choice("right"), **SHORT))
    assert plain.distribution_ratio is None and "masked bits" not in plain.sentence


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"agent": "pop"}, UnknownNameError, "did you mean 'ppo'"),
        ({"policy": "head"}, UnknownNameError, "heads"),
        ({"steps": 0}, ConfigError, "steps"),
        ({"steps": 50}, ConfigError, "one rollout"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"changes": {"learning_rat": 1}}, UnknownNameError, "learning_rate"),
        ({"changes": {"n_epochs": 1.5}}, ConfigError, "n_epochs"),
        ({"changes": {"n_epochs": True}}, ConfigError, "n_epochs"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(
    arguments: dict[str, Any], error: type[Exception], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=complaint):
        right(tmp_path, **arguments)
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_settings_are_those_of_the_agent() -> None:
    assert settings_of("ppo", "mlp", {"learning_rate": 1}) == PPOSettings(learning_rate=1)
    assert settings_of("ppo", "heads", {}) == PPOSettings(learning_rate=3e-3)
    made = choice("right").make(1)
    with pytest.raises(ConfigError, match="A2CSettings"):
        make_algorithm("a2c", "mlp", made, PPOSettings(), seed=0, policy_arguments={})
    with pytest.raises(ConfigError, match="BertHeadPrune"):
        EnvChoice("right", "NoSuchEnv-v0").make(1)


def test_the_twin_is_preferred_where_it_can_answer() -> None:
    assert best_id(twin_file("right"), {"on_violation": "reject"}) == TABULAR_ID
    assert best_id(twin_file("right"), {"recover_on": 64}) == LIVE_ID
    assert best_id("some/folder", {}) == LIVE_ID
    assert yardsticks_of(EnvChoice("some/folder")) is None


def test_the_card_says_how_it_was_made(tmp_path: Path) -> None:
    right(tmp_path, changes={"ent_coef": 0.02}, policy_arguments={"wanted_heads": 1.0})
    card = json.loads((tmp_path / "last" / "agent.json").read_text())
    assert card["training"]["settings"]["ent_coef"] == 0.02
    assert card["policy_arguments"] == {"wanted_heads": 1.0}
    assert card["training"]["steps"] == 400 and card["training"]["environment"]["env_id"] == TABULAR_ID
    assert set(card["training"]["versions"]) == {"prune_env", "gymnasium", "stable_baselines3", "torch"}


def test_on_the_live_environment_and_in_a_search(tmp_path: Path) -> None:
    """Trained on a live model, an agent finds a mask for a defender as any other method does."""
    environment = EnvChoice("tiny-syntactic", LIVE_ID)
    training = Training("maskable-ppo", "heads", environment, steps=50, n_envs=2, leg=50, episodes=2)
    trained = train(training, tmp_path)
    assert trained.steps == 50 and "regret" not in trained.deterministic
    victim = open_victim("tiny-syntactic")
    task = build_task(victim.suspect, get_protocol(victim.manifest.protocol), 11)
    found = find_mask(task, method_of(tmp_path, "learned"), Search(victim.manifest.recommended))
    assert found.mask.shape == (4, 4) and found.evaluations >= 2 and found.trace
    assert found.threshold is not None and found.search_accuracy >= found.threshold
