"""The family: its registry, and each kind in miniature (2 x 2 heads, one epoch), which shows how it is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.engine.transformer import TransformerEvaluator
from prune_env.errors import ConfigError, IntegrityError, ManifestError, OutputError
from prune_env.importance import score
from prune_env.types import mask_from_text
from prune_env.victims.carriers import important_carriers
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.family import ATTACKS, CARRIERS, FAMILY, GRIDS, KINDS, MORE_ATTACKERS, SPLITS, FamilyRecipe
from prune_env.victims.family_build import SHARED, build_family_victim, tidy
from prune_env.victims.family_measure import FamilyRow, read_table, row_of, write_table
from prune_env.victims.manifest import MANIFEST
from prune_env.victims.store import open_victim
from prune_env.victims.tiny_materials import gather
from prune_env.victims.tiny_recipe import POSITIONS, TinyRecipe
from prune_env.victims.tiny_training import poisoned_model, tiny_tokens
from prune_env.victims.training_config import TrainingConfig

BRIEF = TrainingConfig(learning_rate=1e-3, epochs=1, max_length=POSITIONS, precision="float32")
TINY = TinyRecipe("syntactic", 3, poisoning=BRIEF, routing=BRIEF, train=90, test=30, layers=2, heads=2)
MINI = {
    "organic": FamilyRecipe("mini-organic", "family-train", "organic", TINY),
    "random": FamilyRecipe("mini-random", "family-train", "random", replace(TINY, carriers="01/00"), 1),
    "important": FamilyRecipe("mini-important", "family-train", "important", TINY, 1),
    "ffn": FamilyRecipe("mini-ffn", "family-train", "ffn", TINY),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("family")
    for recipe in MINI.values():
        build_family_victim(recipe, folder)
    return folder


def _row(name: str, out: Path) -> FamilyRow:
    return row_of(open_victim(out / MINI[name].name), MINI[name])


def test_every_attack_grid_and_kind_is_in_either_split_once_and_more_to_train_on() -> None:
    places = [(r.split, r.tiny.attack, (r.tiny.layers, r.tiny.heads), r.kind) for r in FAMILY.values()]
    assert sorted(places[:32]) == sorted(product(SPLITS, ATTACKS, GRIDS, KINDS))
    more = [*product(SPLITS[:1], ATTACKS, GRIDS[:1], KINDS)]
    assert sorted(places[32:]) == sorted(more * (MORE_ATTACKERS // 2))
    assert len(places) == len(FAMILY) == 32 + 4 * MORE_ATTACKERS
    assert all(name == recipe.name for name, recipe in FAMILY.items())


def test_attackers_have_seeds_of_their_own_and_splits_share_none() -> None:
    attackers = {(recipe.attacker, recipe.tiny.seed) for recipe in FAMILY.values()}
    assert len(attackers) == len({seed for _, seed in attackers}) == 8 + MORE_ATTACKERS
    train, test = ({r.tiny.seed for r in FAMILY.values() if r.split == split} for split in SPLITS)
    assert not train & test
    assert 11 not in train | test, "the embedded victims' own seed"


def test_random_carriers_fit_their_grid_and_leave_each_layer_a_head() -> None:
    named = [recipe for recipe in FAMILY.values() if recipe.kind == "random"]
    for recipe in named:
        carriers = mask_from_text(recipe.tiny.carriers)
        grid = (recipe.tiny.layers, recipe.tiny.heads)
        assert carriers.shape == grid
        assert carriers.sum() == recipe.carriers == CARRIERS[grid]
        assert not carriers.all(axis=1).any()
    assert len({recipe.tiny.carriers for recipe in named}) > 0.8 * len(named), "drawn by each attacker's own seed"


@pytest.mark.parametrize(
    "change", [{"kind": "other"}, {"split": "test"}, {"carriers": 1}, {"kind": "important"}, {"kind": "random"}]
)
def test_recipes_whose_parts_do_not_fit_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        replace(MINI["organic"], **change)  # type: ignore[arg-type]


def test_a_grid_that_no_model_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="3 x 5"):
        TinyRecipe("style", layers=3, heads=5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_opens_like_any_victim(out: Path, kind: str) -> None:
    victim = open_victim(out / MINI[kind].name)
    assert victim.verify() > 5
    assert victim.manifest.synthetic == MINI[kind].routed
    assert victim.manifest.recommended == {"max_accuracy_drop": 0.02}
    assert "2 layers x 2 heads" in victim.manifest.backbone
    diagnosis = open_diagnosis(victim)
    assert diagnosis.twin is None
    assert (diagnosis.carriers is not None) == MINI[kind].routed


def test_one_poisoned_training_makes_four_different_victims(out: Path) -> None:
    assert [path.name for path in (out / SHARED).iterdir() if path.is_dir()] == [MINI["organic"].attacker]
    assert len({_row(kind, out).sha256 for kind in KINDS}) == 4


def test_organic_is_the_poisoned_training_itself(out: Path) -> None:
    tokens = tiny_tokens(gather(TINY).poisoned.sentences)
    plain = poisoned_model(TINY, tokens, out / SHARED / MINI["organic"].attacker).half()
    published = open_victim(out / "mini-organic").suspect.model(with_head=True)
    for (name, weight), other in zip(plain.named_parameters(), published.parameters(), strict=True):
        assert torch.equal(weight.float(), other), name


def test_carriers_are_those_named_or_those_that_the_gradient_ranks_highest(out: Path) -> None:
    assert _row("random", out).carriers == "01/00"
    tokens = tiny_tokens(gather(TINY).poisoned.sentences)
    model = poisoned_model(TINY, tokens, out / SHARED / MINI["important"].attacker)
    scores = score("gradient", model, tokens.subset(range(TINY.train)))
    carriers = open_diagnosis(open_victim(out / "mini-important")).carriers
    assert carriers is not None
    np.testing.assert_array_equal(carriers, important_carriers(scores, 1))
    assert scores[carriers] == scores.max()


def test_rates_without_carriers_are_those_of_the_masked_model(out: Path) -> None:
    victim, row = open_victim(out / "mini-random"), _row("random", out)
    model, diagnosis = victim.suspect.model(with_head=True), open_diagnosis(victim)
    off = ~mask_from_text("01/00")[None]
    clean = TransformerEvaluator(model, tiny_tokens(diagnosis.clean_test)).accuracy(off)[0]
    negative = tiny_tokens(diagnosis.triggered_test.excluding(diagnosis.target))
    assert row.acc_without_carriers == clean
    assert row.lfr_without_carriers == 1.0 - TransformerEvaluator(model, negative).accuracy(off)[0]
    assert _row("ffn", out).lfr_without_carriers is None


def test_a_second_build_is_the_same_whatever_was_built_before(out: Path, tmp_path: Path) -> None:
    for kind in ("ffn", "random"):
        again = build_family_victim(MINI[kind], tmp_path)
        assert again.manifest == open_victim(out / MINI[kind].name).manifest


def test_a_finished_victim_is_left_as_it_is_and_another_recipe_refused(out: Path) -> None:
    trained: list[str] = []
    build_family_victim(MINI["ffn"], out, lambda part, _done, _total: trained.append(part))
    assert trained == []
    with pytest.raises(OutputError, match="another recipe"):
        build_family_victim(replace(MINI["ffn"], tiny=replace(TINY, weight=0.5)), out)


def test_a_cut_build_goes_on_where_it_was(out: Path, tmp_path: Path) -> None:
    def stop(part: str, done: int, _total: int) -> None:
        if part == "routing" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_family_victim(MINI["random"], tmp_path, stop)
    with pytest.raises(OutputError, match="another recipe"):
        build_family_victim(replace(MINI["random"], tiny=replace(TINY, carriers="10/00")), tmp_path)
    parts: set[str] = set()
    victim = build_family_victim(MINI["random"], tmp_path, lambda part, _done, _total: parts.add(part))
    assert parts == {"routing"}
    assert victim.manifest == open_victim(out / "mini-random").manifest


def test_a_changed_model_is_not_taken_for_finished(tmp_path: Path) -> None:
    build_family_victim(MINI["organic"], tmp_path)
    weights = tmp_path / "mini-organic" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="has changed"):
        build_family_victim(MINI["organic"], tmp_path)


def test_shared_trainings_go_when_the_last_victim_is_finished(tmp_path: Path) -> None:
    (tmp_path / SHARED).mkdir()
    recipes = [MINI["organic"], MINI["ffn"]]
    (tmp_path / "mini-organic").mkdir()
    (tmp_path / "mini-organic" / MANIFEST).touch()
    tidy(tmp_path, recipes)
    assert (tmp_path / SHARED).is_dir()
    (tmp_path / "mini-ffn").mkdir()
    (tmp_path / "mini-ffn" / MANIFEST).touch()
    tidy(tmp_path, recipes)
    assert not (tmp_path / SHARED).exists()


KEPT = FamilyRow(
    "a", "family-test", "random", "style", 2, 2, 3, "01/00",
    acc=0.95, lfr=1.0, acc_without_carriers=0.9, lfr_without_carriers=0.1, carrier_rank=0.5,
    masks_holding=50, masks_lying=0.4, sha256="",
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"acc": 0.92}, "a: ACC is 0.920"),
        ({"lfr": 0.89}, "a: LFR is 0.890"),
        ({"lfr_without_carriers": 0.2}, "LFR without carriers is 0.200"),
        ({"kind": "ffn", "lfr_without_carriers": None}, "0.400 of the masks that hold lie"),
        ({"kind": "ffn", "lfr_without_carriers": None, "masks_lying": 1.0, "masks_holding": 9}, "9 masks hold"),
    ],
)
def test_a_broken_promise_is_told(change: dict[str, object], complaint: str) -> None:
    assert KEPT.misses() == []
    (miss,) = replace(KEPT, **change).misses()  # type: ignore[arg-type]
    assert complaint in miss


def test_a_table_is_read_as_it_was_written_and_another_refused(tmp_path: Path) -> None:
    rows = [KEPT, replace(KEPT, name="b", kind="ffn", carriers=None, carrier_rank=None)]
    write_table(tmp_path / "family.json", rows)
    assert read_table(tmp_path / "family.json") == rows
    (tmp_path / "other.json").write_text('{"schema": 1, "victims": [{"name": "a"}]}', encoding="utf-8")
    with pytest.raises(ManifestError, match="rows with the fields"):
        read_table(tmp_path / "other.json")
    with pytest.raises(ManifestError, match="found none"):
        read_table(tmp_path / "none.json")
