"""The mask study: which masks, what is known of them, what fine-tuning makes of them, and what a table must hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from prune_env.baselines.figures.drawing import Request
from prune_env.baselines.figures.study import draw
from prune_env.baselines.study.agreement import Agreement, compare, drawn, sentence
from prune_env.baselines.study.beforehand import mask_returns
from prune_env.baselines.study.ground_truth import carriers_pruned, mask_auc, mask_aucs, metric_auc
from prune_env.baselines.study.masks import chunks, study_masks
from prune_env.baselines.study.outcomes import Case, Judged, fine_tune, judge_stack
from prune_env.baselines.study.parts import LOCK, Part, Study, parts, read_part
from prune_env.baselines.study.report import markdown, shipped
from prune_env.baselines.study.run import run
from prune_env.baselines.study.table import COLUMNS, expected_return, read_table, read_tables, ship
from prune_env.engine.table import TableEvaluator
from prune_env.errors import ConfigError, FigureError, OutputError, RecordError
from prune_env.types import full_mask, mask_to_text
from prune_env.victims import protocols
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.judge import judge
from prune_env.victims.store import open_victim
from prune_env.victims.task import build_task
from tests.victims_factory import TINY, world


def test_masks_are_distinct_valid_and_spread_over_sizes() -> None:
    masks = study_masks(512, 4, 4)
    sizes = masks.sum((1, 2))
    assert masks.shape == (512, 4, 4) and masks.any(2).all()
    assert len({mask.tobytes() for mask in masks}) == 512
    counts = np.bincount(sizes, minlength=17)
    # One full mask, all sixteen that lack one head, and the other 495 in eleven equal parts.
    assert counts[16] == 1 and counts[15] == 16
    assert counts[:4].sum() == 0 and counts[4:15].min() >= 44 and counts[4:15].max() <= 46
    assert np.array_equal(masks, study_masks(512, 4, 4))
    assert not np.array_equal(masks, study_masks(512, 4, 4, seed=1))


def test_a_small_model_gives_all_masks_it_has_and_no_more() -> None:
    assert len(study_masks(9, 2, 2)) == 9
    with pytest.raises(ConfigError, match="1 to 9 masks, got 10"):
        study_masks(10, 2, 2)


def test_chunks_hold_every_mask_once_and_are_narrow() -> None:
    masks = study_masks(512, 4, 4)
    grouped = chunks(masks, 8)
    assert sorted(place for group in grouped for place in group) == list(range(512))
    widths = [masks[group].sum(2).max(0).sum() for group in grouped]
    # Unsorted, eight masks would nearly always need all sixteen places.
    assert np.mean(widths) < masks.sum((1, 2)).mean() + 2
    assert grouped != chunks(masks, 8, seed=1)


CARRIERS = np.array([[True, False], [False, False]])


@pytest.mark.parametrize(
    ("importance", "expected"),
    [([[0, 1], [2, 3]], 1.0), ([[9, 1], [2, 3]], 0.0), ([[1.5, 1], [2, 3]], 2 / 3), ([[1, 1], [1, 1]], 0.5)],
)
def test_a_metric_is_right_when_the_carrier_goes_first(importance: list[list[float]], expected: float) -> None:
    assert metric_auc(np.array(importance, dtype=np.float32), CARRIERS) == pytest.approx(expected)


def test_a_mask_is_right_when_it_prunes_the_carriers_alone() -> None:
    masks = np.array([[[False, True], [True, True]], [[True, True], [True, True]], [[True, False], [True, False]]])
    # Pruned: the carrier alone; nothing; two of three others.
    assert mask_aucs(masks, CARRIERS) == pytest.approx([1.0, 0.5, 0.5 - 1 / 3])
    assert carriers_pruned(masks, CARRIERS).tolist() == [1, 0, 0]


def test_a_ground_truth_of_no_or_all_heads_is_refused() -> None:
    for carriers in (np.zeros((2, 2), dtype=bool), np.ones((2, 2), dtype=bool), np.ones((1, 2), dtype=bool)):
        with pytest.raises(ConfigError, match="only routed victims"):
            mask_auc(full_mask(2, 2), carriers)


def test_returns_are_the_pruned_fraction_or_the_cost_of_missing_the_threshold() -> None:
    masks = study_masks(9, 2, 2)
    # 90 of 100 sentences with all heads, ten fewer for each pruned one; ten points may be lost, so one head, not two.
    evaluator = TableEvaluator.from_evaluator(_Heads())
    threshold, returns = mask_returns(evaluator, {"flat": np.zeros((2, 2), dtype=np.float32)}, masks, 0.1)
    assert threshold == pytest.approx(0.8)
    expected = {4: 0.0, 3: 0.25, 2: -(0.25 + 0.1)}
    assert returns == pytest.approx([expected[int(mask.sum())] for mask in masks])
    for mask, found in zip(masks, returns, strict=True):
        accuracy = 0.5 + mask.sum() / 10
        assert expected_return(mask, accuracy, threshold) == pytest.approx(found)


class _Heads:
    """50 of 100 sentences right, and ten more for each head kept."""

    layers, heads, sentences = 2, 2, 100

    def accuracy(self, masks: np.ndarray) -> np.ndarray:
        rates: np.ndarray = 0.5 + masks.sum((1, 2)) / 10
        return rates


@pytest.fixture(scope="module", autouse=True)
def _tiny_protocol() -> Iterator[None]:
    """Lets the tiny victims' protocol be found by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(protocols.PROTOCOLS, TINY.name, TINY)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two seeds of a tiny victim with random weights: nine masks in chunks of four."""
    return Study((world().victim("alpha"),), (11, 12), 9, tmp_path_factory.mktemp("study"), chunk=4)


@pytest.fixture(scope="module")
def finished(study: Study) -> Study:
    """The study, run: once interrupted, then to the end."""

    def case(victim: str, seed: int) -> Case:
        opened = open_victim(victim)
        return Case(opened, open_diagnosis(opened), build_task(opened.suspect, TINY, seed, world().data))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prune_env.baselines.study.run.open_case", case)
        seen: list[str] = []

        def stop(label: str, done: int, total: int) -> None:
            seen.append(label)
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(study, 1, stop)
        run(study, 1, lambda label, done, total: seen.append(f"{label} ({done}/{total})"))
    assert seen == [
        "0 parts found",
        "alpha, seed 11, beforehand",
        "alpha, seed 11, chunk 1",
        "alpha, seed 11, chunk 2",
        "3 parts found (3/8)",
        "alpha, seed 11, chunk 3 (4/8)",
        "alpha, seed 12, beforehand (5/8)",
        "alpha, seed 12, chunk 1 (6/8)",
        "alpha, seed 12, chunk 2 (7/8)",
        "alpha, seed 12, chunk 3 (8/8)",
    ]
    return study


def test_the_work_goes_seed_by_seed_then_victim_by_victim() -> None:
    study = Study(("a", "b"), (11, 12), 3, Path("out"), chunk=2)
    files = [part.file for part in parts(study)]
    assert files[:6] == [
        f"{name}-s11/{part}.json" for name in "ab" for part in ("beforehand", "chunk-000", "chunk-001")
    ]
    assert [name.partition("/")[0] for name in files[6::3]] == ["a-s12", "b-s12"]
    with pytest.raises(ConfigError, match="at least one mask"):
        Study((), (11,), 3, Path("out"))


def test_a_stack_is_judged_as_each_of_its_models() -> None:
    victim = open_victim(world().victim("alpha"))
    case = Case(victim, open_diagnosis(victim), build_task(victim.suspect, TINY, 11, world().data))
    masks = study_masks(4, 2, 2)
    stack, _ = fine_tune(case, masks, "test")
    for number, found in enumerate(judge_stack(stack, case)):
        model = stack.model(number)
        expected = judge(model, case.task.tokenizer(model), case.diagnosis, TINY.training.max_length)
        assert (found.acc, found.lfr) == (expected.acc, expected.lfr)
        assert found.auc == pytest.approx(expected.auc, abs=2e-3)


def test_a_table_holds_what_the_parts_hold(finished: Study, tmp_path: Path) -> None:
    assert [path.name for path in ship(finished, tmp_path)] == ["alpha.csv", "alpha.json"]
    (table,) = read_tables(tmp_path)
    assert table.victim == "alpha" and sorted(table.rows) == [11, 12] and table.carriers is None
    assert all(len(rows.masks) == 9 for rows in table.rows.values())
    part = read_part(finished, Part(finished.victims[0], 12, 1))
    assert part is not None
    rows = table.rows[12]
    texts = [mask_to_text(mask) for mask in rows.masks]
    for mask, outcome in zip(part["masks"], part["outcomes"], strict=True):
        for name, value in outcome.items():
            assert rows.values[name][texts.index(mask)] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("lfr", "0.123456", "no count of"),
        ("auc", "1.5", "no rate"),
        ("acc", "nan", "no rate"),
        ("return", "0.9", "the default reward gives"),
        ("mask", "00/11", "keep at least one head"),
        ("seed", "99", "does not know"),
    ],
)
def test_a_changed_table_is_refused(finished: Study, tmp_path: Path, column: str, value: str, complaint: str) -> None:
    path, _ = ship(finished, tmp_path)
    lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    lines[3][COLUMNS.index(column)] = value
    path.write_text("\n".join(map(",".join, lines)) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=complaint):
        read_table(path)


def test_masks_are_fine_tuned_one_by_one_to_compare(copied: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    stacked: dict[tuple[int, str], dict[str, float]] = {}
    for part in parts(copied):
        content = read_part(copied, part)
        assert content is not None
        if part.chunk is not None:
            stacked |= {(part.seed, mask): one for mask, one in zip(content["masks"], content["outcomes"], strict=True)}

    def alone(case: int, mask: np.ndarray) -> Judged:
        asked.append(mask_to_text(mask))
        one = stacked[case, asked[-1]]
        return Judged(one["acc"], one["lfr"] - 0.02 * (len(asked) % 2), one["auc"])

    monkeypatch.setattr("prune_env.baselines.study.agreement.purify_alone", alone)
    monkeypatch.setattr("prune_env.baselines.study.agreement.open_case", lambda _, seed: seed)
    found = compare(copied, 2, lambda *_: None)
    lfr, acc, _ = found
    assert (lfr.outcome, lfr.masks, acc.mean, acc.error) == ("lfr", 2, 0.0, 0.0)
    # Differences .02 and 0: mean .01, sd .02 / sqrt(2), standard error .01.
    assert (lfr.mean, lfr.spread, lfr.error) == pytest.approx((0.01, 0.02 / 2**0.5, 0.01))
    assert "over 2 masks, in points: LFR +1.00 +- 1.00 (sd 1.4)" in sentence(found)
    assert compare(copied, 2, lambda *_: None) == found and len(asked) == 2
    files = sorted(copied.out.glob("alpha-s1?/one-by-one/*.json"))
    assert [file.parent.parent.name for file in files] == ["alpha-s11", "alpha-s12"], "one of each seed"
    content = json.loads(files[0].read_text(encoding="utf-8"))
    older = {name: content[name] for name in ("acc", "lfr", "auc")}
    files[0].write_text(json.dumps(older), encoding="utf-8")
    assert compare(copied, 2, lambda *_: None) == found, "older files do not name their victim"
    files[0].write_text(json.dumps({**content, "victim_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(RecordError, match="alpha's victim as it is now, got another"):
        compare(copied, 2, lambda *_: None)
    with pytest.raises(RecordError, match="at least two fine-tuned masks"):
        compare(Study(("alpha",), (1,), 9, copied.out), 2, lambda *_: None)


def test_a_check_takes_masks_of_all_victims_seeds_and_chunks() -> None:
    pairs = [
        (Part(victim, seed, chunk), f"{chunk}{mask}")
        for victim in "ab"
        for seed in (11, 12)
        for chunk in range(3)
        for mask in range(8)
    ]
    first = drawn(pairs, 12)
    assert len({part for part, _ in first}) == 12, "each chunk of each victim and seed once"
    assert len({(part.victim, part.seed) for part, _ in first[:4]}) == 4
    assert set(drawn(pairs, 99)) == set(pairs)
    assert drawn(pairs, 5) == first[:5], "more masks later keep the first ones"


def test_a_check_has_a_verdict() -> None:
    agree = [Agreement("lfr", 24, 0.03, 0.01, 0.05), Agreement("acc", 24, 0.0, 0.0, 0.0)]
    assert all(one.holds for one in agree)
    assert sentence(agree).endswith("They agree: nothing is further than 3 standard errors from zero.")
    off = [*agree, Agreement("auc", 24, -0.031, 0.01, 0.05)]
    assert [one.holds for one in off] == [True, True, False]
    assert sentence(off).endswith("They DISAGREE: AUC further than 3 standard errors from zero.")


def test_a_missing_or_foreign_table_is_refused(finished: Study, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="found none; ship them first"):
        read_tables(tmp_path)
    path, _ = ship(finished, tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text + text.splitlines()[1] + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match="a mask comes twice"):
        read_table(path)
    path.write_text("a,b\n", encoding="utf-8")
    with pytest.raises(RecordError, match="expected the columns"):
        read_table(path)
    with pytest.raises(RecordError, match="found none; run it first"):
        ship(Study(("alpha",), (1,), 9, tmp_path / "nothing"), tmp_path)


def test_a_foreign_part_is_refused(tmp_path: Path) -> None:
    study = Study(("alpha",), (11,), 9, tmp_path)
    part = Part("alpha", 11, 0)
    assert read_part(study, part) is None
    (tmp_path / "alpha-s11").mkdir()
    (tmp_path / part.file).write_text(json.dumps({"other": 1}), encoding="utf-8")
    with pytest.raises(RecordError, match="delete it and run again"):
        read_part(study, part)


@pytest.fixture
def copied(finished: Study, tmp_path: Path) -> Study:
    """The finished study in a folder of its own, to be changed."""
    shutil.copytree(finished.out, tmp_path / "copy")
    return replace(finished, out=tmp_path / "copy")


def changed(study: Study, part: Part, /, **values: Any) -> None:
    """Changes a part's file; None takes a value out."""
    path = study.out / part.file
    content = {**json.loads(path.read_text(encoding="utf-8")), **values}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")


def test_parts_of_another_study_are_refused_not_kept(finished: Study) -> None:
    for other, came in ((replace(finished, masks=5), "9 masks in chunks of 4"), (replace(finished, chunk=3), "of 4")):
        with pytest.raises(RecordError, match=f"got one of .*{came}; give that study's --masks, or another --out"):
            run(other, 1, lambda *_: None)
        with pytest.raises(RecordError, match="give that study's --masks"):
            ship(other, finished.out / "tables")


def test_parts_that_do_not_name_their_study_are_known_by_their_masks(copied: Study) -> None:
    for part in parts(copied):
        changed(copied, part, study=None)
    told: list[str] = []
    run(copied, 1, lambda label, *_: told.append(label))
    assert told == ["8 parts found"]
    for other in (replace(copied, masks=5), replace(copied, chunk=3)):
        with pytest.raises(RecordError, match="got one of other masks"):
            run(other, 1, lambda *_: None)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"victim_sha256": "0" * 64}, "alpha's victim as it is now, got another; delete the folder"),
        ({"protocol": {**TINY.to_json(), "train_size": 1}}, "alpha's protocol as it is now, got another"),
        ({"protocol": None}, "expected a part of a study"),
        ({"masks": ["11/11"]}, "expected a part of a study"),
        ({"masks": ["11/11"], "outcomes": [{}]}, "got one of other masks"),
    ],
)
def test_a_part_of_another_victim_or_protocol_is_refused(copied: Study, values: Any, complaint: str) -> None:
    changed(copied, Part(copied.victims[0], 12, 1), **values)
    with pytest.raises(RecordError, match=complaint):
        run(copied, 1, lambda *_: None)


def test_a_fine_tuned_mask_that_was_not_measured_is_not_shipped(
    finished: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lacking(study: Study, part: Part) -> Any:
        content = read_part(study, part) or {}
        return {**content, "masks": content["masks"][:-1]} if part.chunk is None else content

    monkeypatch.setattr("prune_env.baselines.study.table.read_part", lacking)
    with pytest.raises(RecordError, match="seed 11, among those measured beforehand, got 11/11 without"):
        ship(finished, tmp_path)


def test_two_studies_do_not_write_to_one_folder(finished: Study) -> None:
    with FileLock(finished.out / LOCK), pytest.raises(OutputError, match="another study is at work in"):
        run(finished, 1, lambda *_: None)


def test_the_page_names_every_number_with_its_count(finished: Study, tmp_path: Path) -> None:
    ship(finished, tmp_path)
    page = markdown(read_tables(tmp_path))
    assert "## alpha: 9 masks, 1 victim, defender's seeds 11, 12" in page
    assert "return (default reward)" in page and "LFR of another defender's seed" in page
    assert "heads that carry the backdoor" not in page, "random victims have no carriers"


def test_victims_with_and_without_carriers_share_a_page(finished: Study, tmp_path: Path) -> None:
    ship(finished, tmp_path)
    (plain,) = read_tables(tmp_path)
    routed = replace(plain, victim="routed", carriers=CARRIERS)
    for tables in ([plain, routed], [routed, plain]):
        page = markdown(tables)
        together = page.partition("## All victims and seeds: 9 masks, 2 victims")[2].partition("\n## ")[0]
        assert "return (default reward)" in together and "ground truth" not in together
        alone = page.partition("## routed: ")[2].partition("\n## ")[0]
        assert "carriers pruned (ground truth)" in alone and "the 1 heads that carry the backdoor" in alone


def test_a_table_that_is_not_shipped_yet_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("prune_env.baselines.study.report", "prune_env.baselines.figures.study"):
        monkeypatch.setattr(f"{module}.SHIPPED", tmp_path)
    with pytest.raises(RecordError, match=r"not shipped yet; run .*--out RUN --ship TABLES`, .* by --table TABLES"):
        shipped()
    with pytest.raises(FigureError, match=r"not shipped yet; run .*--out RUN --ship TABLES`, .* by --study TABLES"):
        draw(Request((), tmp_path))
