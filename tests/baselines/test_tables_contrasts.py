"""Contrasts, the rate rule, and what the first paragraph makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from prune_env.baselines.tables.contrasts import Contrast, contrasts, rate_rule
from prune_env.baselines.tables.hierarchy import Resampler
from prune_env.baselines.tables.rows import make_rows
from prune_env.baselines.tables.verdict import verdict
from prune_env.records import Record
from tests.baselines.test_tables_rows import attacked, pair

SENTENCES = 40
FLOOR = (0,) * SENTENCES
FIVE = (11, 12, 13, 14, 15)


def first(share: float) -> tuple[int, ...]:
    """Flips of the first sentences."""
    flips = round(share * SENTENCES)
    return (1,) * flips + (0,) * (SENTENCES - flips)


def cells(method: str, share: float, attackers: Sequence[int] = FIVE, **fields: Any) -> list[Record]:
    return [record for one in attackers for record in pair(one, method, first(share), FLOOR, **fields)]


def find(found: list[Contrast], method: str, rival: str, rate: float = 2e-5) -> Contrast:
    return next(
        one for one in found if (one.row.method, one.rival.method, one.row.learning_rate) == (method, rival, rate)
    )


def two_rates(certify: tuple[float, float], attackers: Sequence[int] = FIVE) -> list[Record]:
    records: list[Record] = []
    for rate, accuracy in zip((2e-5, 1e-4), certify, strict=True):
        for method, share in (("ft", 0.9), ("gradient", 0.5), ("random-third", 0.1), ("bayesian", 0.9)):
            records += cells(method, share, attackers, rate=rate, final_certify_accuracy=accuracy)
    return records


def test_differences_and_roles() -> None:
    found = contrasts(make_rows(two_rates((0.9, 0.896))), Resampler())
    against_ft = find(found, "gradient", "ft")
    assert against_ft.difference.value == pytest.approx(-0.4)
    assert (against_ft.role, against_ft.outcome, against_ft.attackers, against_ft.agreeing) == ("primary", "less", 5, 5)
    assert find(found, "gradient", "random-third").outcome == "more"
    assert find(found, "bayesian", "ft").role == "exploratory"
    assert find(found, "bayesian", "ft").outcome == "not told apart"
    assert [one.role for one in found][:4] == ["primary"] * 4


def test_only_the_rules_rate_decides() -> None:
    found = contrasts(make_rows(two_rates((0.9, 0.896))), Resampler())
    assert find(found, "gradient", "ft", 1e-4).status == "decided: less"
    assert find(found, "gradient", "ft", 2e-5).status == "not the rate rule's rate"
    assert find(found, "bayesian", "ft", 1e-4).status == "exploratory"


def test_fewer_than_five_attackers_are_a_lead() -> None:
    found = contrasts(make_rows(two_rates((0.9, 0.9), (11, 12, 13, 14))), Resampler())
    assert {one.status for one in found} == {"lead (4 attackers)"}


def test_embedded_victims_are_development() -> None:
    found = contrasts(
        make_rows([*cells("ft", 0.9, protocol="embedded"), *cells("gradient", 0.5, protocol="embedded")]), Resampler()
    )
    assert find(found, "gradient", "ft").role == "development"


@pytest.mark.parametrize(
    ("cold", "warm", "chosen"), [(0.9, 0.895, 1e-4), (0.9, 0.8949, 2e-5), (0.89, 0.9, 1e-4), (0.9, 0.9, 1e-4)]
)
def test_the_rate_rule_takes_the_highest_within_half_a_point(cold: float, warm: float, chosen: float) -> None:
    rules = rate_rule(make_rows(two_rates((cold, warm))))
    assert {row.learning_rate for row, told in rules.items() if told} == {chosen}
    assert {row.learning_rate for row, told in rules.items() if told is False} == {2e-5, 1e-4} - {chosen}


def test_the_rate_rule_is_silent_without_its_accuracy_or_with_one_rate() -> None:
    unknown = [*cells("ft", 0.9), *cells("ft", 0.9, rate=1e-4)]
    assert set(rate_rule(make_rows(unknown)).values()) == {None}
    assert set(rate_rule(make_rows(cells("ft", 0.9, final_certify_accuracy=0.9))).values()) == {None}


def test_without_a_shared_unit_there_is_no_contrast() -> None:
    rows = make_rows([*cells("ft", 0.9, (11,)), *cells("gradient", 0.5, (12,))])
    assert contrasts(rows, Resampler()) == []


def said(records: list[Record]) -> str:
    return verdict(make_rows(records), Resampler())[0]


def test_random_masks_that_do_better_are_said_first() -> None:
    text = said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.1)])
    assert text.startswith("Choosing heads is not shown to help: in none of 1 setting does the best strategy")
    assert "in 1 the random mask leaves less (its ACC minus the strategy's: +0.0 points)" in text
    assert "against ft at the same rate it leaves less in 1, more in 0" in text
    assert "against random-third at the same rate it leaves less in 0, more in 1" in text
    assert "Behind each comparison stand 5 attackers." in text


def test_a_strategy_that_beats_chance_is_said_with_gradients_share() -> None:
    text = said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("bayesian", 0.1), *cells("random-third", 0.4)])
    assert text.startswith("Choosing heads helps here, though not by gradient: in 1 of 1 setting")
    assert (
        "Of 2 strategies, at least one leaves less than ft at the same rate in 1 of 1 setting (bayesian, gradient)."
        in text
    )


def test_leads_are_called_so() -> None:
    text = said([*cells("ft", 0.9, (11,)), *cells("gradient", 0.1, (11,)), *cells("random-third", 0.4, (11,))])
    assert text.startswith("As a lead: choosing heads helps here: in 1 of 1 setting")
    assert text.endswith(
        "With 1 attacker behind a comparison, what rests on fewer than 5 is a lead and not a result. "
        "Where there is one, the intervals do not cover how attackers vary."
    )


def test_a_warmer_rate_that_does_better_is_said() -> None:
    text = said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("ft", 0.1, rate=1e-4)])
    assert text.startswith("No random mask was run beside the strategies")
    assert "beside the best strategy at the lower rate, leaves less in 1, more in 0" in text


def test_restart_that_beats_all_is_said() -> None:
    restart = [
        attacked(one, "restart", first(0.0), regime="reference", config={
            "protocol": {"name": "phrases-15k"}, "search": {}, "training": {"learning_rate": 2e-5, "epochs": 1},
            "recovery": {"name": "CleanEncoder"},
        })
        for one in FIVE
    ]  # fmt: skip
    text = said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.6), *restart])
    assert "(restart), where one can be had, beside the best strategy at the same rate, leaves less in 1" in text
    assert (
        "Of all methods and rates, restart leaves the fewest points on alpha, protocol phrases-15k (ACC 50.0)." in text
    )


def test_real_data_come_before_the_embedded_victims() -> None:
    embedded = [
        record for one in (cells("ft", 0.9, protocol="embedded"), cells("gradient", 0.1, protocol="embedded"))
        for record in one
    ]  # fmt: skip
    real = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.1)]
    found = verdict(make_rows([*real, *_elsewhere(embedded)]), Resampler())
    assert found[0].startswith("On real data. Choosing heads is not shown to help")
    assert found[1].startswith("On the embedded victims (development). No random mask was run")


def _elsewhere(records: list[Record]) -> list[Record]:
    """The records as another family's."""
    from dataclasses import replace

    return [
        replace(one, victim=f"tiny-s{one.attacker_seed}", victim_sha256="e" * 60 + one.victim_sha256[-4:])
        for one in records
    ]


def test_lines_say_what_each_rival_leaves_and_on_how_many_records() -> None:
    records = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.1, (11, 12))]
    line = verdict(make_rows(records), Resampler())[1]
    assert line.startswith(
        "alpha, protocol phrases-15k, 2e-5: the best strategy, gradient (2 of 4 heads kept, ACC 50.0), leaves 50.0 "
        "points above the floor (5 attackers, 5 defender records); a random mask (random-third, ACC 50.0) leaves less, "
        "-40.0 ["
    )
    assert "] points over 2 shared records; ft at the same rate (ACC 50.0) leaves more, +40.0 [" in line


def test_nothing_to_compare_is_said() -> None:
    assert verdict(make_rows(cells("ft", 0.9)), Resampler()) == [
        "No strategy stands beside plain fine-tuning or a random mask here, so nothing is compared."
    ]
