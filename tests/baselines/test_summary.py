"""What is asked of records before they are rows: constraint, heads kept, and whether they fit together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prune_env.baselines.summary import (
    constraint_of,
    heads_kept_of,
    kind_of,
    matching,
    one_version,
    rate_text,
    same_sentences,
)
from prune_env.errors import RecordError
from tests.record_factory import LIMITED, make_record


@pytest.mark.parametrize(("rate", "text"), [(2e-5, "2e-5"), (1e-4, "1e-4"), (1.5e-3, "1.5e-3"), (0.5, "5e-1")])
def test_rates_are_written_as_people_do(rate: float, text: str) -> None:
    assert rate_text(rate) == text


def test_a_control_is_under_the_constraint_of_the_method_it_matches() -> None:
    search = {"environment": {"threshold": 1e-6, "max_accuracy_drop": None}, "matched": LIMITED}
    record = make_record("random")
    assert constraint_of(replace(record, config={**record.config, "search": search})) == "accuracy >= 0.85"
    dropped = {"environment": {"threshold": None, "max_accuracy_drop": 0.02}}
    assert constraint_of(replace(record, config={**record.config, "search": dropped})) == "accuracy drop <= 0.02"
    assert constraint_of(make_record("ft")) == ""


def test_an_ensemble_keeps_what_its_valid_members_keep() -> None:
    step = {"attempted": "10/01", "attempted_accuracy": 0.9, "mask": "10/01", "accuracy": 0.9, "evaluations": 2}
    trace = [{**step, "violation": False}, {**step, "mask": "11/11", "violation": True}]
    trace += [{**step, "mask": "11/01", "violation": False}]
    assert heads_kept_of(make_record("ensemble", mask="11/01", trace=trace)) == 2.5
    assert heads_kept_of(make_record("ensemble", mask="11/11", trace=trace[1:2])) == 4.0


def test_a_recovery_of_its_own_is_held_against_plain_fine_tuning() -> None:
    plain, own = make_record("ft"), make_record("pure")
    own = replace(own, config={**own.config, "recovery": {"name": "AttentionNormalization", "penalty": 0.15}})
    assert matching([own], "victim", "ft", {plain.key: plain}) == [plain]
    assert matching([own], "twin", "ft", {plain.key: plain}) == []


def test_a_method_that_is_not_known_here_counts_as_a_strategy() -> None:
    found = [kind_of(name) for name in ("ft", "random", "gradient", "hybrid", "mine")]
    assert found == ["baseline", "control", "strategy", "own", "strategy"]


def test_two_versions_of_a_victim_are_not_one() -> None:
    with pytest.raises(RecordError, match="expected one version of alpha"):
        one_version([make_record(), make_record(seed=12, victim_sha256="d" * 64)])


@pytest.mark.parametrize("fields", [{"flipped": [1, 0]}, {"correct": "3:a0"}, {"flipped": [1], "role": "twin"}])
def test_records_of_other_sentences_are_refused(fields: dict[str, object]) -> None:
    same_sentences([make_record(), make_record(seed=12)])
    with pytest.raises(RecordError, match="every record of alpha to judge the same sentences"):
        same_sentences([make_record(), make_record(seed=12, **fields)])  # type: ignore[arg-type]
