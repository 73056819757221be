"""Figures that look into models, on the factory's random victims: what is cached, refitted and probed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.baselines.figures import embeddings, get_figure, models, walks
from prune_env.baselines.figures.drawing import Picture, Request
from prune_env.baselines.figures.embedded import STAGES, Embedded, cls_of, embed, records_of, sampled
from prune_env.baselines.figures.ground_truth import mask_hit
from prune_env.baselines.figures.matching import pairs
from prune_env.baselines.figures.metrics import correlations
from prune_env.baselines.figures.path import draw_panel
from prune_env.baselines.figures.probes import probe
from prune_env.baselines.figures.style import styled
from prune_env.errors import FigureError
from prune_env.importance import METRICS
from prune_env.records import Record
from prune_env.seeds import derive
from prune_env.victims import protocols
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.store import open_victim
from tests.record_factory import make_record
from tests.victims_factory import TINY, benched, make_victim, world


@pytest.fixture(autouse=True)
def _tiny_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", TINY)


def request_for(out: Path, records: tuple[Record, ...] | None = None, **asked: Any) -> Request:
    place = world()
    found = benched() if records is None else records
    return Request(found, out, victims=(place.victim("alpha"),), data=str(place.data), **asked)


def drawn(name: str, request: Request) -> Picture:
    with styled():
        (picture,) = get_figure(name).draw(request)
    return picture


def made(count: int = 40, gap: float = 6.0, *, follows: bool = True) -> Embedded:
    """Embeddings in which a trigger shifts the first number, and the class the second, of triggered ones if asked."""
    rng = np.random.default_rng(3)
    triggered = np.repeat([False, True], 2 * count)
    target = np.tile(np.repeat([False, True], count), 2)
    states = rng.normal(size=(4 * count, 5)).astype(np.float32)
    states[:, 0] += gap * triggered
    states[:, 1] += gap * (target & (~triggered | follows))
    source = np.tile(np.arange(2 * count), 2)
    return Embedded(make_record("gradient"), "purified", states, triggered, target, source, 0.5)


def test_a_probe_reads_trigger_and_class() -> None:
    found = probe(made())
    assert min(found.trigger, found.kept, found.clean) > 0.99
    assert found.flipped < 0.05


def test_a_probe_of_triggered_sentences_without_a_class_is_at_chance() -> None:
    found = probe(made(follows=False))
    assert abs(found.kept - 0.5) < 0.15
    assert found.clean > 0.99


def test_without_a_trace_of_the_trigger_its_probe_is_at_chance() -> None:
    assert abs(probe(made(gap=0.0)).trigger - 0.5) < 0.15


def test_t_sne_is_the_same_twice_and_copes_with_few_sentences() -> None:
    states = made(4).states
    first, second = embeddings.t_sne(states), embeddings.t_sne(states)
    assert first.shape == (16, 2)
    np.testing.assert_array_equal(first, second)


def test_sampling_draws_as_many_of_each_kind_and_pairs_them() -> None:
    diagnosis = open_diagnosis(open_victim(world().victim("alpha")))
    clean, triggered, source = sampled(diagnosis, 7, each=5)
    assert sorted(clean.labels) == sorted(triggered.labels) == [0] * 5 + [1] * 5
    np.testing.assert_array_equal(source[:10], source[10:])
    assert triggered.texts == diagnosis.triggered_test.take(source[10:]).texts
    assert sampled(diagnosis, 7, each=5)[0] == clean
    other = replace(diagnosis, triggered_test=diagnosis.triggered_test.take(range(58)))
    assert len(set(sampled(other, 7, each=5)[2])) == 20, "sentences of another order have sources of their own"


def test_embeddings_are_the_models_hidden_state() -> None:
    import torch

    suspect = open_victim(world().victim("alpha")).suspect
    model = suspect.model()
    tokenizer = suspect.tokenizer(model)
    clean = open_diagnosis(open_victim(world().victim("alpha"))).clean_test
    states = cls_of(model, tokenizer, clean, 128)
    batch = tokenizer([clean.texts[3]], return_tensors="pt")
    with torch.no_grad():
        expected = model.base_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    np.testing.assert_allclose(states[3], expected.last_hidden_state[0, 0].numpy(), atol=1e-5)


def test_embeddings_refit_the_purified_model_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "t_sne", lambda states: np.asarray(states[:, :2], dtype=np.float64))
    stages: list[str] = []
    request = request_for(tmp_path, learning_rate=1e-4, report=stages.append)
    picture = drawn("embeddings", request)
    (refit,) = [stage for stage in stages if "again" in stage]
    assert refit.startswith("fine-tuning gradient on alpha again")
    assert "to the sentence as recorded" in picture.says[0]
    assert {row[2] for row in picture.rows} == set(STAGES)
    assert len(picture.rows) == 4 * 120
    assert sum(row[4] == 1 for row in picture.rows) == 4 * 60
    assert picture.says[0].count("never-poisoned twin 0.") == 1 and "same recipe without poison" in picture.caption
    assert "perplexity 30" in picture.caption and "n = 30 of each" in picture.caption
    stages.clear()
    assert drawn("embeddings", request).rows == picture.rows
    assert not any("again" in stage for stage in stages), "drawn from the cache"


def test_the_twin_is_embedded_as_it_was_trained(tmp_path: Path) -> None:
    request = request_for(tmp_path, learning_rate=1e-4)
    (record,) = records_of(request)
    found = embed(record, request)
    assert [one.stage for one in found] == list(STAGES)
    diagnosis = open_diagnosis(open_victim(world().victim("alpha")))
    assert diagnosis.twin is not None
    clean, triggered, source = sampled(diagnosis, derive(record.seed, "figure-embeddings"))
    model = diagnosis.twin.model()
    expected = cls_of(model, diagnosis.twin.tokenizer(model), clean + triggered, TINY.training.max_length)
    np.testing.assert_array_equal(found[-1].states, expected)
    np.testing.assert_array_equal(found[-1].source, source)


def test_embeddings_without_a_twin_show_the_rest(tmp_path: Path) -> None:
    victim = make_victim(tmp_path / "alone", "alpha", twin_seed=None)
    records = tuple(replace(record, victim_sha256=victim.manifest.sha256) for record in benched())
    request = Request(
        records, tmp_path / "out", victims=(str(victim.folder),), data=str(world().data), learning_rate=1e-4
    )
    (record,) = records_of(request)
    assert [one.stage for one in embed(record, request)] == [stage for stage in STAGES if stage != "twin"]


def test_embeddings_choose_records_by_method_seed_and_rate(tmp_path: Path) -> None:
    (record,) = records_of(request_for(tmp_path, learning_rate=1e-4))
    assert (record.method, record.seed, record.config["training"]["learning_rate"]) == ("gradient", 11, 1e-4)
    with pytest.raises(FigureError, match=r"no record of bayesian .*only of ft, gradient, random"):
        records_of(request_for(tmp_path, method="bayesian"))
    with pytest.raises(FigureError, match="with seed 12, only with 11"):
        records_of(request_for(tmp_path, seed=12))


def test_an_ensemble_has_no_embedding_of_its_own(tmp_path: Path) -> None:
    source = next(record for record in benched() if record.method == "gradient" and record.role == "victim")
    trace = [{"mask": mask, "violation": False} for mask in ("01/11", "11/01")]
    voting = replace(source, method="ensemble", trace=trace)
    with pytest.raises(FigureError, match="ensemble on alpha is a vote of 2 models"):
        records_of(request_for(tmp_path, (voting,), method="ensemble"))


def test_stages_name_their_rate() -> None:
    config = {**make_record("gradient").config, "protocol": {"training": {"learning_rate": 2e-5}}}
    record = make_record("gradient", config={**config, "training": {"learning_rate": 1e-4}})
    labels = [replace(made(), record=record, stage=stage).label for stage in STAGES]
    assert labels == ["as published", "fine-tuned (ft) at 2e-5", "purified at 1e-4", "never-poisoned twin"]


def test_metrics_are_scored_once(tmp_path: Path) -> None:
    stages: list[str] = []
    request = request_for(tmp_path, report=stages.append)
    picture = drawn("metrics", request)
    assert stages == ["scoring model of alpha, seed 11", "metrics on alpha, seed 11"]
    assert len(picture.rows) == len(METRICS) * (len(METRICS) - 1) // 2
    stages.clear()
    assert drawn("metrics", request).rows == picture.rows
    assert stages == []


def test_correlations_by_hand() -> None:
    one = {name: np.array([[1.0, 2.0], [3.0, 4.0]], np.float32) for name in ("a", "b")}
    other = {**one, "b": np.array([[4.0, 3.0], [2.0, 1.0]], np.float32)}
    flat = {**one, "b": np.ones((2, 2), np.float32)}
    assert correlations([one, other, flat], ["a", "b"]) == {("a", "b"): pytest.approx([1.0, -1.0])}


def test_path_begins_with_every_head_and_ends_at_the_record(tmp_path: Path) -> None:
    picture = drawn("path", request_for(tmp_path))
    rows = [dict(zip(picture.columns, row, strict=True)) for row in picture.rows]
    own = [row for row in rows if row["method"] == "gradient"]
    walked = [row for row in own if row["stage"] == "masked"]
    assert walked[0]["heads_kept"] == 4
    assert all(0.0 <= float(row["lfr"] or 0.0) <= 1.0 for row in walked)
    record = next(one for one in benched() if one.method == "gradient" and one.role == "victim")
    ends = {row["sentences"]: row["lfr"] for row in own if row["stage"] == "fine-tuned"}
    assert ends["test"] == record.lfr and ends.get("validation") == record.oracle_dev_lfr
    assert {row["sentences"] for row in walked} == {"validation"}
    assert "only where records tell" in picture.caption, "this victim does not ship, and is not fine-tuned"


def pruning(rate: float = 1e-4) -> tuple[Record, ...]:
    """The benchmark's records at one rate, gradient's with a path of three masks that ends at its own."""
    found = [one for one in benched() if one.config["training"]["learning_rate"] == rate]
    trace = [{"mask": mask, "violation": False} for mask in ("01/11", "01/10")]
    gradient = next(one for one in found if one.method == "gradient" and one.role == "victim")
    walked = replace(gradient, mask="01/10", trace=trace, oracle_dev_lfr=0.5)
    return (*(one for one in found if one.method == "ft"), walked)


def test_masks_along_the_path_of_an_embedded_victim_are_fine_tuned_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "ASSETS", world().root)
    stages: list[str] = []
    request = request_for(tmp_path, pruning(), report=stages.append)
    picture = drawn("path", request)
    tuned = [row for row in picture.rows if row[4] == "fine-tuned" and row[7] == "validation"]
    assert [row[5:7] for row in tuned] == [(0, 4), (1, 3), (2, 2)]
    plain = next(one for one in request.records if one.method == "ft" and one.role == "victim")
    assert tuned[0][8] == plain.oracle_dev_lfr and tuned[2][8] == 0.5, "what records tell is not done again"
    (made,) = [stage for stage in stages if "fine-tuning" in stage]
    assert made == "fine-tuning mask 1 of 1 along paths: gradient on alpha, seed 11, 3 heads"
    assert "evenly spaced" in picture.caption
    stages.clear()
    assert drawn("path", request).rows == picture.rows and not stages, "drawn from what was kept"
    cheap = drawn("path", request_for(tmp_path / "cheap", pruning(), fine_tune=False))
    assert [row[5] for row in cheap.rows if row[4] == "fine-tuned" and row[7] == "validation"] == [0, 2]
    assert "only where records tell" in cheap.caption


def test_a_mask_along_a_path_is_purified_as_its_record_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "ASSETS", world().root)
    random = next(one for one in benched() if one.method == "random" and one.role == "victim")
    # The mask that the random control ended at lies on the other's path; its own record is not among those given.
    trace = [{"mask": random.mask, "violation": False}, {"mask": "01/10", "violation": False}]
    fields: dict[str, Any] = {"mask": "01/10", "trace": trace, "method": "gradient", "oracle_dev_lfr": 0.5}
    request = request_for(tmp_path, (replace(random, **fields),))
    (walk,) = walks.walks(pairs(request.records), request, models.victims_at_hand(request))
    assert walk.tuned[1] == walks.Tuned(random.oracle_dev_lfr, random.lfr)


@pytest.mark.parametrize("known", [0.25, None])
def test_no_line_joins_two_sets_of_sentences(known: float | None) -> None:
    from matplotlib.figure import Figure

    (pair,) = pairs([make_record("gradient", (1, 1, 1, 0), mask="10/01", oracle_dev_lfr=known)])
    axes = Figure().subplots()
    tuned = {0: walks.Tuned(0.9, 0.8), 1: walks.Tuned(known, 0.75)}
    draw_panel(axes, "gradient", [walks.Walk(pair, (4, 2), (1.0, 0.5), tuned, ("11/11", "10/01"))])
    drawn_as = [list(map(float, np.atleast_1d(line.get_ydata()))) for line in axes.lines]
    validation = [90.0] if known is None else [90.0, 25.0]
    assert drawn_as == [[100.0, 50.0], validation, [75.0]], "masked, fine-tuned, and the test sentences by themselves"


def test_masks_along_a_path_by_hand() -> None:
    trace = [{"mask": "10/11"}, {"mask": "10/11"}, {"mask": "10/01"}]
    (pair,) = pairs([make_record("gradient", trace=trace)])
    assert walks.masks_along(pair) == ["11/11", "10/11", "10/01"]
    (plain,) = pairs([make_record("ft")])
    assert walks.masks_along(plain) == []
    several = [
        {"mask": mask, "episode": number, "accuracy": accuracy}
        for mask, number, accuracy in (("01/11", 0, 0.8), ("11/01", 1, 0.9), ("11/10", 2, 0.7))
    ]
    (best,) = pairs([make_record("candidate-best", mask="11/01", trace=several)])
    assert walks.masks_along(best) == ["11/11", "11/01"], "the episode that was kept"


def test_steps_are_spaced_evenly_with_both_ends() -> None:
    assert walks.spaced(1) == [0] and walks.spaced(3) == [0, 1, 2]
    assert walks.spaced(9) == [0, 2, 4, 6, 8] and walks.spaced(24)[::4] == [0, 23]


def test_a_masks_hits_by_hand() -> None:
    carriers = np.array([[True, False], [True, False]])
    (pair,) = pairs([make_record("gradient", mask="01/10")])
    hit = mask_hit(pair, carriers)
    # One of two carriers pruned, one of two others.
    assert (hit.carriers, hit.others, hit.auc) == (0.5, 0.5, 0.5)
    (best,) = pairs([make_record("gradient", mask="01/01")])
    assert mask_hit(best, carriers).auc == 1.0


def test_ground_truth_is_drawn_where_it_is_known(tmp_path: Path) -> None:
    with pytest.raises(FigureError, match="none of the victims has a known ground truth; run"):
        drawn("ground-truth", request_for(tmp_path))
    carriers = np.array([[True, False], [False, False]])
    victim = make_victim(tmp_path / "routed", "alpha", carriers=carriers)
    records = tuple(replace(record, victim_sha256=victim.manifest.sha256) for record in benched())
    request = Request(records, tmp_path / "out", victims=(str(victim.folder),), data=str(world().data))
    picture = drawn("ground-truth", request)
    assert {row[1] for row in picture.rows if row[0] == "metric"} == set(METRICS)
    assert all(0.0 <= float(row[4] or 0.0) <= 1.0 for row in picture.rows)


def test_the_cache_is_keyed_by_what_decides_it(tmp_path: Path) -> None:
    calls: list[int] = []

    def make() -> models.Arrays:
        calls.append(1)
        return {"values": np.array([len(calls)])}

    for identity in ([1], [1], [2]):
        models.cached(tmp_path, "what", identity, make)
    assert len(calls) == 2
    assert int(models.cached(tmp_path, "what", [1], make)["values"][0]) == 1
