"""Contrasts: differences, what PROTOCOL.md makes of them, and what decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from prune_env.baselines.tables.columns import main_table
from prune_env.baselines.tables.contrasts import Contrast, contrasts
from prune_env.baselines.tables.hierarchy import Resampler
from prune_env.baselines.tables.rows import make_rows
from prune_env.baselines.tables.rule import rate_rule
from prune_env.records import Record, bits_to_text
from tests.baselines.test_tables_rows import pair

SENTENCES = 40
FLOOR = (0,) * SENTENCES
FIVE = (11, 12, 13, 14, 15)


def first(share: float) -> tuple[int, ...]:
    """Flips of the first sentences."""
    flips = round(share * SENTENCES)
    return (1,) * flips + (0,) * (SENTENCES - flips)


def cells(
    method: str, share: float, attackers: Sequence[int] = FIVE, family: str = "hiddenkiller-minilm", **fields: Any
) -> list[Record]:
    """Records of victims and twins, one defender an attacker; the twins flip nothing."""
    return [
        record
        for one in attackers
        for record in pair(one, method, first(share), FLOOR, **{"victim": f"{family}-s{one}", **fields})
    ]


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


def test_without_a_shared_unit_there_is_no_contrast() -> None:
    rows = make_rows([*cells("ft", 0.9, (11,)), *cells("gradient", 0.5, (12,))])
    assert contrasts(rows, Resampler()) == []


def test_only_declared_families_and_attackers_are_primary() -> None:
    def roles(family: str, attackers: Sequence[int] = FIVE, **fields: Any) -> list[tuple[str, int]]:
        records = [*cells("ft", 0.9, attackers, family, **fields), *cells("gradient", 0.5, attackers, family, **fields)]
        return [(one.role, one.attackers) for one in contrasts(make_rows(records), Resampler())]

    assert roles("stylebkd-poetry-minilm", attack="stylebkd-poetry") == [("primary", 5)]
    assert roles("hiddenkiller-bert") == [("exploratory", 5)]
    assert roles("hiddenkiller-minilm", protocol="full") == [("exploratory", 5)]
    # An attacker that was not declared takes no part in a primary contrast.
    assert roles("hiddenkiller-minilm", (*FIVE, 17)) == [("primary", 5)]
    assert roles("hiddenkiller-minilm", (17, 18)) == []


@pytest.mark.parametrize("method", ["hybrid", "candidate-vote"])
def test_a_defence_of_the_projects_own_has_its_development_apart(method: str) -> None:
    attackers = range(11, 17)
    tuned = [*cells("ft", 0.9, attackers), *cells(method, 0.5, (11, 12, 13)), *cells(method, 0.1, (14, 15, 16))]
    found = contrasts(make_rows(tuned), Resampler())
    assert [(one.role, [unit[0] for unit in one.units]) for one in found] == [
        ("development", [11, 12, 13]),
        ("confirmation", [14, 15, 16]),
    ]
    assert [one.difference.value for one in found] == pytest.approx([-0.4, -0.8])
    style = [
        record
        for name, share in (("ft", 0.9), (method, 0.5))
        for record in cells(name, share, attackers, "stylebkd-poetry-minilm", attack="stylebkd-poetry")
    ]
    assert [(one.role, one.attackers) for one in contrasts(make_rows(style), Resampler())] == [("confirmation", 6)]


def at_two_rates(method: str, shares: dict[int, float]) -> list[Record]:
    return [
        record
        for rate in (2e-5, 1e-4)
        for attacker, share in shares.items()
        for record in cells(method, share, (attacker,), rate=rate, final_certify_accuracy=0.9)
    ]


def test_attackers_that_disagree_decide_nothing() -> None:
    records = at_two_rates("ft", dict.fromkeys(range(11, 17), 0.5))
    most = {**dict.fromkeys(range(11, 16), 0.1), 16: 0.6}
    one = find(contrasts(make_rows([*records, *at_two_rates("gradient", most)]), Resampler()), "gradient", "ft", 1e-4)
    # Five attackers at -40 points, one at +10: the interval excludes zero, one attacker does not agree.
    assert one.difference.value == pytest.approx(-1.9 / 6) and one.difference.high < 0.0
    assert (one.agreeing, one.attackers, one.status) == (5, 6, "not decided: attackers disagree")


def test_where_nothing_is_left_neither_side_leaves_less() -> None:
    def near(method: str, flips: tuple[int, ...], floor: tuple[int, ...], rate: float) -> list[Record]:
        return [
            record
            for one in FIVE
            for record in pair(
                one, method, flips, floor, victim=f"hiddenkiller-minilm-s{one}", rate=rate, final_certify_accuracy=0.9
            )
        ]

    records = [
        record
        for rate in (2e-5, 1e-4)
        for cell in (near("ft", first(0.2), first(0.2), rate), near("gradient", FLOOR, first(0.4), rate))
        for record in cell
    ]
    one = find(contrasts(make_rows(records), Resampler()), "gradient", "ft", 1e-4)
    # Zero points beside 40 below the floor: the difference excludes zero, and means nothing.
    assert one.difference.value == pytest.approx(-0.4) and one.difference.high < 0.0
    assert (one.outcome, one.status) == ("both at the floor", "not decided: both at the floor")


def test_accuracy_is_compared_over_the_units_of_the_difference() -> None:
    alone = [
        one for one in cells("gradient", 0.5, (12,), correct=bits_to_text(np.array([1, 1]))) if one.role == "victim"
    ]
    rows = make_rows([*cells("ft", 0.9, (11, 12)), *cells("gradient", 0.5, (11,)), *alone])
    one = find(contrasts(rows, Resampler()), "gradient", "ft")
    # Attacker 12 has no twin, and so no difference; its accuracy, 50 points better, is none of this contrast's.
    assert (one.units, one.acc.value) == (((11, 11),), 0.0)


def test_heads_kept_are_those_of_the_shared_units() -> None:
    sizes = [*cells("gradient", 0.5, (11,), mask="10/01"), *cells("gradient", 0.5, (12,), mask="11/11")]
    one = find(contrasts(make_rows([*sizes, *cells("ft", 0.9, (11,))]), Resampler()), "gradient", "ft")
    assert (one.heads_kept, one.row.heads_kept) == ((2.0, 4.0), 3.0)


def test_the_table_tells_on_which_attackers_the_projects_own_defence_was_tuned() -> None:
    rows = make_rows([*cells("ft", 0.9, (11, 14)), *cells("hybrid", 0.5, (11, 14))])
    names = [cells[0] for cells in main_table(rows, rate_rule(rows)).rows]
    assert names == ["ft", "hybrid (development: 11; confirmation: 14)"]


def test_every_random_mask_is_a_rival_the_matched_one_first() -> None:
    records = [*cells("gradient", 0.5), *cells("random", 0.4), *cells("random-third", 0.1)]
    found = contrasts(make_rows(records), Resampler())
    assert [(one.rival.method, one.role) for one in found] == [("random-third", "primary"), ("random", "exploratory")]
