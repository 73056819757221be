"""Found masks that are carried through the whole defence: a diagnosis beside the masked model's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.comparison.cells import Settings, decided_by
from prune_env.comparison.contestant import get_contestant
from prune_env.comparison.defended import Defences
from prune_env.comparison.plan import Plan, check, missing
from prune_env.comparison.problem import TASK_SEED, live_problem, subject_of
from prune_env.comparison.report import markdown, rows_csv
from prune_env.comparison.rows import rows_of
from prune_env.comparison.trials import append_trial, read_trials
from prune_env.errors import ConfigError, RecordError
from prune_env.recovery import Purified
from prune_env.victims.protocols import get_protocol
from prune_env.victims.store import open_victim
from prune_env.victims.task import build_task
from tests.comparison.factory import trial

VICTIM = "tiny-syntactic"


def made(seed: int = 0, rates: tuple[float, float, float] | None = (0.9, 0.25, 0.75), **fields: Any) -> Any:
    """A live trial with, or without, what became of its mask."""
    names = ("accuracy", "oracle_lfr", "unpruned_lfr")
    found = None if rates is None else dict(zip(names, rates, strict=True))
    return trial(experiment="real", seed=seed, defended=found, regret=None, certified_regret=None, **fields)


def test_with_every_head_kept_the_defence_is_the_scoring_model() -> None:
    victim, problem = open_victim(VICTIM), live_problem(VICTIM)
    task = build_task(victim.suspect, get_protocol(victim.manifest.protocol), TASK_SEED)
    full = np.ones((problem.search.layers, problem.search.heads), dtype=bool)
    found = Defences(task, victim).of(full)
    assert found["accuracy"] == pytest.approx(float(problem.certify.accuracy(full[None])[0]))
    assert found["oracle_lfr"] == pytest.approx(problem.lfr(full))


def test_a_mask_is_held_on_the_suspects_own_encoder_while_that_is_fine_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    victim, asked = open_victim(VICTIM), list[Any]()
    task = build_task(victim.suspect, get_protocol(victim.manifest.protocol), TASK_SEED)

    def purified(of: Any, mask: Any, training: Any, *, device: str) -> Any:
        asked.append((of, mask.sum(), training, device))
        return Purified(task.scoring_model(), task.tokenizer(task.scoring_model()), 0.0)

    monkeypatch.setattr("prune_env.comparison.defended.purify", purified)
    mask = np.ones((4, 4), dtype=bool)
    mask[0, 0] = False
    defences = Defences(task, victim)
    assert defences.of(mask) == defences.of(mask.copy())
    assert asked == [(task, 15, task.protocol.training, "cpu")], "and the same mask once"


def test_a_trial_without_it_is_run_again_where_it_is_asked_for(tmp_path: Path) -> None:
    plan, settings = Plan("real", (VICTIM,), ("random",), (5,), (0,)), Settings(tmp_path)
    subject = subject_of(VICTIM, live=True, mode=settings.mode)
    decided = decided_by(get_contestant("random"), subject, settings, live=True)
    same: dict[str, Any] = {"identity": subject.identity, "settings": decided, "budget": 5, "victim": VICTIM}
    append_trial(tmp_path / "trials.jsonl", made(rates=None, **same))
    asking = replace(settings, fine_tune=True)
    assert (missing(plan, settings).done, missing(plan, asking).done) == (1, 0)
    append_trial(tmp_path / "trials.jsonl", made(**same))
    assert (missing(plan, settings).done, missing(plan, asking).done) == (1, 1)
    assert missing(plan, settings).trials[0].defended == {"accuracy": 0.9, "oracle_lfr": 0.25, "unpruned_lfr": 0.75}


def test_tables_have_no_model_to_fine_tune(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected the experiment real where found masks are fine-tuned, got tabular"):
        check(Plan("tabular", (VICTIM,), ("random",), (5,), (0,)), Settings(tmp_path, fine_tune=True))


def test_rows_and_report_show_it_beside_what_fine_tuning_alone_leaves() -> None:
    trials = [made(seed, (0.9, 0.2 + seed / 10, 0.75)) for seed in range(6)]
    (row,) = rows_of(trials)
    assert row.defended_lfr is not None and row.defended_lfr.value == pytest.approx(0.45)
    assert row.defended_accuracy is not None and row.defended_accuracy.value == pytest.approx(0.9)
    text = markdown(trials)
    assert row.removed is not None and row.removed.value == pytest.approx(0.3)
    assert "| used | LFR | defended LFR | removed | defended ACC | s |" in text
    interval = f"[{row.removed.low:.2f}, {row.removed.high:.2f}]"
    assert row.removed.low < 0.3 < row.removed.high and f"| 0.25 | 0.45 | 0.30 {interval} | 0.90 |" in text
    assert "Fine-tuned with every head kept a victim flips 0.75 on one of triggered sentences" in text
    assert "defended_lfr,defended_lfr_low,defended_lfr_high" in rows_csv(trials)


def test_a_mean_of_some_of_the_runs_is_not_shown() -> None:
    (row,) = rows_of([made(0), made(1, None)])
    assert row.defended_lfr is None and row.defended_accuracy is None
    assert "| defended LFR |" not in markdown([made(0), made(1, None)])


def test_trials_from_before_and_trials_that_lack_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    append_trial(path, made(rates=None))
    path.write_text(path.read_text().replace('"defended": null, ', ""))
    assert '"defended"' not in path.read_text() and read_trials(path)[0].defended is None
    append_trial(path, replace(made(), defended={"accuracy": 0.9}))
    with pytest.raises(RecordError, match=r"trials\.jsonl:2: defended is none of a trial's"):
        read_trials(path)
