"""What the first paragraph makes of the numbers: what was declared first, and everything else as exploratory."""

from __future__ import annotations

from prune_env.baselines.tables.contrasts import contrasts
from prune_env.baselines.tables.hierarchy import Resampler
from prune_env.baselines.tables.rows import make_rows
from prune_env.baselines.tables.settings import ranked
from prune_env.baselines.tables.verdict import fewest, verdict
from prune_env.records import Record
from tests.baselines.test_tables_contrasts import FIVE, FLOOR, cells, first, two_rates
from tests.baselines.test_tables_rows import attacked, pair

UNDECLARED = "No primary contrast was declared for these victims (PROTOCOL.md). Exploratory: "


def all_said(records: list[Record]) -> list[str]:
    rows = make_rows(records)
    return verdict(rows, contrasts(rows, Resampler()), Resampler())


def said(records: list[Record]) -> str:
    return all_said(records)[0]


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


def test_the_primary_contrasts_lead_at_the_rules_rate_with_their_status() -> None:
    text = said(two_rates((0.9, 0.896)))
    assert text.startswith(
        "Primary contrasts (PROTOCOL.md; points above the matched floor, below zero the first leaves less): "
        "hiddenkiller-minilm, protocol phrases-15k: gradient - ft at 1e-4: -40.0 ["
    )
    declared, _, rest = text.partition(" Exploratory: ")
    assert (
        "], 2 and 4 of 4 heads kept (decided: less, 5 attackers); gradient - random-third at 1e-4: +40.0 [" in declared
    )
    assert declared.endswith("(decided: more, 5 attackers).") and "2e-5" not in declared
    assert rest.startswith("choosing heads is not shown to help: beside a mask drawn without looking (random-third)")
    assert all(line.startswith("Exploratory, ") for line in all_said(two_rates((0.9, 0.896)))[1:])


def test_where_the_rule_is_unknown_every_rate_is_told() -> None:
    records = [*cells("ft", 0.9, (11,)), *cells("gradient", 0.5, (11,))]
    records += [*cells("ft", 0.9, (11,), rate=1e-4), *cells("gradient", 0.5, (11,), rate=1e-4)]
    text = said(records).partition(" Exploratory: ")[0]
    assert text.count("(lead (1 attacker), rate rule unknown)") == 2
    assert text.endswith("gradient - random-third was not run.")


def test_other_victims_have_no_primary_contrast() -> None:
    text = said([*cells("ft", 0.9, family="alpha"), *cells("gradient", 0.5, family="alpha")])
    assert text.startswith(f"{UNDECLARED}no random mask was run beside the strategies")


def test_random_masks_that_do_better_are_said() -> None:
    text = said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.1)])
    assert (
        "Exploratory: choosing heads is not shown to help: beside a mask drawn without looking (random-third) at the "
        "same rate, the only strategy leaves less in 0, more in 1 and is not told apart in 0 of 1 setting (heads kept: "
        "2 of 4 beside 2; its ACC minus the strategy's: +0.0 points)."
    ) in text
    assert "against ft at the same rate it leaves less in 1, more in 0" in text
    assert "against random-third at the same rate it leaves less in 0, more in 1" in text
    assert "Behind each comparison stand 5 attackers." in text


def test_one_won_and_one_lost_is_no_help() -> None:
    def setting(rate: float, gradient: float, third: float) -> list[Record]:
        return [*cells("gradient", gradient, rate=rate), *cells("random-third", third, rate=rate)]

    assert "Exploratory: choosing heads is not shown to help:" in said(
        [*setting(2e-5, 0.5, 0.1), *setting(1e-4, 0.1, 0.5)]
    )
    won = [*setting(2e-5, 0.5, 0.1), *setting(1e-4, 0.1, 0.5), *setting(5e-5, 0.1, 0.5)]
    assert "Exploratory: choosing heads helps in part here:" in said(won)


def test_a_strategy_that_beats_chance_is_said_with_gradients_share() -> None:
    text = said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("bayesian", 0.1), *cells("random-third", 0.4)])
    assert "Exploratory: choosing heads helps here, though not by gradient: beside a mask" in text
    assert "the best of up to 2 strategies, picked after the fact, leaves less in 1," in text
    assert (
        "Of 2 strategies, at least one leaves less than ft at the same rate in 1 of 1 setting (bayesian, gradient), "
        "uncorrected for how many were tried." in text
    )


def test_choosing_is_held_against_the_matched_mask_where_there_is_one() -> None:
    text = said([*cells("gradient", 0.5), *cells("random", 0.9), *cells("random-third", 0.1, mask="10/00")])
    assert "choosing heads helps here: beside a mask drawn without looking (random) at the same rate" in text
    assert "against random-third at the same rate it leaves less in 0, more in 1" in text


def test_strategies_are_ranked_over_the_attackers_that_all_have() -> None:
    # Over all it has, bayesian leaves less (30 beside 74 points); on attacker 11, which both have, gradient does.
    records = [*cells("gradient", 0.1, (11,)), *cells("gradient", 0.9, FIVE[1:]), *cells("bayesian", 0.3, (11,))]
    records += cells("ft", 0.95)
    order, units = ranked([row for row in make_rows(records) if row.method != "ft"])
    assert [row.method for row in order] == ["gradient", "bayesian"] and units == ((11, 11),)
    line = all_said(records)[1]
    assert "the best of 2 strategies, ranked over 1 attacker, gradient (2 of 4 heads kept" in line


def test_without_a_shared_attacker_the_rows_with_most_of_them_are_ranked() -> None:
    rows = make_rows([*cells("gradient", 0.9, (12, 13)), *cells("bayesian", 0.1, (11,))])
    order, units = ranked(rows)
    assert [row.method for row in order] == ["gradient"] and units == ((12, 12), (13, 13))


def test_restart_leaves_the_fewest_only_where_it_is_told_apart_from_each_other_row() -> None:
    others = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.3, rate=1e-4)]

    def told(records: list[Record]) -> str:
        return fewest(make_rows(records), Resampler())

    assert told([*others, *restarted(0.0)]) == (
        "Restart leaves less than each other method at each rate on hiddenkiller-minilm, protocol phrases-15k "
        "(at 2e-5, ACC 50.0, 5 attackers)."
    )
    assert told([*others, *restarted(0.3)]) == ""
    # Lower on the one attacker it has, but another row has no attacker of it.
    unmet = [*cells("ft", 0.9), *cells("gradient", 0.5, (12, 13))]
    assert told([*unmet, *restarted(0.0, (11,))]) == ""


def test_settings_at_the_floor_are_counted_as_such() -> None:
    records = [
        record
        for method, flips in (("gradient", FLOOR), ("random-third", first(0.2)))
        for one in FIVE
        for record in pair(one, method, flips, first(0.4), victim=f"hiddenkiller-minilm-s{one}")
    ]
    text = said(records)
    assert (
        "the only strategy leaves less in 0, more in 0 and is not told apart in 0, both are at the floor in 1" in text
    )
    assert "is at the floor, as the strategy is" in all_said(records)[1]


def test_the_projects_own_defence_is_no_strategy_that_chooses() -> None:
    shares = {"ft": 0.9, "gradient": 0.5, "random-third": 0.3, "hybrid": 0.1}
    text = said([record for name, share in shares.items() for record in cells(name, share, range(11, 17))])
    assert "choosing heads is not shown to help" in text and "the only strategy" in text
    assert (
        "The project's own defence (hybrid), which draws heads: against ft at the same rate, on attackers that confirm "
        "(3 attackers), it leaves less in 1, more in 0" in text
    )
    assert "against random-third at the same rate, on those it was tuned on (3 attackers), it leaves less in 1" in text


def test_leads_are_called_so() -> None:
    text = said([*cells("ft", 0.9, (11,)), *cells("gradient", 0.1, (11,)), *cells("random-third", 0.4, (11,))])
    assert "Exploratory: as a lead, choosing heads helps here: beside a mask" in text
    assert text.endswith(
        "With 1 attacker behind a comparison, what rests on fewer than 5 is a lead and not a result. "
        "Where there is one, the intervals do not cover how attackers vary."
    )


def test_a_warmer_rate_that_does_better_is_said_with_its_accuracy() -> None:
    text = said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("ft", 0.1, rate=1e-4)])
    assert "Exploratory: no random mask was run beside the strategies" in text
    assert (
        "beside the best strategy at the lower rate, leaves less in 1, more in 0 and is not told apart in 0 of 1 "
        "setting (its ACC minus the strategy's: +0.0 points)." in text
    )


def test_restart_that_beats_all_is_said() -> None:
    text = said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.6), *restarted(0.0)])
    assert "(restart), where one can be had, beside the best strategy at the same rate, leaves less in 1" in text
    assert "Restart leaves less than each other method at each rate on hiddenkiller-minilm" in text


def test_real_data_come_before_the_embedded_victims() -> None:
    embedded = [
        *cells("ft", 0.9, family="tiny", protocol="embedded", victim_sha256="e" * 64),
        *cells("gradient", 0.1, family="tiny", protocol="embedded", victim_sha256="e" * 64),
    ]
    real = [*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.1)]
    found = all_said([*real, *embedded])
    assert found[0].startswith("On real data. Primary contrasts (PROTOCOL.md;")
    assert found[1].startswith(f"On the embedded victims (development). {UNDECLARED}no random mask was run")


def test_lines_say_what_each_rival_leaves_and_on_how_many_records() -> None:
    line = all_said([*cells("ft", 0.9), *cells("gradient", 0.5), *cells("random-third", 0.1, (11, 12))])[1]
    assert line.startswith(
        "Exploratory, hiddenkiller-minilm, protocol phrases-15k, 2e-5: the only strategy, gradient (2 of 4 heads kept, "
        "ACC 50.0), leaves 50.0 points above the floor (5 attackers, 5 defender records); a random mask (random-third, "
        "2 heads kept, ACC 50.0) leaves less, -40.0 ["
    )
    assert "] points over 2 shared records; ft at the same rate (ACC 50.0) leaves more, +40.0 [" in line


def test_nothing_to_compare_is_said() -> None:
    assert all_said(cells("ft", 0.9)) == [
        "No strategy that chooses heads stands beside plain fine-tuning or a random mask here; what else was compared "
        "is among the contrasts below."
    ]
