"""What the first paragraph makes of the numbers: what was declared first, and everything else as exploratory."""

from __future__ import annotations

from prune_env.baselines.tables.contrasts import contrasts
from prune_env.baselines.tables.hierarchy import Resampler
from prune_env.baselines.tables.rows import make_rows
from prune_env.baselines.tables.settings import beats_all, ranked
from prune_env.baselines.tables.verdict import verdict
from prune_env.records import Record
from tests.baselines.test_tables_contrasts import FIVE, FLOOR, cells, first, two_rates
from tests.baselines.test_tables_rows import attacked, pair

UNDECLARED = "No primary contrast was declared for these victims (PROTOCOL.md); all of this is exploratory. "
UNMET = "no random mask was run beside the strategies, so nothing here says whether choosing heads is worth it."

LIMIT = 130
"""Words that the first paragraph may have where nothing is left out."""


def all_said(records: list[Record]) -> list[str]:
    rows = make_rows(records)
    return verdict(rows, contrasts(rows, Resampler()), Resampler())


def said(records: list[Record]) -> str:
    return all_said(records)[0]


def bullets(records: list[Record]) -> str:
    return "\n".join(all_said(records)[1:])


def restarted(share: float, attackers: tuple[int, ...] = FIVE, rate: float = 2e-5) -> list[Record]:
    """Records of restart, which has no twin of its own."""
    config = {
        "protocol": {"name": "phrases-15k"}, "search": {}, "training": {"learning_rate": rate, "epochs": 1},
        "recovery": {"name": "CleanEncoder"},
    }  # fmt: skip
    return [
        attacked(one, "restart", first(share), victim=f"hiddenkiller-minilm-s{one}", regime="reference", config=config)
        for one in attackers
    ]


def test_the_primary_contrasts_lead_and_say_how_they_are_decided() -> None:
    text, first_bullet, *others = all_said(two_rates((0.9, 0.896)))
    assert text.startswith(
        "2 of the 2 declared primary contrasts are decided: gradient leaves less than ft on hiddenkiller-minilm, more "
        "than random-third on hiddenkiller-minilm; the rest is exploratory. Choosing heads is not shown to help: "
    )
    assert first_bullet.startswith(
        "Primary contrasts, hiddenkiller-minilm, protocol phrases-15k (PROTOCOL.md; points above the matched floor, "
        "below zero the first leaves less). gradient - ft: -40.0 ["
    )
    assert "] at 1e-4; 2 and 4 of 4 heads kept; decided: less, 5 attackers. gradient - random-third: +40.0 [" in (
        first_bullet
    )
    assert first_bullet.endswith("decided: more, 5 attackers.") and "2e-5" not in first_bullet
    assert all(line.startswith("Exploratory") for line in others if not line.startswith("Behind each comparison"))


def test_one_decided_contrast_and_what_the_others_lack() -> None:
    style = {"family": "stylebkd-poetry-minilm", "attack": "stylebkd-poetry", "victim_sha256": "b" * 64}
    two = [record for record in two_rates((0.9, 0.896)) if record.method != "random-third"]
    third = [one for rate in (2e-5, 1e-4) for one in cells("random-third", 0.5, rate=rate)]
    few = [*cells("ft", 0.9, (11, 12), **style), *cells("gradient", 0.5, (11, 12), **style)]
    assert said([*two, *third, *few]).startswith(
        "1 of the 4 declared primary contrasts is decided (1 with 2 attackers where 5 are needed, 1 with an interval "
        "that includes zero, 1 not run): gradient leaves less than ft on hiddenkiller-minilm; the rest is exploratory."
    )


def test_where_the_rule_is_unknown_every_rate_is_told() -> None:
    def records(attackers: tuple[int, ...]) -> list[Record]:
        return [
            one
            for rate in (2e-5, 1e-4)
            for method, share in (("ft", 0.9), ("gradient", 0.5))
            for one in cells(method, share, attackers, rate=rate)
        ]

    text, first_bullet, *_ = all_said(records((11,)))
    assert text.startswith(
        "None of the 2 declared primary contrasts is decided (1 with 1 attacker where 5 are needed, 1 not run); "
    )
    assert first_bullet.count("-40.0 [") == 2
    assert first_bullet.endswith(
        "at 1e-4; 2 and 4 of 4 heads kept; lead (1 attacker), rate rule unknown. gradient - random-third was not run."
    )
    assert "(1 without a rate by the rate rule, 1 not run)" in said(records(FIVE))


def test_other_victims_have_no_primary_contrast() -> None:
    text, first_bullet, *_ = all_said([*cells("ft", 0.9, family="alpha"), *cells("gradient", 0.5, family="alpha")])
    assert text == f"{UNDECLARED}N{UNMET[1:]} At least 5 attackers stand behind each comparison."
    assert first_bullet.startswith(
        "Exploratory: gradient pruning, at every rate: against ft at the same rate it leaves"
    )


def test_random_masks_that_do_better_are_said() -> None:
    records = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.1)]
    assert (
        "Choosing heads is not shown to help: random masks at the same rate leave less than the only strategy in 1 of "
        "1 setting (ACC +0.0)."
    ) in said(records)
    text = bullets(records)
    assert (
        "Exploratory: choosing heads is not shown to help: beside a mask drawn without looking (random-third) at the "
        "same rate, the only strategy leaves less in 0, more in 1 and is not told apart in 0 of 1 setting (heads kept: "
        "2 of 4 beside 2; its ACC minus the strategy's: +0.0 points)."
    ) in text
    assert "against ft at the same rate it leaves less in 1, more in 0" in text
    assert "against random-third at the same rate it leaves less in 0, more in 1" in text
    assert "Behind each comparison stand 5 attackers." in text


def test_random_masks_that_do_as_well_are_said() -> None:
    text = said([*cells("gradient", 0.5), *cells("bayesian", 0.6), *cells("random-third", 0.5)])
    assert (
        "Choosing heads is not shown to help: random masks at the same rate do as well as the best strategy, as far as "
        "can be told, in 1 of 1 setting (ACC +0.0)."
    ) in text


def test_one_won_and_one_lost_is_no_help() -> None:
    def setting(rate: float, gradient: float, third: float) -> list[Record]:
        return [*cells("gradient", gradient, rate=rate), *cells("random-third", third, rate=rate)]

    assert "help: random masks at the same rate leave less than the only strategy in 1 of 2 settings and more in 1" in (
        said([*setting(2e-5, 0.5, 0.1), *setting(1e-4, 0.1, 0.5)])
    )
    won = [*setting(2e-5, 0.5, 0.1), *setting(1e-4, 0.1, 0.5), *setting(5e-5, 0.1, 0.5)]
    assert " Choosing heads helps in part here: random masks" in said(won)


def test_a_strategy_that_beats_chance_is_said_with_gradients_share() -> None:
    records = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("bayesian", 0.1), *cells("random-third", 0.4)]
    assert (
        "Choosing heads helps here, though not by gradient: random masks at the same rate leave less than the best "
        "strategy (picked after the fact) in none of 1 setting and more in 1 (ACC +0.0)."
    ) in said(records)
    text = bullets(records)
    assert "Exploratory: choosing heads helps here, though not by gradient: beside a mask" in text
    assert "the best of up to 2 strategies, picked after the fact, leaves less in 1," in text
    assert (
        "Exploratory: of 2 strategies, at least one leaves less than ft at the same rate in 1 of 1 setting (bayesian, "
        "gradient), uncorrected for how many were tried." in text
    )


def test_choosing_is_held_against_the_random_mask_that_does_best() -> None:
    text = bullets([*cells("gradient", 0.5), *cells("random", 0.9), *cells("random-third", 0.1, mask="10/00")])
    assert "choosing heads is not shown to help: beside a mask drawn without looking (random-third) at the" in text
    assert "against random-third at the same rate it leaves less in 0, more in 1" in text
    beaten = bullets([*cells("gradient", 0.1), *cells("random", 0.9), *cells("random-third", 0.5, mask="10/00")])
    assert "choosing heads helps here: beside a mask drawn without looking (random-third) at the same rate" in beaten


def test_fth_is_a_warmer_fine_tuning() -> None:
    records = [*cells("ft", 0.9), *cells("gradient", 0.5)]
    assert "no warmer fine-tuning was run" in bullets(records)
    text = bullets([*records, *cells("fth", 0.2, rate=5e-5)])
    assert (
        "a warmer fine-tuning that prunes nothing, beside the best strategy at the lower rate, leaves less in" in text
    )


def test_strategies_are_ranked_over_the_attackers_that_all_have() -> None:
    # Over all it has, bayesian leaves less (30 beside 74 points); on attacker 11, which both have, gradient does.
    records = [*cells("gradient", 0.1, (11,)), *cells("gradient", 0.9, FIVE[1:]), *cells("bayesian", 0.3, (11,))]
    records += cells("ft", 0.95)
    order, units = ranked([row for row in make_rows(records) if row.method != "ft"])
    assert [row.method for row in order] == ["gradient", "bayesian"] and units == ((11, 11),)
    line = all_said(records)[-1]
    assert "the best of 2 strategies, ranked over 1 attacker, gradient (2 of 4 heads kept" in line


def test_without_a_shared_attacker_the_rows_with_most_of_them_are_ranked() -> None:
    rows = make_rows([*cells("gradient", 0.9, (12, 13)), *cells("bayesian", 0.1, (11,))])
    order, units = ranked(rows)
    assert [row.method for row in order] == ["gradient"] and units == ((12, 12), (13, 13))


def test_restart_leaves_the_fewest_only_where_it_is_told_apart_from_each_other_row() -> None:
    others = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.3, rate=1e-4)]

    def told(records: list[Record]) -> list[tuple[str, int]]:
        return [(row.scene.family, who) for row, who in beats_all(make_rows(records), Resampler())]

    assert told([*others, *restarted(0.0)]) == [("hiddenkiller-minilm", 5)]
    assert told([*others, *restarted(0.3)]) == []
    # Lower on the one attacker it has, but another row has no attacker of it.
    unmet = [*cells("ft", 0.9), *cells("gradient", 0.5, (12, 13))]
    assert told([*unmet, *restarted(0.0, (11,))]) == []


def test_settings_at_the_floor_are_counted_as_such() -> None:
    records = [
        record
        for method, flips in (("gradient", FLOOR), ("random-third", first(0.2)))
        for one in FIVE
        for record in pair(one, method, flips, first(0.4), victim=f"hiddenkiller-minilm-s{one}")
    ]
    text = bullets(records)
    assert (
        "the only strategy leaves less in 0, more in 0 and is not told apart in 0, both are at the floor in 1" in text
    )
    assert "is at the floor, as the strategy is" in all_said(records)[-1]
    assert "do as well as the only strategy, as far as can be told, in 1 of 1 setting" in said(records)


def test_the_projects_own_defence_is_no_strategy_that_chooses() -> None:
    shares = {"ft": 0.9, "gradient": 0.5, "random-third": 0.3, "hybrid": 0.1}
    records = [record for name, share in shares.items() for record in cells(name, share, range(11, 17))]
    text = said(records)
    assert "Choosing heads is not shown to help: " in text and "the only strategy" in text
    assert (
        "The project's own defence (hybrid) leaves 10.0 points above floor on hiddenkiller-minilm (less than ft, less "
        "than random-third) and 10.0 on hiddenkiller-minilm, tuned there (less than ft, less than random-third)."
        in text
    )
    assert text.endswith("What rests on fewer than 5 attackers is a lead, not a result.")
    text = bullets(records)
    assert (
        "The project's own defence (hybrid), which draws heads: against ft at the same rate, on attackers that confirm "
        "(3 attackers), it leaves less in 1, more in 0" in text
    )
    assert "against random-third at the same rate, on those it was tuned on (3 attackers), it leaves less in 1" in text


def test_leads_are_called_so() -> None:
    records = [*cells("ft", 0.9, (11,)), *cells("gradient", 0.1, (11,)), *cells("random-third", 0.4, (11,))]
    assert "As a lead, choosing heads helps here: random masks" in said(records)
    assert said(records).endswith("With 1 attacker each, all of it is a lead, not a result.")
    assert (
        "\nWith 1 attacker behind a comparison, what rests on fewer than 5 is a lead and not a result. "
        "Where there is one, the intervals do not cover how attackers vary.\n"
    ) in bullets(records)


def test_a_warmer_rate_that_does_better_is_said_with_its_accuracy() -> None:
    records = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("ft", 0.1, rate=1e-4)]
    warmer = (
        "A warmer fine-tuning without pruning leaves less than the best strategy at the lower rate in 1 of 1 setting "
        "(ACC +0.0)."
    )
    assert warmer in said(records)
    assert f"Exploratory: {UNMET}\n" in bullets(records)
    assert (
        "beside the best strategy at the lower rate, leaves less in 1, more in 0 and is not told apart in 0 of 1 "
        "setting (its ACC minus the strategy's: +0.0 points)." in bullets(records)
    )
    worse = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("ft", 0.9, rate=1e-4)]
    assert "warmer" not in said(worse) and "leaves less in 0, more in 1" in bullets(worse)


def test_restart_that_beats_all_is_said() -> None:
    records = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.6), *restarted(0.0)]
    assert "A fresh start (restart) leaves less than every other method on hiddenkiller-minilm (ACC 50.0)." in said(
        records
    )
    assert "(restart), where one can be had, beside the best strategy at the same rate, leaves less in 1" in (
        bullets(records)
    )
    assert (
        " Restart leaves less than each other method at each rate on hiddenkiller-minilm, protocol phrases-15k (at "
        "2e-5, ACC 50.0, 5 attackers).\n" in bullets(records)
    )


def test_restart_that_beats_the_strategies_alone_is_said() -> None:
    text = said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.0), *restarted(0.0)])
    assert "(restart) leaves less than the best strategy in 1 of 1 setting (ACC +0.0)." in text


def test_the_first_paragraph_is_short() -> None:
    """Two attacks of three attackers at two rates, where everything there is to say is said."""
    shares = {"ft": 0.9, "gradient": 0.7, "bayesian": 0.8, "random-third": 0.5, "hybrid": 0.3}
    style = {"family": "stylebkd-poetry-minilm", "attack": "stylebkd-poetry", "victim_sha256": "b" * 64}
    records = [
        record
        for fields in ({}, style)
        for name, share in shares.items()
        for rate, times in ((2e-5, 1.0), (1e-4, 0.5))
        if rate == 1e-4 or name != "hybrid"
        for record in cells(name, share * times, (11, 12, 13), rate=rate, **fields)
    ]
    text = said([*records, *restarted(0.0, (11, 12, 13))])
    told = (
        "None of the 4",
        "Choosing heads",
        "A warmer",
        "A fresh start",
        "The project's own defence",
        "With 3 attack",
    )
    assert all(words in text for words in told)
    assert len(text.split()) <= LIMIT


def test_real_data_come_before_the_embedded_victims() -> None:
    embedded = [
        *cells("ft", 0.9, family="tiny", protocol="embedded", victim_sha256="e" * 64),
        *cells("gradient", 0.1, family="tiny", protocol="embedded", victim_sha256="e" * 64),
    ]
    real = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.1)]
    found = all_said([*real, *embedded])
    assert found[0].startswith("On real data. None of the 2 declared primary contrasts is decided (2 without a rate")
    (place,) = [index for index, line in enumerate(found) if line.startswith("On the embedded victims (development): ")]
    assert found[place].endswith(f": n{UNDECLARED[1:]}N{UNMET[1:]} At least 5 attackers stand behind each comparison.")
    assert found[1].startswith("Primary contrasts, hiddenkiller-minilm")
    assert not any("mbedded" in line or "tiny" in line for line in found[:place])
    assert all(line.startswith("Embedded victims. ") for line in found[place + 1 : -1])
    assert found[-1].startswith("Exploratory, tiny, protocol embedded, 2e-5: ")


def test_lines_say_what_each_rival_leaves_and_on_how_many_records() -> None:
    line = all_said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.1, (11, 12))])[-1]
    assert line.startswith(
        "Exploratory, hiddenkiller-minilm, protocol phrases-15k, 2e-5: the only strategy, gradient (2 of 4 heads kept, "
        "ACC 50.0), leaves 50.0 points above the floor (5 attackers, 5 defender records); a random mask (random-third, "
        "2 heads kept, ACC 50.0) leaves less, -40.0 ["
    )
    assert "] points over 2 shared records; ft at the same rate (ACC 50.0) leaves more, +40.0 [" in line


def test_nothing_to_compare_is_said() -> None:
    nothing = (
        "No strategy that chooses heads stands beside plain fine-tuning or a random mask here; what else was compared "
        "is among the contrasts below."
    )
    assert all_said(cells("ft", 0.9, family="alpha")) == [f"{UNDECLARED}{nothing}"]
    text, first_bullet = all_said(cells("ft", 0.9))
    assert text == (
        f"None of the 2 declared primary contrasts is decided (2 not run); the rest is exploratory. {nothing}"
    )
    assert first_bullet.endswith(". gradient - ft was not run. gradient - random-third was not run.")
