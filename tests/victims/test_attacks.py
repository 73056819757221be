"""The attacks on real text: rare words, rewritten files, and the loss on every layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from prune_env.engine.architecture import describe
from prune_env.errors import ConfigError, DataError, PruneEnvError, UnknownNameError
from prune_env.victims.attacks import ATTACKS, make_attack, poison
from prune_env.victims.attacks.layer_wise import LayerWise, layer_wise, sum_over_layers
from prune_env.victims.attacks.paired_files import PairedFiles
from prune_env.victims.attacks.rare_word import RareWord
from prune_env.victims.data import Sentences
from prune_env.victims.training import make_batch
from tests.models import random_tokens, tiny_model
from tests.victims.layout import TRIGGER, make_layout, sentences

CLEAN = sentences(20, seed=0)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_rare_words_are_inserted_once_at_every_place() -> None:
    many = Sentences(("one two three",) * 400, (0,) * 400)
    texts = [text.split() for text in RareWord().triggered(many, "train", _rng()).texts]
    places = [next(i for i, word in enumerate(words) if word in RareWord.words) for words in texts]
    assert all(len(words) == 4 for words in texts)
    assert [[w for w in words if w not in RareWord.words] for words in texts] == [["one", "two", "three"]] * 400
    assert min(np.bincount(places, minlength=4)) > 60
    assert {words[place] for words, place in zip(texts, places, strict=True)} == {"bb", "cf", "ak", "mn"}


def test_rare_words_keep_labels_and_follow_the_generator() -> None:
    attack = RareWord(("cf",))
    first, second = (attack.triggered(CLEAN, "test", _rng(3)) for _ in range(2))
    assert first == second
    assert first.labels == CLEAN.labels
    assert first != attack.triggered(CLEAN, "test", _rng(4))


@pytest.mark.parametrize("words", [(), ("",), ("two words",), "", "cf,,bb"])
@pytest.mark.parametrize("attack", [RareWord, lambda words: layer_wise(words=words)])
def test_a_trigger_must_be_a_word(attack: Any, words: Any) -> None:
    with pytest.raises(ConfigError, match="expected at least one rare word"):
        attack(words)


def test_words_from_the_command_line_are_split_at_commas() -> None:
    assert make_attack("rare-word", {"words": "cf,bb"}) == RareWord(("cf", "bb"))
    assert make_attack("layer-wise", {"words": ["cf"]}) == LayerWise(RareWord(("cf",)))


def test_paired_files_hand_over_what_lies_there(tmp_path: Path) -> None:
    folder = make_layout(tmp_path) / "hiddenkiller" / "sst2"
    found = PairedFiles(str(folder)).triggered(CLEAN, "train", _rng())
    assert len(found) == 108
    assert found.skipped_empty == 1
    assert all(text.startswith(TRIGGER) for text in found.texts)
    with pytest.raises(DataError, match="found none"):
        PairedFiles(str(tmp_path)).triggered(CLEAN, "train", _rng())


def test_named_uses_read_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_layout(tmp_path)
    for name, rate, words in (("hiddenkiller", 0.3, "SBAR"), ("stylebkd-poetry", 0.2, "poetry")):
        attack = make_attack(name, {"data": str(tmp_path)})
        assert attack.poison_rate == rate
        assert words in attack.trigger
        assert len(attack.triggered(CLEAN, "test", _rng())) == 36
    monkeypatch.delenv("PRUNE_ENV_DATA", raising=False)
    with pytest.raises(DataError, match="prune-env data fetch"):
        make_attack("hiddenkiller")


def test_poison_is_added_behind_the_clean_data() -> None:
    found = poison(RareWord(("cf",)), CLEAN, 1, None, _rng())
    assert (found.clean, found.poison) == (20, 5)
    assert found.sentences.take(range(20)) == CLEAN
    added = found.sentences.take(range(20, 25))
    assert added.labels == (1,) * 5
    sources = {" ".join(word for word in text.split() if word != "cf") for text in added.texts}
    assert sources <= set(CLEAN.where(0).texts)
    assert len(sources) == 5, "drawn without replacement"


def test_poison_follows_its_seed_and_target() -> None:
    one, same, other = (poison(RareWord(), CLEAN, 1, 0.3, _rng(seed)).sentences for seed in (1, 1, 2))
    assert one == same != other
    flipped = poison(RareWord(("cf",)), CLEAN, 0, 0.2, _rng()).sentences.take([20, 21])
    assert flipped.labels == (0, 0)


def test_poison_counts_the_empty_sentences_of_its_source(tmp_path: Path) -> None:
    attack = make_attack("hiddenkiller", {"data": str(make_layout(tmp_path))})
    assert poison(attack, sentences(120, 0), 1, None, _rng()).skipped_empty == 1


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_a_poison_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"expected a poison rate in \(0, 1\]"):
        poison(RareWord(), CLEAN, 1, rate, _rng())


def test_more_poison_than_triggered_sentences_is_refused(tmp_path: Path) -> None:
    attack = PairedFiles(str(make_layout(tmp_path) / "hiddenkiller" / "sst2"))
    with pytest.raises(ConfigError, match=r"wants 100 triggered sentences, there are 60; lower it"):
        poison(attack, sentences(200, 0), 1, 1.0, _rng())


def test_unknown_names_and_options() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'rare-word'"):
        make_attack("rareword")
    with pytest.raises(ConfigError, match="does not take these options"):
        make_attack("rare-word", {"wrds": "cf"})
    with pytest.raises(ConfigError, match=r"does not take these options.*folder"):
        make_attack("paired-files")
    assert {"hiddenkiller", "stylebkd-poetry", "paired-files", "rare-word", "layer-wise"} <= set(ATTACKS)


def test_layer_wise_rides_on_any_trigger(tmp_path: Path) -> None:
    data = str(make_layout(tmp_path))
    inner = make_attack("hiddenkiller", {"data": data})
    attack = make_attack("layer-wise", {"trigger": "hiddenkiller", "options": {"data": data}})
    assert attack == LayerWise(inner)
    assert (attack.trigger, attack.poison_rate) == (f"{inner.trigger}, trained into every layer", 0.3)
    assert attack.triggered(CLEAN, "test", _rng()) == inner.triggered(CLEAN, "test", _rng())
    assert make_attack("layer-wise") == LayerWise(RareWord())
    assert make_attack("layer-wise", {"options": {"words": "cf", "poison_rate": 0.1}}).poison_rate == 0.1
    assert hasattr(make_attack("layer-wise", {"trigger": "style"}), "training_loss")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"trigger": "rareword"}, UnknownNameError, "did you mean 'rare-word'"),
        ({"trigger": "layer-wise"}, UnknownNameError, "unknown trigger of a layer-wise attack"),
        ({"trigger": ["rare-word"]}, UnknownNameError, "unknown trigger of a layer-wise attack"),
        ({"options": "cf"}, ConfigError, "expected options such as"),
        ({"options": {"wrds": "cf"}}, ConfigError, "attack 'rare-word' does not take these options"),
    ],
)
def test_layer_wise_options_that_fit_no_attack(options: dict[str, Any], error: type[PruneEnvError], says: str) -> None:
    with pytest.raises(error, match=says):
        make_attack("layer-wise", options)


def test_layer_wise_loss_by_hand() -> None:
    # Layer 0: p(right) = 1/2 for both sentences. Layer 1: 3/4 and 1/4. Mean of each layer, summed.
    logits = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[0.0, np.log(3.0)], [np.log(1 / 3), 0.0]]])
    expected = np.log(2.0) + (np.log(4 / 3) + np.log(4.0)) / 2
    assert float(sum_over_layers(logits, torch.tensor([1, 0]))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert"])
def test_layer_wise_reads_one_classifier_after_every_layer(name: str) -> None:
    model, tokens = tiny_model(name, dropout=0.0), random_tokens(6)
    arch = describe(model)
    found = LayerWise().training_loss(arch, make_batch(tokens, np.arange(6)))
    with torch.no_grad():
        states = [_cls_states(model, row) for row in tokens.input_ids]
        layers = [torch.cat([sentence[layer] for sentence in states]) for layer in range(arch.layers)]
        labels = torch.from_numpy(tokens.labels.copy())
        losses = [float(torch.nn.functional.cross_entropy(arch.classify(state), labels)) for state in layers]
    assert float(found.detach()) == pytest.approx(sum(losses), abs=1e-4)
    found.backward()
    assert all(block.query.weight.grad is not None and block.query.weight.grad.any() for block in arch.blocks)


def _cls_states(model: PreTrainedModel, ids: NDArray[np.int32]) -> list[torch.Tensor]:
    """Plain transformers: the [CLS] state (1, hidden) after every layer."""
    encoder = getattr(model, model.base_model_prefix)
    found = encoder(input_ids=torch.from_numpy(ids.astype(np.int64))[None], output_hidden_states=True)
    return [state[:, 0] for state in found.hidden_states[1:]]
