"""`prune-env train`: what it prints and keeps, and what it says where it cannot."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prune_env.agents import train as trainings
from prune_env.agents.environments import LIVE_ID
from prune_env.agents.saved import load_agent
from prune_env.agents.sb3 import AGENTS, POLICIES
from prune_env.agents.training import Training
from prune_env.cli import train as command
from prune_env.cli.main import main
from prune_env.tabular.environment import TABULAR_ID
from prune_env.tabular.regret import LEGEND
from tests.agents.twins import twin_file

Capture = pytest.CaptureFixture[str]
SHORT = ("--policy", "mlp", "--steps", "200", "--n-envs", "4", "--leg", "100", "--episodes", "2")


def trained(folder: Path, *more: str) -> int:
    return main(["train", "--victim", twin_file("right"), "--logdir", str(folder), *SHORT, *more])


def parsed(*arguments: str) -> Training:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.training_of(parser.parse_args(["--victim", twin_file("right"), *arguments]))


def test_it_trains_on_the_twin_and_says_what_came_of_it(tmp_path: Path, capsys: Capture) -> None:
    assert trained(tmp_path) == 0
    printed, told = capsys.readouterr()
    assert f"200 steps of {TABULAR_ID}" in printed and "tensorboard" in printed
    assert "were asked for" not in printed
    assert LEGEND in printed and "certified regret: of the final mask" in LEGEND
    assert "200 of 200: training" in told
    assert load_agent(tmp_path).card.agent == "ppo"
    assert trained(tmp_path, "--json") == 0, "a finished training is left as it is"
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 200 and set(result["deterministic"]) >= {"return", "regret"}


def test_steps_that_fill_no_update_are_said_to_be_left_out(tmp_path: Path, capsys: Capture) -> None:
    assert trained(tmp_path, "--steps", "210") == 0
    printed = capsys.readouterr().out
    assert "200 steps of" in printed and "(210 were asked for; an update takes 100)" in printed


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainings, "train", interrupted)
        assert trained(tmp_path) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert trained(tmp_path) == 0


def test_profile_keeps_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", "--victim", twin_file("right"), "--profile", *SHORT]) == 0
    assert "steps/s" in capsys.readouterr().out
    assert main(["train", "--victim", twin_file("right"), "--profile", "--json", *SHORT]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["environment_share"] < 1
    assert main(["train", "--victim", twin_file("right"), "--profile", "--agent", "maskable-ppo", *SHORT]) == 0
    assert "masked bits take" in capsys.readouterr().out


def test_ablations_reach_the_training() -> None:
    training = parsed(
        "--agent", "maskable-ppo", "--no-masking", "--no-action-bias", "--shortfall-weight", "3", "--threshold", "0.8",
        "--env", "max_heads_per_step=1", "--env", "on_violation=reject", "--set", "ent_coef=0.5", "--diagnostics",
    )  # fmt: skip
    assert training.agent == "ppo"
    assert training.policy_arguments == {"wanted_heads": None}
    assert training.environment.shortfall_weight == 3.0
    assert training.environment.arguments == {
        "max_heads_per_step": 1, "on_violation": "reject", "threshold": 0.8, "diagnostics": True,
    }  # fmt: skip
    assert training.changes == {"ent_coef": 0.5}
    assert parsed("--wanted-heads", "2").policy_arguments == {"wanted_heads": 2.0}
    assert parsed().policy_arguments == {} and parsed().environment.env_id == TABULAR_ID
    assert parsed("--env-id", LIVE_ID).environment.env_id == LIVE_ID


def test_the_names_are_those_of_the_agents() -> None:
    assert set(command.AGENTS) == set(AGENTS) and set(command.POLICIES) == set(POLICIES)
    assert (command.LIVE_ID, command.TABULAR_ID) == (LIVE_ID, TABULAR_ID)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--env", "on_violation"], "KEY=VALUE"),
        (["--set", "lerning_rate=1"], "did you mean 'learning_rate'"),
        (["--no-action-bias", "--wanted-heads", "1"], "leave one out"),
        (["--agent", "dqn", "--no-action-bias"], "dqn"),
        (["--steps", "3"], "one rollout"),
        (["--env-id", "NoSuchEnv-v0"], "NoSuchEnv"),
    ],
)
def test_mistakes_are_named(arguments: list[str], complaint: str, tmp_path: Path, capsys: Capture) -> None:
    assert trained(tmp_path, *arguments) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("victim", "complaint"),
    [
        ("tiny-stile", "unknown victim 'tiny-stile': did you mean 'tiny-style'"),
        ("family-tain", "did you mean 'family-train'"),
        ("style-3x4-s37-fnn", "did you mean 'style-3x4-s37-ffn'"),
        ("xyzzy", "unknown victim 'xyzzy': known are the victims tiny-style, "),
        ("xyzzy", "the sets of twins embedded, family-train, family-test, and the "),
        ("no/such/folder", "found none; check the path"),
    ],
)
def test_a_victim_that_is_not_there_is_named_before_anything_is_loaded(
    victim: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(command, "training_of", lambda _: pytest.fail("went on"))
    assert main(["train", "--victim", victim, "--logdir", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert complaint in told and "loading" not in told
    assert not (tmp_path / "run").exists()


def test_every_kind_of_victim_that_is_there_is_let_through(tmp_path: Path) -> None:
    for victim in ("tiny-style", "embedded", "family-train", "style-3x4-s37-ffn", twin_file("right"), str(tmp_path)):
        command.check_victim(victim)


def test_checking_a_victim_loads_no_torch() -> None:
    code = "import sys; from prune_env.cli.train import check_victim; check_victim('tiny-style')"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_folder_is_asked_for(capsys: Capture) -> None:
    assert main(["train", "--victim", twin_file("right")]) == 2
    assert "--logdir" in capsys.readouterr().err
