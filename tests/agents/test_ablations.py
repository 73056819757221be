"""Each variant differs from the reference in what it says, and its record holds what the training came to."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from prune_env.agents import ablations
from prune_env.agents.ablation_records import Ablation, load, read_ablations
from prune_env.agents.ablations import RECORDS, REFERENCE, VARIANTS, Cell, curve_of, described, get_variant, run_cell
from prune_env.agents.environments import EnvChoice
from prune_env.agents.train import train
from prune_env.agents.training import Training
from prune_env.errors import RecordError, UnknownNameError
from prune_env.tabular.environment import TABULAR_ID
from prune_env.tabular.regret import yardstick_of
from tests.agents.twins import twin_file

STEPS = 800


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def cell(variant: str = REFERENCE, seed: int = 0, steps: int = STEPS) -> Cell:
    return Cell(variant, twin_file("right"), seed, steps)


def small(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Makes trainings shorter than `prune-env train` would."""

    def shorter(*arguments: Any, **named: Any) -> Training:
        return Training(*arguments, **{**named, "n_envs": 4, "episodes": 2, **fields})

    monkeypatch.setattr(ablations, "Training", shorter)


def test_the_reference_is_what_train_would_train() -> None:
    choice = EnvChoice("tiny-style", TABULAR_ID)
    assert Cell(REFERENCE, "tiny-style", 3).training == Training("maskable-ppo", "mlp", choice, seed=3)


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("no-action-bias", {"policy_arguments": {"wanted_heads": None}}),
        ("no-masking", {"agent": "ppo"}),
        ("no-masking-no-action-bias", {"agent": "ppo", "policy_arguments": {"wanted_heads": None}}),
        ("kappa-0", {"shortfall_weight": 0.0}),
        ("kappa-0.1", {"shortfall_weight": 0.1}),
        ("kappa-10", {"shortfall_weight": 10.0}),
        ("one-head-a-step", {"arguments": {"max_heads_per_step": 1}}),
        ("no-step-limit", {"arguments": {"max_heads_per_step": None}}),
    ],
)
def test_a_variant_changes_what_it_says_and_nothing_else(variant: str, changes: dict[str, Any]) -> None:
    plain, other = ({**described(one), **described(one)["environment"]} for one in (cell().training, _of(variant)))
    different = {name for name in plain if plain[name] != other[name]} - {"environment"}
    assert {name: other[name] for name in different} == changes
    assert cell().training.identity != _of(variant).identity


def _of(variant: str) -> Training:
    return cell(variant).training


def test_every_variant_is_told_apart() -> None:
    assert next(iter(VARIANTS)) == REFERENCE
    assert len({json.dumps(described(_of(name))) for name in VARIANTS}) == len(VARIANTS) == 9
    assert all(variant.differs and "|" not in variant.differs for variant in VARIANTS.values())
    with pytest.raises(UnknownNameError, match="did you mean 'no-masking'"):
        get_variant("no-maskin")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ablation]:
    """The reference on a 2x2 twin, as it is, for one leg."""
    out = tmp_path_factory.mktemp("ablations")
    return out, run_cell(cell(), out)


def test_a_record_says_what_the_training_came_to(ran: tuple[Path, Ablation]) -> None:
    out, record = ran
    assert read_ablations(out / RECORDS) == [record] == load([out / RECORDS])
    result = json.loads((out / "right" / "reference-s0" / "training.json").read_text(encoding="utf-8"))
    assert (record.victim, record.steps, record.best_step) == ("right", STEPS, result["best"]["step"])
    assert record.best == result["best"]["deterministic"] and record.best_by_chance == result["best"]["stochastic"]
    assert record.identity == result["identity"] and record.twins_sha256 == result["training"]["twins_sha256"]
    assert record.scale == [0.5, yardstick_of(twin_file("right")).scale.random]
    assert record.training["settings"] == result["training"]["settings"]
    assert record.seconds is not None and record.seconds > 0 and record.wall_seconds > 0
    assert {"torch", "sb3-contrib", "prune_env"} <= set(record.versions)
    assert record.curve == [[STEPS, pytest.approx(record.regret), pytest.approx(record.best["certified_regret"])]]


def test_a_finished_training_is_recorded_again_without_the_time_it_took(ran: tuple[Path, Ablation]) -> None:
    out, record = ran
    (out / RECORDS).unlink()
    again = run_cell(cell(), out)
    assert again.seconds is None
    assert {**asdict(again), "seconds": record.seconds} == asdict(record)


@pytest.mark.parametrize("variant", ["one-head-a-step", "no-step-limit"])
def test_regret_is_measured_by_the_default_environment(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    record = run_cell(cell(variant, steps=100), tmp_path)
    optimum, random = record.scale
    assert record.scale == [
        yardstick_of(twin_file("right")).scale.optimum,
        yardstick_of(twin_file("right")).random.returns.mean(),
    ]
    assert record.regret == pytest.approx((optimum - record.best["return"]) / (optimum - random))


def test_the_curve_of_a_resumed_training_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, leg=100)
    whole = run_cell(cell(steps=300), tmp_path / "whole")
    calls: list[Path] = []

    def cut(training: Training, folder: Path, yardsticks: Any) -> Any:
        def interrupt(_: str, done: int, total: int) -> None:
            if done > 220:
                raise KeyboardInterrupt

        calls.append(folder)
        return train(training, folder, yardsticks, interrupt if len(calls) == 1 else None)

    monkeypatch.setattr(ablations, "train", cut)
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell(steps=300), tmp_path / "cut")
    assert [row[0] for row in curve_of(calls[0])] == [100, 200]
    resumed = run_cell(cell(steps=300), tmp_path / "cut")
    assert [row[0] for row in resumed.curve] == [100, 200, 300]
    assert (resumed.curve, resumed.best) == (whole.curve, whole.best)
    assert resumed.seconds is None, "what the first run took is not known"


def record(**fields: Any) -> Ablation:
    """A record that was never made."""
    whole: dict[str, Any] = {
        "variant": REFERENCE, "victim": "one", "seed": 0, "training": {}, "identity": "0" * 64,
        "twins_sha256": "0" * 64, "scale": [0.5, 0.0], "steps": 30, "best_step": 20,
        "best": {"regret": 0.005, "certified_regret": 0.1, "violations": 0.0},
        "best_by_chance": {"regret": 0.25, "certified_regret": 0.3, "violations": 1.0},
        "curve": [[10, 0.5, 0.5], [20, 0.005, 0.1], [30, 0.2, 0.3]], "seconds": 1.0, "wall_seconds": 2.0,
        "versions": {},
    }  # fmt: skip
    return Ablation(**{**whole, **fields})


def test_what_a_curve_says() -> None:
    assert (record().regret, record().last_regret, record().near_after) == (0.005, 0.2, 20)
    assert record(curve=[[10, 0.5, 0.5]]).near_after is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": 0}, "schema 1"),
        ({"seed": "0"}, "seed"),
        ({"best": {"regret": 0.0}}, "best"),
        ({"best_by_chance": {}}, "best_by_chance"),
        ({"curve": []}, "curve"),
        ({"curve": [[1, 2]]}, "curve"),
    ],
)
def test_malformed_records_are_refused(change: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "ablations.jsonl"
    path.write_text(json.dumps({**asdict(record()), **change}) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=rf"ablations.jsonl:1: .*{complaint}"):
        read_ablations(path)


def test_a_file_without_records_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="found none"):
        load([tmp_path / "nothing.jsonl"])
