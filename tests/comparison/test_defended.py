"""Found masks that are carried through the whole defence: a diagnosis beside the masked model's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.cli.main import main
from prune_env.comparison import remaining, transfer
from prune_env.comparison.cells import TRIALS, Settings, decided_by
from prune_env.comparison.contestant import get_contestant
from prune_env.comparison.defended import Defences
from prune_env.comparison.plan import Plan, check, missing
from prune_env.comparison.problem import TASK_SEED, live_problem, subject_of
from prune_env.comparison.report import markdown
from prune_env.comparison.trials import append_trial, load, read_trials
from prune_env.errors import ConfigError, RecordError
from prune_env.recovery import Purified
from prune_env.types import HeadMask, mask_to_text
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import open_victim
from prune_env.victims.task import Task, build_task
from tests.comparison.factory import trial

VICTIM = "tiny-syntactic"
Capture = pytest.CaptureFixture[str]
GOOD = {"accuracy": 0.9, "oracle_lfr": 0.25, "unpruned_lfr": 0.75, "precision": "float32"}


def made(seed: int = 0, rates: tuple[float, float, float] | None = (0.9, 0.25, 0.75), **fields: Any) -> Any:
    """A live trial with, or without, what became of its mask."""
    names = ("accuracy", "oracle_lfr", "unpruned_lfr")
    found = None if rates is None else {**dict(zip(names, rates, strict=True)), "precision": "float32"}
    return trial(**{"experiment": "real", "seed": seed, "defended": found, **fields})


@pytest.fixture(scope="module")
def task() -> Task:
    """The defender's task on the victim."""
    victim = open_victim(VICTIM)
    return build_task(victim.suspect, get_protocol(victim.manifest.protocol), TASK_SEED)


def test_with_every_head_kept_the_defence_is_the_scoring_model(task: Task) -> None:
    problem = live_problem(VICTIM)
    full = np.ones((problem.search.layers, problem.search.heads), dtype=bool)
    found = Defences(task, open_victim(VICTIM)).of(full)
    assert found["accuracy"] == pytest.approx(float(problem.certify.accuracy(full[None])[0]))
    assert found["oracle_lfr"] == found["unpruned_lfr"] == pytest.approx(problem.lfr(full))
    assert found["accuracy"] == found["unpruned_accuracy"]


def test_the_suspects_own_encoder_is_purified_once_a_mask(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[Any]()

    def purified(of: Any, mask: Any, training: Any, *, device: str) -> Purified:
        asked.append((of, int(mask.sum()), training, device))
        return Purified(task.scoring_model(), task.tokenizer(task.scoring_model()), 0.0)

    monkeypatch.setattr("prune_env.comparison.defended.purify", purified)
    mask = np.ones((4, 4), dtype=bool)
    mask[0, 0] = False
    defences = Defences(task, open_victim(VICTIM))
    assert defences.of(mask) == defences.of(mask.copy())
    assert asked == [(task, heads, task.protocol.training, "cpu") for heads in (16, 15)]


def test_a_cell_that_was_searched_is_only_defended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"accuracy": 0.5, "oracle_lfr": 0.25, "unpruned_lfr": 0.75, "precision": "float32"}
    asked: list[str] = []

    def of(_: Defences, mask: HeadMask) -> dict[str, Any]:
        asked.append(mask_to_text(mask))
        return rates

    monkeypatch.setattr(Defences, "of", of)
    arguments = ["compare", "--experiment", "real", "--victims", VICTIM, "--contestants", "random", "--budgets", "3"]
    arguments += ["--seeds", "1", "--jobs", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0 and asked == []
    (plain,) = read_trials(tmp_path / TRIALS)
    assert plain.defended is None
    monkeypatch.setattr("prune_env.comparison.cells._searched", lambda *_: pytest.fail("searched again"))
    assert main([*arguments, "--fine-tune"]) == 0
    assert asked == [plain.improvements[-1][1]]
    assert read_trials(tmp_path / TRIALS)[1:] == [replace(plain, defended=rates)]
    assert main([*arguments, "--fine-tune"]) == 0 and len(asked) == 1, "nothing is left"


def test_a_search_is_kept_when_its_defence_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Defences, "of", interrupted)
    arguments = ["compare", "--experiment", "real", "--victims", VICTIM, "--contestants", "random", "--budgets", "3"]
    assert main([*arguments, "--seeds", "1", "--jobs", "1", "--fine-tune", "--out", str(tmp_path)]) == 130
    (kept,) = read_trials(tmp_path / TRIALS)
    assert kept.evaluations == 3 and kept.defended is None


def test_a_trial_without_it_is_not_done_where_it_is_asked_for(tmp_path: Path) -> None:
    plan, settings = Plan("real", (VICTIM,), ("random",), (5,), (0,)), Settings(tmp_path)
    subject = subject_of(VICTIM, live=True, mode=settings.mode)
    decided = decided_by(get_contestant("random"), subject, settings, live=True)
    same: dict[str, Any] = {"identity": subject.identity, "settings": decided, "budget": 5, "victim": VICTIM}
    append_trial(tmp_path / "trials.jsonl", made(rates=None, **same))
    asking = replace(settings, fine_tune=True)
    assert (missing(plan, settings).done, missing(plan, asking).done) == (1, 0)
    append_trial(tmp_path / "trials.jsonl", made(**same))
    append_trial(tmp_path / "trials.jsonl", made(rates=None, **same))
    assert (missing(plan, settings).done, missing(plan, asking).done) == (1, 1)
    found = [*missing(plan, settings).trials, *load([tmp_path])]
    assert [one.defended is not None for one in found] == [True, True], "the one that was defended, wherever it stands"


def test_tables_have_no_model_to_fine_tune(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected the experiment real where found masks are fine-tuned, got tabular"):
        check(Plan("tabular", (VICTIM,), ("random",), (5,), (0,)), Settings(tmp_path, fine_tune=True))


def test_a_report_shows_what_remains_by_victim() -> None:
    two = {"victim": "two", "identity": "1" * 64}
    trials = [made(seed, (0.9, 0.2 + seed / 10, 0.75)) for seed in range(6)]
    trials += [made(seed, (0.8, 0.1, 0.375), **two) for seed in range(6)]
    first, second = remaining.remainders(trials)
    assert (first.victim, first.seeds) == ("one", 6)
    assert second.lfr.value == pytest.approx(0.1)
    assert first.lfr.value == pytest.approx(0.45) and first.lfr.low < 0.45 < first.lfr.high
    text = markdown(trials)
    assert f"{remaining.CAPTION}\n\n| masks of | found with | LFR on one | LFR on two | certify accuracy |" in text
    assert "| nobody: fine-tuning alone (`ft`) |  | 0.75 | 0.38 |  |" in text
    assert f"| random | 10 evaluations | 0.45 [{first.lfr.low:.2f}, {first.lfr.high:.2f}] | 0.10 | 0.850 |" in text
    assert "judged in float32; fine-tuned in float32." in text


def test_what_remains_is_written_for_machines_and_a_part_is_said_to_be_one(tmp_path: Path, capsys: Capture) -> None:
    for one in (made(0), made(1, (0.9, 0.75, 0.75)), made(2, None)):
        append_trial(tmp_path / TRIALS, one)
    assert main(["compare", "--show", str(tmp_path / TRIALS), "--out", str(tmp_path / "out")]) == 0
    assert f"{remaining.CAPTION} 2 of 3 runs were carried that far." in capsys.readouterr().out
    head, line = (tmp_path / "out" / "compare-real-defended.csv").read_text(encoding="utf-8").splitlines()
    assert head == "contestant,budget,victim,seeds,lfr,lfr_low,lfr_high,accuracy"
    assert line == "random,10,one,2,0.5,0.25,0.75,0.9"
    assert main(["compare", "--show", str(tmp_path / TRIALS), "--out", str(tmp_path / "out"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["defended"]
    assert (found["victim"], found["seeds"], found["lfr"]) == ("one", 2, [0.5, 0.25, 0.75])


def test_the_best_by_value_is_held_against_its_rivals_by_what_remains_of_each_victim() -> None:
    spread = (0.5, 0.6, 0.7) * 2
    agent, rival = list[Any](), list[Any]()
    for number, (victim, lead) in enumerate((("one", -0.4), ("two", 0.0), ("three", 0.3))):
        of = {"victim": victim, "identity": str(number) * 64}
        for seed, rate in enumerate(spread):
            before = {"contestant": "trained-ppo", "kind": "trained", "certified": 0.9}
            agent.append(made(seed, (0.9, rate + lead, 1.0), **before, **of))
            rival.append(made(seed, (0.9, rate, 1.0), **of))
    (sentence,) = remaining.sentences([*agent, *rival])
    assert sentence.startswith(
        "LFR that the masks of trained-ppo with 10 evaluations leave after the whole defence, against random: "
        "more on three (+0.300 ["
    )
    assert "), less on one (-0.400 [" in sentence and "), not told apart on two (+0.000 [" in sentence
    elsewhere = [one for one in rival if one.victim != "three"]
    assert "three" not in remaining.sentences([*agent, *elsewhere])[0], "no rival there"
    assert remaining.sentences([*agent[:5], *rival[:5]]) == [], "too few seeds"


def test_a_victim_is_fine_tuned_in_one_arithmetic() -> None:
    other = made(1)
    other = replace(other, defended={**other.defended, "precision": "bfloat16"})
    with pytest.raises(RecordError, match="one version of the fine-tuning of one, got two"):
        markdown([made(0), other])


def test_what_is_left_tells_searches_from_fine_tunings(tmp_path: Path, capsys: Capture) -> None:
    arguments = ["compare", "--experiment", "real", "--victims", VICTIM, "--contestants", "random", "--budgets", "3"]
    arguments += ["--jobs", "1", "--out", str(tmp_path)]
    assert main([*arguments, "--seeds", "1"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--seeds", "2", "--fine-tune", "--dry-run"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "0 of 2 cells are there; 1 to search, with at most 3 evaluations" in shown
    assert "Fine-tuned 2 masks at most, 1 of them of searches that are there" in shown


def test_a_report_without_defences_says_nothing_of_them() -> None:
    trials = [made(seed, None) for seed in range(6)]
    assert remaining.table(trials) == "" and remaining.sentences(trials) == []
    assert "fine-tuned" not in transfer.sentences(trials)[-1]
    assert "| nobody" not in markdown(trials)


def test_trials_from_before_are_read(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    append_trial(path, made(rates=None))
    path.write_text(path.read_text().replace('"defended": null, ', ""))
    assert '"defended"' not in path.read_text() and read_trials(path)[0].defended is None


@pytest.mark.parametrize(
    "wrong",
    [5, True, {}, {"accuracy": 0.9}, *({**GOOD, **one} for one in (
        {"accuracy": "high"}, {"accuracy": 7.0}, {"oracle_lfr": -0.1}, {"precision": "float8"}, {"surplus": 0.5}))],
)  # fmt: skip
def test_what_is_no_defence_is_refused(wrong: Any, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    append_trial(path, replace(made(), defended={**GOOD, "unpruned_accuracy": 0.9}))
    assert len(read_trials(path)) == 1
    append_trial(path, replace(made(), defended=wrong))
    with pytest.raises(RecordError, match=r"trials\.jsonl:2: defended is none of a trial's"):
        read_trials(path)
