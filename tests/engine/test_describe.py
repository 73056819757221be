"""Descriptions of models: what is read from the three architectures, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, BertModel

from prune_env.engine.architecture import describe
from prune_env.errors import UnsupportedModelError
from tests.models import ARCHITECTURES, VOCABULARY, tiny_model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_sizes_are_those_of_the_configuration(name: str) -> None:
    architecture = describe(tiny_model(name, layers=3, heads=4, hidden=32, labels=5))
    sizes = (architecture.layers, architecture.heads, architecture.head_size, architecture.hidden_size)
    assert sizes == (3, 4, 8, 32)
    assert (architecture.labels, architecture.vocabulary) == (5, VOCABULARY)
    assert architecture.positions == (38 if name == "roberta" else 40)


def test_it_holds_the_models_own_modules() -> None:
    model = tiny_model("bert")
    assert describe(model).blocks[1].key is model.get_submodule("bert.encoder.layer.1.attention.self.key")


def test_a_subclass_is_known_by_its_parent() -> None:
    class Renamed(BertForSequenceClassification):
        pass

    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    assert describe(Renamed(config)).heads == 2


def test_a_model_without_classifier_is_refused() -> None:
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(UnsupportedModelError, match="got BertModel"):
        describe(BertModel(config))


def test_a_single_label_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="1 label"):
        describe(tiny_model("bert", labels=1))


def test_a_replaced_module_is_refused() -> None:
    model = tiny_model("bert")
    attention = model.get_submodule("bert.encoder.layer.0.attention.self")
    attention.key = nn.Sequential(nn.Linear(24, 24))
    with pytest.raises(UnsupportedModelError, match="got Sequential"):
        describe(model)
    del attention.key
    with pytest.raises(UnsupportedModelError, match=r"no module .*self\.key"):
        describe(model)


def test_classifier_dropout_acts_in_training_only() -> None:
    architecture = describe(tiny_model("roberta", dropout=0.5))
    cls = torch.ones(4, 24)
    assert torch.equal(architecture.classify(cls)[0], architecture.classify(cls)[3])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = architecture.classify(cls, training=True)
    assert not torch.equal(dropped[0], dropped[3])
