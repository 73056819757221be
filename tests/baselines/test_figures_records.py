"""Figures drawn from records alone: the numbers in them, by hand, and what is said where there is nothing to draw."""

from __future__ import annotations

import csv
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.baselines.figures import FIGURES, get_figure, study
from prune_env.baselines.figures.drawing import Picture, Request
from prune_env.baselines.figures.heads import fallen, overlap
from prune_env.baselines.figures.intervals import lfr
from prune_env.baselines.figures.matching import one_constraint, one_rate, pairs, repetitions, threshold_of
from prune_env.baselines.figures.output import save, section, table_text, update_page
from prune_env.baselines.figures.scarcity import sentences_of
from prune_env.baselines.figures.style import look, order, spread, styled
from prune_env.baselines.figures.threshold_points import GRID, commands
from prune_env.baselines.ranks import spearman, spearman_rows
from prune_env.baselines.study.table import Rows, Table
from prune_env.errors import FigureError, RecordError, UnknownNameError
from prune_env.methods import METHODS
from prune_env.records import Record
from tests.record_factory import make_record

FROM_RECORDS = ("removal", "threshold", "heads", "scarcity")


def both(method: str, flipped: tuple[int, ...], floor: tuple[int, ...], **fields: Any) -> list[Record]:
    """A victim's record and its twin's."""
    return [make_record(method, flipped, **fields), make_record(method, floor, role="twin", **fields)]


def under(tau: float, **fields: Any) -> dict[str, Any]:
    """Fields of a search under accuracy >= tau."""
    search = {"environment": {"threshold": tau, "max_accuracy_drop": None}, "metrics": ["gradient"]}
    config = {
        "protocol": {"name": "phrases-15k"},
        "search": search,
        "training": {"learning_rate": 2e-5, "epochs": 1},
    }
    return {"config": config, "threshold": tau, **fields}


def with_data(size: int, method: str = "ft", **fields: Any) -> dict[str, Any]:
    """Fields of a defence with so many clean sentences."""
    protocol = {"name": f"phrases-{size}", "source": "phrases", "train_size": size}
    config = {"protocol": protocol, "search": {}, "training": {"learning_rate": 2e-5, "epochs": 1}}
    return {"config": config, "protocol": protocol["name"], **fields}


def drawn(name: str, records: list[Record], out: Path, **asked: Any) -> list[Picture]:
    with styled():
        return get_figure(name).draw(Request(records, out, **asked))


def row_of(picture: Picture, **values: Any) -> dict[str, Any]:
    """The one row of a picture's table with these values."""
    rows = [dict(zip(picture.columns, row, strict=True)) for row in picture.rows]
    (row,) = [one for one in rows if all(one[name] == value for name, value in values.items())]
    return row


def test_removal_draws_points_above_the_matched_floor(tmp_path: Path) -> None:
    records = [
        *both("ft", (1, 1, 1, 0), (1, 0, 0, 0)),
        *both("gradient", (1, 1, 0, 0), (0, 1, 0, 0)),
        *both("gradient", (1, 1, 1, 1), (0, 1, 0, 0), seed=12),
        make_record("random-third"),
    ]
    (picture,) = drawn("removal", records, tmp_path)
    assert row_of(picture, method="ft")["above_floor"] == 0.5
    # Seeds 11 and 12 of one attacker: mean of .25 and .75.
    gradient = row_of(picture, method="gradient")
    assert (gradient["above_floor"], gradient["attackers"], gradient["records"]) == (0.5, 1, 2)
    assert gradient["low"] <= 0.5 <= gradient["high"]
    assert len(picture.rows) == 2, "a method without a twin has no floor"
    assert "1 attacker, 2 defenders" in picture.caption
    assert "50.0 [" in picture.says[0]


def with_epochs(epochs: int, method: str = "gradient") -> dict[str, Any]:
    """Fields of a defence with so many epochs of fine-tuning."""
    config = make_record(method).config
    return {"config": {**config, "training": {**config["training"], "epochs": epochs}}}


def test_removal_keeps_settings_apart(tmp_path: Path) -> None:
    steps = {**make_record("gradient").config, "search": {"environment": {"threshold": 0.85}, "steps": 9}}
    records = [
        *both("ft", (1, 1, 1, 1), (0, 0, 0, 0)),
        *both("gradient", (1, 1, 0, 0), (0, 0, 0, 0)),
        *both("gradient", (1, 1, 1, 0), (0, 0, 0, 0), **with_epochs(3)),
        *both("gradient", (1, 0, 0, 0), (0, 0, 0, 0), config=steps),
    ]
    (picture,) = drawn("removal", records, tmp_path)
    assert len(picture.rows) == 4, "no two settings share a row"
    assert row_of(picture, scene="training.epochs=3")["above_floor"] == 0.75
    # One epoch is a scene of its own: what differs within it is the search.
    (longer,) = [row for row in picture.rows if "steps=9" in str(row[4])]
    assert longer[2] == "training.epochs=1" and longer[9] == 0.25
    assert [says.count("Exploratory") for says in picture.says] == [1, 1]


def test_removal_ranks_over_shared_defences(tmp_path: Path) -> None:
    records = [
        *both("ft", (1, 1, 1, 0), (0, 0, 0, 0)),
        *both("ft", (0, 0, 0, 0), (0, 0, 0, 0), seed=12),
        *both("gradient", (1, 1, 0, 0), (0, 0, 0, 0)),
        *both("gradient", (1, 1, 0, 0), (0, 0, 0, 0), seed=12),
        # Ran on the easy defence alone: nothing is left there of ft's either.
        *both("bayesian", (0, 0, 0, 0), (0, 0, 0, 0), seed=12),
    ]
    (picture,) = drawn("removal", records, tmp_path)
    assert "ft at 2e-5 leaves least of the clean-only methods, 37.5 [" in picture.says[0]
    assert "best of 2 rows that share these defences" in picture.says[0]
    assert "; 1 with other attackers or defenders are not ranked." in picture.says[0]
    # Two rows share one defence and ft has a second: both are ranked over the one they share.
    (shared,) = drawn("removal", [*records[:2], *records[4:6], *records[2:4]], tmp_path)
    assert "gradient at 2e-5 leaves least of the clean-only methods, 50.0 [" in shared.says[0]
    assert "ft at that rate leaves 75.0 [" in shared.says[0]


def test_two_records_of_one_defence_are_refused() -> None:
    found = pairs([make_record(), make_record(victim="alpha-s11", victim_sha256="e" * 64)])
    with pytest.raises(FigureError, match=r"expected one record of ft for attacker 11 .*\(alpha, alpha-s11\)"):
        lfr(found)


def test_removal_names_ft_beside_the_best(tmp_path: Path) -> None:
    records = [*both("ft", (1, 1, 1, 0), (0, 0, 0, 0)), *both("gradient", (1, 0, 0, 0), (0, 0, 0, 0))]
    (picture,) = drawn("removal", records, tmp_path)
    assert "gradient at 2e-5 leaves least" in picture.says[0]
    assert "ft at that rate leaves 75.0 [" in picture.says[0]


def test_a_method_of_the_oracle_is_not_called_the_best(tmp_path: Path) -> None:
    records = [
        *both("ft", (1, 1, 1, 0), (0, 0, 0, 0)),
        *both("oracle", (0, 0, 0, 0), (0, 0, 0, 0), regime="oracle"),
    ]
    (picture,) = drawn("removal", records, tmp_path)
    assert "ft at 2e-5 leaves least" in picture.says[0]


def test_a_restart_is_held_against_plain_fine_tunings_floor() -> None:
    config = {**make_record().config, "recovery": {"name": "Restart"}}
    records = [*both("ft", (1, 1, 1, 1), (0, 0, 0, 1)), make_record("restart", regime="reference", config=config)]
    twins = {pair.record.method: pair.twin for pair in pairs(records)}
    assert twins["restart"] is not None and twins["restart"].method == "ft"


def test_heads_draws_the_share_of_masks_that_prune_a_head(tmp_path: Path) -> None:
    records = [
        make_record("gradient", mask="10/01"),
        make_record("gradient", mask="10/01", rate=1e-4),
        make_record("gradient", mask="11/01", seed=12),
        make_record("gradient", mask="00/11", role="twin"),
        make_record("ft"),
    ]
    (picture,) = drawn("heads", records, tmp_path)
    shares = {(row[2], row[3]): row[4] for row in picture.rows}
    assert shares == {(0, 0): 0.0, (0, 1): 0.5, (1, 0): 1.0, (1, 1): 0.0}
    assert picture.rows[0][:2] == ("gradient", 2), "two rates share a mask, a twin's does not count"
    # Pruned are {1, 2} and {2}: one in both, two in either.
    assert "gradient 0.50 (chance" in picture.says[1]


def test_defenders_of_one_seed_are_no_agreement() -> None:
    alike = [pair for one in ("a", "b") for pair in pairs([make_record("random", victim_sha256=one * 64, victim=one)])]
    assert fallen("random", alike).overlap is None
    assert overlap([]) is None


def test_an_ensembles_share_is_its_members_mean(tmp_path: Path) -> None:
    trace = [
        {"mask": "01/11", "violation": False},
        {"mask": "11/01", "violation": False},
        {"mask": "11/11", "violation": True},
    ]
    (picture,) = drawn("heads", [make_record("ensemble", mask="11/11", trace=trace)], tmp_path)
    assert [row[4] for row in picture.rows] == [0.5, 0.0, 0.5, 0.0]


def test_threshold_draws_each_tau_and_marks_those_out_of_reach(tmp_path: Path) -> None:
    records = [
        *both("ft", (1, 1, 1, 1), (0, 0, 0, 0)),
        *both("gradient", (1, 1, 1, 1), (0, 0, 0, 0), **under(0.95, mask="11/11")),
        *both("gradient", (1, 1, 0, 0), (0, 0, 0, 1), **under(0.85, mask="10/01")),
    ]
    (picture,) = drawn("threshold", records, tmp_path)
    strict, loose = row_of(picture, threshold=0.95), row_of(picture, threshold=0.85)
    assert (strict["feasible"], strict["lfr"], strict["heads_kept"]) == (0.0, 1.0, 4.0)
    assert (loose["feasible"], loose["lfr"], loose["floor"], loose["heads_kept"]) == (1.0, 0.5, 0.25, 2.0)
    # The twin flips one of four sentences: resampling them moves its floor.
    assert (strict["floor_low"], strict["floor_high"]) == (0.0, 0.0)
    assert loose["floor_low"] == 0.0 and 0.5 <= loose["floor_high"] <= 1.0
    assert (loose["acc"], row_of(picture, method="ft")["lfr"]) == (0.5, 1.0)
    assert "Out of reach of the model with every head: tau 0.95." in picture.says[0]


def test_threshold_of_a_control_is_that_of_what_it_matches() -> None:
    matched = {"matched": {"environment": {"threshold": 0.9}}, "environment": {"threshold": 1e-6}}
    assert threshold_of(make_record("random", config={**make_record().config, "search": matched})) == 0.9
    assert threshold_of(make_record("ft")) is None


def test_threshold_commands_cover_the_grid() -> None:
    lines = commands(["tiny-style"])
    assert [f"--threshold {tau:g} " in line for tau, line in zip(GRID, lines, strict=True)] == [True] * len(GRID)
    assert all("--methods ft,gradient" in line and "random-third" in line for line in lines)


def test_scarcity_draws_each_amount(tmp_path: Path) -> None:
    records = [
        *both("ft", (1, 1, 1, 0), (0, 0, 0, 0), **with_data(200)),
        *both("ft", (1, 0, 0, 0), (0, 0, 0, 0), **with_data(2000)),
        *both("gradient", (1, 1, 0, 0), (0, 0, 0, 0), **with_data(2000)),
    ]
    (picture,) = drawn("scarcity", records, tmp_path)
    assert row_of(picture, sentences=200)["above_floor"] == 0.75
    assert row_of(picture, sentences=2000, method="ft")["above_floor"] == 0.25
    assert "ft 75.0 points at 200 and 25.0 points at 2,000 (ACC" in picture.says[0]
    assert "gradient 50.0 points at 2,000 (ACC" in picture.says[0]


def test_threshold_and_scarcity_keep_settings_apart(tmp_path: Path) -> None:
    def fields(tau: float, steps: int) -> dict[str, Any]:
        found = under(tau)
        found["config"]["search"]["steps"] = steps
        return found

    records = [
        record
        for tau, steps, flipped in ((0.95, 5, (1, 1)), (0.95, 9, (1, 0)), (0.85, 5, (1, 1)), (0.85, 9, (0, 0)))
        for record in both("gradient", flipped, (0, 0), **fields(tau, steps))
    ]
    (picture,) = drawn("threshold", records, tmp_path)
    lfrs = {(row[4], row[5]): row[12] for row in picture.rows}
    assert lfrs == {
        ("search.steps=5", 0.95): 1.0, ("search.steps=9", 0.95): 0.5,
        ("search.steps=5", 0.85): 1.0, ("search.steps=9", 0.85): 0.0,
    }  # fmt: skip
    longer = with_data(200)
    longer["config"]["training"]["epochs"] = 3
    scarce = [
        *both("ft", (1, 1), (0, 0), **with_data(200)),
        *both("ft", (1, 0), (0, 0), **longer),
        *both("ft", (1, 0), (0, 0), **with_data(2000)),
    ]
    (picture,) = drawn("scarcity", scarce, tmp_path)
    assert [row[2:6] for row in picture.rows] == [
        ("ft", "", 2000, 1), ("ft", "training.epochs=1", 200, 1), ("ft", "training.epochs=3", 200, 1),
    ]  # fmt: skip


def test_all_sentences_are_what_a_defender_trains_on() -> None:
    fields = with_data(1)
    fields["config"]["protocol"] = {"name": "sentences", "source": "sentences", "train_size": None}
    (pair,) = pairs([make_record(**fields)])
    assert sentences_of(pair) == 5_920, "6,920 without the 1,000 held out for the final accuracy"


@pytest.mark.parametrize("name", FROM_RECORDS)
def test_files_can_be_read(name: str, tmp_path: Path) -> None:
    records = [
        *both("ft", (1, 1, 1, 0), (0, 0, 0, 0), **with_data(200)),
        *both("ft", (1, 0, 0, 0), (0, 0, 0, 0), **with_data(2000)),
        *both("gradient", (1, 0, 0, 0), (0, 0, 0, 0), **under(0.95)),
        *both("gradient", (1, 0, 0, 0), (0, 0, 0, 0), **under(0.85)),
    ]
    for picture in drawn(name, records, tmp_path):
        png, svg, table = save(picture, tmp_path, dpi=100)
        assert png.read_bytes().startswith(b"\x89PNG")
        assert struct.unpack(">I", png.read_bytes()[16:20])[0] == 800, "eight inches"
        assert "<svg" in svg.read_text(encoding="utf-8")
        lines = list(csv.reader(table.read_text(encoding="utf-8").splitlines()))
        assert tuple(lines[0]) == picture.columns and len(lines) == len(picture.rows) + 1
        assert all(len(sentence) > 20 for sentence in picture.says)


def test_the_same_records_give_the_same_svg(tmp_path: Path) -> None:
    records = both("ft", (1, 1, 1, 0), (1, 0, 0, 0))
    texts = []
    for folder in ("one", "two"):
        (picture,) = drawn("removal", records, tmp_path)
        texts.append(save(picture, tmp_path / folder)[1].read_text(encoding="utf-8"))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("name", "records", "words"),
    [
        ("removal", [make_record()], "no record has the twin's beside it.* run prune-env bench"),
        ("heads", [make_record()], "no record prunes a head; run prune-env bench"),
        ("threshold", both("gradient", (1, 0), (0, 0)), "several thresholds; run .*--threshold 0.95"),
        ("scarcity", both("ft", (1, 0), (0, 0)), "several amounts of clean data; run, .*phrases-200"),
        ("path", [make_record()], "the victims alpha are not at hand; give their folders with --victim"),
    ],
)
def test_what_cannot_be_drawn_says_why_and_what_to_run(
    name: str, records: list[Record], words: str, tmp_path: Path
) -> None:
    with pytest.raises(FigureError, match=words):
        drawn(name, records, tmp_path)


def test_records_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FigureError, match="got 4 and 2 for attacker 11"):
        drawn("removal", both("ft", (1, 1, 1, 0), (1, 0)), tmp_path)
    with pytest.raises(RecordError, match="one version of alpha"):
        pairs([make_record(), make_record(victim_sha256="e" * 64)])


def test_one_constraint_and_one_rate_are_shown() -> None:
    found = pairs(
        [make_record("gradient", **under(tau, seed=seed)) for tau, seed in ((0.95, 11), (0.95, 12), (0.85, 11))]
    )
    kept, note = one_constraint(found)
    assert {threshold_of(pair.record) for pair in kept} == {0.95} and "accuracy >= 0.95" in note
    equal, _ = one_constraint(found[1:])
    assert {threshold_of(pair.record) for pair in equal} == {0.85}, "of equals the loosest"
    # As text, .9 and .85 would come in the other order than .95 and .9.
    tight = pairs([make_record("gradient", **under(tau)) for tau in (0.9, 0.95, 1.0)])
    assert {threshold_of(pair.record) for pair in one_constraint(tight)[0]} == {0.9}
    search = {"environment": {"threshold": 1e-6, "max_accuracy_drop": 0.1}}
    drops = {**under(0.5), "config": {**make_record("gradient").config, "search": search}}
    (loose,) = one_constraint(pairs([make_record("gradient", **drops), make_record("gradient", **under(0.8))]))[0]
    assert loose.record.threshold == 0.5, "the drop ended at .5"
    rates = pairs([make_record(rate=2e-5), make_record(rate=1e-4)])
    assert one_rate(rates, None)[1] == 2e-5 and one_rate(rates, 1e-4)[1] == 1e-4
    with pytest.raises(FigureError, match=r"no records at the rate 0\.5"):
        one_rate(rates, 0.5)
    assert repetitions(found) == "1 attacker, 2 defenders"


def test_methods_are_shown_under_one_constraint() -> None:
    runs = [("gradient", 0.95), ("gradient", 0.85), ("bayesian", 0.85), ("layer-wise", 0.9)]
    kept, note = one_constraint(pairs([make_record(method, **under(tau)) for method, tau in runs] + [make_record()]))
    shown = {pair.record.method: threshold_of(pair.record) for pair in kept}
    assert shown == {"gradient": 0.85, "bayesian": 0.85, "layer-wise": 0.9, "ft": None}
    assert "not to be compared: layer-wise on alpha (accuracy >= 0.9)." in note


def test_every_method_has_a_look_and_a_place() -> None:
    looks = {(look(name).color, look(name).marker) for name in METHODS}
    assert len(looks) == len(METHODS)
    assert order(["random", "gradient", "ft", "unheard-of"]) == ["ft", "gradient", "unheard-of", "random"]


def test_labels_are_pushed_apart_and_keep_their_order() -> None:
    assert spread([0.0, 50.0], 10.0) == [0.0, 50.0]
    assert spread([5.0, 5.0], 10.0) == [0.0, 10.0]
    moved = spread([1.0, 0.0, 2.0, 100.0], 10.0)
    assert moved == [1.0, -9.0, 11.0, 100.0]


def test_spearman_by_hand() -> None:
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0])) == pytest.approx(0.5)
    assert spearman(np.array([1.0, 1.0, 2.0]), np.array([3.0, 3.0, 9.0])) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None
    one, other = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]), np.array([[10.0, 20.0, 15.0], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(spearman_rows(one, other), [0.5, np.nan])


def test_the_page_keeps_what_is_not_drawn_again(tmp_path: Path) -> None:
    records = [*both("ft", (1, 1, 1, 0), (0, 0, 0, 0)), *both("gradient", (1, 0, 0, 0), (0, 0, 0, 0))]
    for name in ("heads", "removal"):
        update_page(tmp_path, {name: section(name, drawn(name, records, tmp_path))})
    page = update_page(tmp_path, {"heads": section("heads", drawn("heads", records, tmp_path))}).read_text("utf-8")
    assert page.count("## removal") == page.count("## heads") == 1
    assert page.index("## removal") < page.index("## heads"), "in the order of the registry"
    assert "![" in page and "(removal.csv)" in page


def test_tables_write_none_as_nothing_and_six_digits() -> None:
    assert table_text(("a", "b", "c"), [(1 / 3, None, "x,y")]) == 'a,b,c\n0.333333,,"x,y"\n'


def test_study_draws_every_mask_with_its_correlations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = np.array([[[True, True], [True, True]], [[True, False], [True, True]], [[True, False], [True, False]]])
    rising, falling = np.array([0.1, 0.2, 0.3]), np.array([0.9, 0.6, 0.3])
    values = {
        "lfr": falling, "acc": falling, "auc": falling, "return": rising, "search_accuracy": rising,
        "masked_acc": rising, "masked_lfr": falling,
    }  # fmt: skip
    table = Table("tiny", {}, None, {11: Rows(masks, values, {"gradient": np.ones((2, 2), np.float32)}, 0.9)})
    monkeypatch.setattr(study, "read_tables", lambda folder: [table])
    monkeypatch.setattr(study, "SHIPPED", tmp_path)
    with pytest.raises(FigureError, match="not shipped yet"):
        drawn("study", [], tmp_path)
    (tmp_path / "tiny.csv").touch()
    (picture,) = drawn("study", [], tmp_path)
    assert picture.rows[1] == ("tiny", 11, 3, 0.2, 0.6, 0.6)
    # What rises as the LFR falls is perfectly, and negatively, correlated with it.
    assert "return (default reward) -1.00 [" in picture.says[0] and "masked LFR on test 1.00 [" in picture.says[0]


def test_every_registered_figure_can_be_found() -> None:
    for name in FIGURES:
        assert get_figure(name).name == name and get_figure(name).summary
    with pytest.raises(UnknownNameError, match="did you mean 'heads'"):
        get_figure("head")
