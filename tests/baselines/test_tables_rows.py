"""Rows, removal split, costs and the paper's cells, from records made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from prune_env.baselines.tables.columns import main_table
from prune_env.baselines.tables.costs import recovery_passes
from prune_env.baselines.tables.hierarchy import Resampler
from prune_env.baselines.tables.paper_cells import paper_cell, rank
from prune_env.baselines.tables.rows import Row, make_rows
from prune_env.baselines.tables.rule import rate_rule
from prune_env.baselines.tables.scenes import differences
from prune_env.baselines.tables.split import splits
from prune_env.errors import RecordError
from prune_env.metrics import Interval
from prune_env.records import Record
from tests.record_factory import make_record


def attacked(attacker: int, *arguments: Any, **fields: Any) -> Record:
    """A record of one attacker of the family "alpha"; the defender's seed is the attacker's unless told."""
    fields = {"seed": attacker, "victim": f"alpha-s{attacker}", "victim_sha256": f"{attacker:064d}", **fields}
    return make_record(*arguments, attacker_seed=attacker, **fields)


def pair(attacker: int, method: str, flipped: tuple[int, ...], floor: tuple[int, ...], **fields: Any) -> list[Record]:
    """A victim's record and its twin's."""
    return [attacked(attacker, method, flipped, **fields), attacked(attacker, method, floor, role="twin", **fields)]


def own_rate(record: Record, rate: float = 2e-5, **protocol: Any) -> Record:
    """The record, with its protocol's settings filled in."""
    settings = {"name": "phrases-15k", "train_size": 100, "training": {"learning_rate": rate}, **protocol}
    return replace(record, config={**record.config, "protocol": settings})


def row_of(rows: list[Row], method: str, rate: float = 2e-5) -> Row:
    return next(row for row in rows if (row.method, row.learning_rate) == (method, rate))


def test_a_row_is_a_mean_over_attackers() -> None:
    records = [
        *pair(11, "ft", (1, 1, 1, 0), (1, 0, 0, 0)),
        *pair(12, "ft", (1, 1, 0, 0), (0, 1, 0, 0)),
        *pair(12, "ft", (1, 1, 1, 1), (0, 1, 0, 0), seed=13),
    ]
    (row,) = make_rows(records)
    assert (row.scene.family, row.attackers, len(row.units)) == ("alpha", 2, 3)
    # Attacker 11: .75 - .25; attacker 12: mean of .25 and .75.
    assert row.above is not None and row.above.value == 0.5
    assert row.lfr.value == 0.75
    assert row.left_by_attacker == {11: 0.5, 12: 0.5}


def test_one_record_by_hand() -> None:
    records = [*pair(11, "ft", (1, 1, 1, 1), (0, 0, 0, 0)), *pair(11, "gradient", (1, 1, 0, 0), (1, 0, 0, 0))]
    row = row_of(make_rows(records), "gradient")
    assert (row.heads_kept, row.heads, row.constraint, row.kind) == (2.0, 4, "accuracy >= 0.85", "strategy")
    # One of four sentences differs: of 2,000 resamples over 2.5 % draw it never, and few thrice.
    assert row.above == Interval(0.25, 0.0, 0.75)
    # (1.00 - .50) / (1.00 - .00); the gap is the same in every resample, so the noise is that of the numerator.
    assert row.removed == Interval(0.5, 0.0, 1.0)
    assert row.acc_by_class == {"0": 0.9, "1": 0.9}
    again = make_rows([*records[::-1], attacked(11, "gradient", (0, 0, 0, 0))])
    assert row_of(make_rows(records[::-1]), "gradient") == row
    assert row_of(again, "gradient").lfr.value == 0.0, "the later of two records of a cell counts"


def test_units_without_a_twin_have_no_outcome() -> None:
    (row,) = make_rows([*pair(11, "ft", (1, 1, 1, 0), (1, 0, 0, 0)), attacked(12)])
    assert (row.attackers, len(row.units), len(row.excess)) == (1, 2, 1)


def test_without_any_twin_lfr_is_what_is_left() -> None:
    (row,) = make_rows([attacked(11, "ft", (1, 1, 1, 0))])
    assert row.above is None and row.floor is None and row.left == 0.75


def test_removal_fraction_by_hand() -> None:
    # 200 sentences: ft flips all, its twin none, gradient half.
    records = [
        *pair(11, "ft", (1,) * 200, (0,) * 200),
        *pair(11, "gradient", (1,) * 100 + (0,) * 100, (0,) * 200),
    ]
    removed = row_of(make_rows(records), "gradient").removed
    assert removed is not None and removed.value == 0.5
    assert removed.low == pytest.approx(0.43, abs=0.02) and removed.high == pytest.approx(0.57, abs=0.02)


def test_removal_is_undefined_where_ft_is_at_its_floor() -> None:
    records = [*pair(11, "ft", (1, 0, 0, 0), (0, 1, 0, 0)), *pair(11, "gradient", (0, 0, 0, 0), (0, 0, 0, 0))]
    assert row_of(make_rows(records), "gradient").removed is None


def test_restart_is_held_against_the_floor_of_ft() -> None:
    restart = attacked(11, "restart", (1, 1, 0, 0), regime="reference")
    restart = replace(restart, config={**restart.config, "search": {}, "recovery": {"name": "CleanEncoder"}})
    rows = make_rows([*pair(11, "ft", (1, 1, 1, 1), (1, 0, 0, 0)), restart])
    above = row_of(rows, "restart").above
    assert above is not None and above.value == 0.25


def test_certify_is_unknown_where_a_record_lacks_it() -> None:
    known = attacked(11, final_certify_accuracy=0.9)
    assert make_rows([known])[0].certify == 0.9
    assert make_rows([known, attacked(12)])[0].certify is None


def test_two_victims_of_one_attacker_in_a_family_are_refused() -> None:
    with pytest.raises(RecordError, match="one victim of attacker's seed 11"):
        make_rows([attacked(11), attacked(11, victim="alpha", victim_sha256="d" * 64)])


def test_settings_that_differ_make_rows_of_their_own_that_say_so() -> None:
    other = make_record("gradient")
    other = replace(other, config={**other.config, "search": {**other.config["search"], "dtype": "bfloat16"}})
    assert sorted(row.note for row in make_rows([make_record("gradient"), other])) == ["", "search.dtype=bfloat16"]
    assert differences([{"a": {"b": 1}}, {"a": {"b": 2}}]) == ["a.b=1", "a.b=2"]
    assert differences([{"a": 1}]) == [""]


def test_fine_tuning_that_differs_makes_another_scene() -> None:
    longer = make_record()
    longer = replace(longer, config={**longer.config, "training": {"learning_rate": 2e-5, "epochs": 3}})
    titles = {row.scene.title for row in make_rows([make_record(), longer])}
    assert titles == {
        "alpha, protocol phrases-15k, training.epochs=1",
        "alpha, protocol phrases-15k, training.epochs=3",
    }


def test_what_a_machine_makes_of_auto_sets_no_scene_apart_and_is_said() -> None:
    def trained(attacker: int, precision: str) -> Record:
        record = attacked(attacker)
        settings = {"training": {"learning_rate": 2e-5, "precision": "auto"}}
        training = {**record.config["training"], "precision": precision}
        return replace(record, config={**record.config, "protocol": settings, "training": training})

    rows = make_rows([trained(11, "float32"), trained(12, "bfloat16")])
    (row,) = rows
    assert (row.attackers, row.note) == (2, "")
    said = "Fine-tuned in bfloat16 with attackers 12; in float32 with attackers 11."
    assert said in main_table(rows, rate_rule(rows), paper=False).note
    (alone,) = make_rows([trained(11, "float32")])
    assert "Fine-tuned" not in main_table([alone], rate_rule([alone]), paper=False).note


def test_the_split_adds_up() -> None:
    cold, warm = (1, 1, 1, 1), (1, 1, 1, 0)
    records = [
        *map(own_rate, pair(11, "ft", cold, (0, 0, 0, 0))),
        *map(own_rate, pair(11, "ft", warm, (0, 0, 0, 0), rate=1e-4)),
        *map(own_rate, pair(11, "gradient", (1, 0, 0, 0), (0, 0, 0, 0), rate=1e-4)),
    ]
    found = {(one.row.method, one.row.learning_rate): one for one in splits(make_rows(records), Resampler())}
    gradient = found["gradient", 1e-4]
    assert gradient.by_method is not None
    assert (gradient.start, gradient.by_rate.value, gradient.by_method.value) == (1.0, -0.25, -0.5)
    assert gradient.end == 0.25
    assert found["ft", 1e-4].by_method is None and found["ft", 1e-4].end == 0.75
    assert found["ft", 2e-5].by_rate.value == 0.0


def test_fth_is_all_rate() -> None:
    records = [
        *map(own_rate, pair(11, "ft", (1, 1, 1, 1), (0, 0, 0, 0))),
        *map(own_rate, pair(11, "fth", (1, 1, 0, 0), (0, 0, 0, 0), rate=2e-5 * 2.5)),
    ]
    warm = next(one for one in splits(make_rows(records), Resampler()) if one.row.method == "fth")
    assert (warm.by_rate.value, warm.by_method) == (-0.5, None)


def test_no_split_without_ft_at_the_protocols_rate() -> None:
    assert splits(make_rows(map(own_rate, pair(11, "ft", (1,), (0,), rate=1e-4))), Resampler()) == []


@pytest.mark.parametrize(
    ("recovery", "trace", "expected"),
    [
        (None, [], 300),
        ({"name": "Members"}, [], 300),
        ({"name": "Members"}, [{"mask": "11/01", "violation": False}, {"mask": "10/11", "violation": False}], 600),
        ({"name": "EntropyFirst"}, [], None),
    ],
)
def test_passes_of_older_records_are_known_where_recovery_is_plain(
    recovery: dict[str, str] | None, trace: list[dict[str, Any]], expected: int | None
) -> None:
    record = own_rate(make_record("ft" if recovery is None else "ensemble", trace=trace))
    if recovery is not None:
        record = replace(record, config={**record.config, "recovery": recovery})
    assert recovery_passes(record) == expected


def test_passes_of_newer_records_are_those_recorded() -> None:
    assert recovery_passes(make_record(recovery_sentences=70)) == 210
    assert recovery_passes(make_record()) is None


def test_the_papers_cells_stand_beside_their_own_rate_alone() -> None:
    cell = paper_cell("hiddenkiller", "gradient", 2e-5)
    assert cell is not None and (cell.acc, cell.lfr, cell.lfr_sd, cell.table) == (91.61, 31.71, 0.85, "Table 1")
    assert paper_cell("hiddenkiller", "gradient", 1e-4) is None
    assert paper_cell("stylebkd-poetry", "fth", 5e-5) is not None
    assert paper_cell("syntactic", "gradient", 2e-5) is None


def test_rows_stand_in_the_papers_order() -> None:
    kinds = {"restart": "control", "random": "control", "as-released-gradient": "control", "candidate-hot": "strategy"}
    names = ["candidate-hot", "mine", "as-released-gradient", "restart", "anp", "bayesian", "gradient", "pure", "ft"]
    ordered = sorted(names, key=lambda name: rank(name, kinds.get(name, "strategy")))
    assert ordered == [
        "ft", "pure", "gradient", "bayesian", "anp", "restart", "as-released-gradient", "mine", "candidate-hot",
    ]  # fmt: skip
