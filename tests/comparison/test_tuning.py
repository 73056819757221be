"""What is said of how the family's agents were set is what was run."""

from __future__ import annotations

import json
from pathlib import Path

from prune_env.agents.family import FamilyTraining
from prune_env.comparison.tuning import TUNING

RECORDS = Path(__file__).parents[2] / "agents" / "results" / "family-tuning.jsonl"


def test_trainings_are_as_many_and_showed_what_is_said() -> None:
    rows = [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]
    shown = sum(row["test_regret_shown"] is not None for row in rows)
    held_out = sum(row["held_out_regret"] is not None for row in rows)
    said = TUNING["trained-ppo"]
    assert f"in {len(rows)} trainings" in said
    assert f"the later {held_out} by" in said
    assert f"; {shown} early ones also showed" in said


def test_the_defaults_were_among_them_but_for_the_steps() -> None:
    settings = FamilyTraining()
    rows = [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]
    (row,) = [row for row in rows if row["policy_arguments"] == settings.policy_arguments]
    assert (row["metric_noise"], row["n_envs"], row["changes"]) == (
        settings.metric_noise,
        settings.n_envs,
        settings.changes,
    )
