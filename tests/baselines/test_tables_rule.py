"""The rate rule: which rates it compares, over which records, and when it is silent."""

from __future__ import annotations

import pytest

from prune_env.baselines.tables.contrasts import contrasts
from prune_env.baselines.tables.hierarchy import Resampler
from prune_env.baselines.tables.rows import make_rows
from prune_env.baselines.tables.rule import Ruling, rate_rule
from prune_env.records import Record
from tests.baselines.test_tables_contrasts import FIVE, cells, find, two_rates


def told(records: list[Record], method: str = "gradient") -> dict[float, Ruling]:
    return {row.learning_rate: one for row, one in rate_rule(make_rows(records)).items() if row.method == method}


@pytest.mark.parametrize(
    ("cold", "warm", "chosen"), [(0.9, 0.895, 1e-4), (0.9, 0.8949, 2e-5), (0.89, 0.9, 1e-4), (0.9, 0.9, 1e-4)]
)
def test_the_rate_rule_takes_the_highest_within_half_a_point(cold: float, warm: float, chosen: float) -> None:
    rules = rate_rule(make_rows(two_rates((cold, warm))))
    assert {row.learning_rate for row, one in rules.items() if one.chosen} == {chosen}
    assert {row.learning_rate for row, one in rules.items() if one.chosen is False} == {2e-5, 1e-4} - {chosen}


def test_the_rate_rule_is_silent_without_its_accuracy_or_with_one_rate() -> None:
    unknown = [*cells("ft", 0.9), *cells("ft", 0.9, rate=1e-4)]
    assert set(told(unknown, "ft").values()) == {Ruling(None, 0, 5)}
    assert told(cells("ft", 0.9, final_certify_accuracy=0.9), "ft") == {2e-5: Ruling(None, 0, 5)}


def test_a_rate_that_was_run_on_a_part_of_the_attackers_decides_nothing() -> None:
    # 5e-4 is better on the two attackers it was run on: over these alone, the rule would pick it.
    partial = [
        record
        for method, share in (("ft", 0.9), ("gradient", 0.5))
        for record in cells(method, share, (11, 12), rate=5e-4, final_certify_accuracy=0.95)
    ]
    records = [*two_rates((0.9, 0.896)), *partial]
    assert told(records) == {2e-5: Ruling(False, 5, 5), 1e-4: Ruling(True, 5, 5), 5e-4: Ruling(None, 0, 2)}
    found = contrasts(make_rows(records), Resampler())
    assert find(found, "gradient", "ft", 1e-4).status == "decided: less"
    assert find(found, "gradient", "ft", 5e-4).status == "lead (2 attackers)"


def test_without_a_second_rate_on_all_records_the_rule_is_silent() -> None:
    cold = cells("ft", 0.9, final_certify_accuracy=0.9)
    warm = cells("ft", 0.9, FIVE[:4], rate=1e-4, final_certify_accuracy=0.9)
    assert told([*cold, *warm], "ft") == {2e-5: Ruling(None, 0, 5), 1e-4: Ruling(None, 0, 4)}


def test_records_without_the_accuracy_are_left_out_of_the_rule_and_counted() -> None:
    # A second defender of attacker 11, from before the accuracy was measured.
    older = [
        record
        for rate in (2e-5, 1e-4)
        for method, share in (("ft", 0.9), ("gradient", 0.5))
        for record in cells(method, share, (11,), rate=rate, seed=12)
    ]
    records = [*two_rates((0.9, 0.896)), *older]
    assert told(records) == {2e-5: Ruling(False, 5, 6), 1e-4: Ruling(True, 5, 6)}
    one = find(contrasts(make_rows(records), Resampler()), "gradient", "ft", 1e-4)
    assert (one.status, one.attackers, len(one.units)) == ("decided: less", 5, 6)
