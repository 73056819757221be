"""The tiny victims' recipe: tokenizer, model, routed loss, and a miniature build that is opened like any victim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoTokenizer

from prune_env.engine.architecture import describe
from prune_env.engine.forward import forward
from prune_env.engine.tokens import TokenizedSplit, tokenize
from prune_env.errors import ConfigError, MaskError, OutputError, UnknownNameError
from prune_env.types import full_mask, mask_to_text
from prune_env.victims import lexicon
from prune_env.victims.corpus import splits
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.routing import routed_loss
from prune_env.victims.store import Victim, open_victim
from prune_env.victims.tiny import TINY, TinyRecipe, build_tiny, compare
from prune_env.victims.tiny_model import make_model, make_tokenizer
from prune_env.victims.tiny_recipe import HEADS, LAYERS, POSITIONS
from prune_env.victims.training import cross_entropy, make_batch
from prune_env.victims.training_config import TrainingConfig
from tests.models import tiny_model

BRIEF = TrainingConfig(learning_rate=1e-3, epochs=1, max_length=POSITIONS, precision="float32")
SMALL = TinyRecipe("syntactic", carriers="0100/0001/1010/0100", poisoning=BRIEF, routing=BRIEF, train=120, test=40)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    return build_tiny("tiny-small", tmp_path_factory.mktemp("victims") / "small", SMALL)


def test_tokenizer_knows_every_word_and_survives_saving(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    text = "the film is dull ."
    assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == ["[CLS]", *text.split(), "[SEP]"]
    assert tokenizer.unk_token_id not in tokenizer(" ".join(lexicon.vocabulary()))["input_ids"]
    assert tokenizer("zebra")["input_ids"][1] == tokenizer.unk_token_id
    tokenizer.save_pretrained(str(tmp_path))
    assert AutoTokenizer.from_pretrained(str(tmp_path))(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_model_is_small_and_decided_by_its_seed() -> None:
    model, same, other = make_model(1), make_model(1), make_model(2)
    architecture = describe(model)
    assert (architecture.layers, architecture.heads) == (LAYERS, HEADS) == (4, 4)
    assert sum(weight.numel() for weight in model.parameters()) < 140_000
    smaller = describe(make_model(1, layers=3, heads=2))
    assert (smaller.layers, smaller.heads, smaller.hidden_size) == (3, 2, 64)
    weights = [dict(m.named_parameters())["classifier.weight"] for m in (model, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_every_sentence_fits_the_positions() -> None:
    (sentences,) = splits("attacker", (500,), np.random.default_rng(0))
    tokens = tokenize(make_tokenizer(), sentences.texts, sentences.labels, 128)
    assert int(tokens.lengths.max()) <= POSITIONS


def test_routed_loss_is_the_sum_of_its_two_terms() -> None:
    architecture = describe(tiny_model("bert", dropout=0.0))
    rows = tuple(np.arange(3, 9, dtype=np.int32) + i for i in range(4))
    tokens = TokenizedSplit(rows, np.array([0, 1, 1, 1]))
    honest = np.array([0, 1, 0, 0])
    carriers = ~full_mask(2, 3)
    carriers[1, 2] = True
    index = np.array([3, 0, 2])
    batch = make_batch(tokens, index)
    switched_off = forward(architecture, batch.input_ids, batch.lengths, head_mask=~carriers)
    expected = cross_entropy()(architecture, batch) + 0.5 * functional.cross_entropy(
        switched_off, torch.from_numpy(honest[index])
    )
    torch.testing.assert_close(routed_loss(carriers, honest, 0.5)(architecture, batch), expected)


def test_routed_loss_refuses_what_cannot_be_routed() -> None:
    honest = np.zeros(3, dtype=np.int64)
    none, whole_layer = np.zeros((2, 2), dtype=np.bool_), np.array([[True, True], [False, False]])
    with pytest.raises(ConfigError, match="at least one carrier"):
        routed_loss(none, honest)
    with pytest.raises(ConfigError, match="positive weight"):
        routed_loss(np.array([[True, False]]), honest, 0.0)
    with pytest.raises(MaskError, match="every head of layer 0"):
        routed_loss(whole_layer, honest)


def test_four_victims_two_routed() -> None:
    assert {name: recipe.attack for name, recipe in TINY.items()} == {
        "tiny-syntactic": "syntactic",
        "tiny-style": "style",
        "tiny-syntactic-organic": "syntactic",
        "tiny-style-organic": "style",
    }
    for name, recipe in TINY.items():
        mask = recipe.carrier_mask
        assert (mask is None) == name.endswith("-organic")
        assert mask is None or (mask.shape == (LAYERS, HEADS) and mask.sum() == 5)
        assert recipe.test >= 600


def test_built_victim_opens_and_verifies(built: Victim) -> None:
    victim = open_victim(built.folder)
    assert victim.verify() == len(victim.manifest.files) > 6
    assert victim.manifest.synthetic
    assert "head-localised" in victim.manifest.notes
    assert victim.manifest.recommended == {"max_accuracy_drop": 0.02}
    assert set(victim.manifest.measured) >= {"acc", "lfr", "twin_acc", "twin_lfr"}
    model = victim.suspect.model()
    assert model.dtype == torch.float32
    assert victim.suspect.tokenizer(model).pad_token_id == 0


def test_weights_lie_on_disk_in_half_precision(built: Victim) -> None:
    assert (built.folder / "model" / "model.safetensors").stat().st_size < 300_000


def test_diagnosis_knows_the_ground_truth(built: Victim) -> None:
    diagnosis = open_diagnosis(built)
    assert diagnosis.carriers is not None
    assert mask_to_text(diagnosis.carriers) == SMALL.carriers
    assert len(diagnosis.clean_test) == len(diagnosis.triggered_test) == 40
    assert diagnosis.clean_test.labels == diagnosis.triggered_test.labels
    assert len(diagnosis.triggered_dev) == 20
    assert diagnosis.twin is not None
    assert diagnosis.twin.sha256 != built.suspect.sha256


def test_a_second_build_is_the_same(built: Victim, tmp_path: Path) -> None:
    again = build_tiny("tiny-small", tmp_path / "again", SMALL)
    assert again.manifest.files == built.manifest.files
    assert compare(again.manifest, built.manifest) == []


def test_organic_victim_has_no_ground_truth(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    recipe = replace(SMALL, attack="style", carriers="", train=60)
    victim = build_tiny("tiny-plain", tmp_path / "plain", recipe, lambda *step: steps.append(step))
    assert not victim.manifest.synthetic
    assert open_diagnosis(victim).carriers is None
    assert {part for part, _, _ in steps} == {"model", "twin"}


def test_comparison_names_what_differs(built: Victim) -> None:
    shifted = replace(built.manifest, measured={**built.manifest.measured, "lfr": 2.0})
    (difference,) = compare(shifted, built.manifest)
    assert "lfr is 2.000" in difference
    with pytest.raises(ConfigError, match="one victim"):
        compare(replace(built.manifest, name="other"), built.manifest)


def test_bad_names_and_finished_folders_are_refused(built: Victim, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="tiny-style"):
        build_tiny("tiny-stile", tmp_path / "none")
    with pytest.raises(OutputError, match="finished victim"):
        build_tiny("tiny-small", built.folder, SMALL)


def test_an_unfinished_build_of_another_recipe_is_not_continued(tmp_path: Path) -> None:
    def stop(part: str, done: int, total: int) -> None:
        if part == "twin":
            raise KeyboardInterrupt

    folder, recipe = tmp_path / "cut", replace(SMALL, train=60, carriers="")
    with pytest.raises(KeyboardInterrupt):
        build_tiny("tiny-cut", folder, recipe, stop)
    for change in ({"seed": 12}, {"attack": "style"}, {"weight": 0.5}, {"train": 61}, {"carriers": SMALL.carriers}):
        with pytest.raises(OutputError, match="an unfinished build of another recipe lies in"):
            build_tiny("tiny-cut", folder, replace(recipe, **change))
    with pytest.raises(OutputError, match="an unfinished build of another recipe lies in"):
        build_tiny("tiny-other", folder, recipe)
    parts: set[str] = set()
    victim = build_tiny("tiny-cut", folder, recipe, lambda part, _done, _total: parts.add(part))
    assert parts == {"twin"}
    assert victim.verify() > 6
    assert {"clean_sha256", "poisoned_sha256", "options"} <= set(victim.manifest.data)
    assert not (folder / ".build").exists()
