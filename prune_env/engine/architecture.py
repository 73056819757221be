"""BERT, RoBERTa and DistilBERT classifiers described alike: modules by role, so that one forward serves all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from prune_env.errors import CheckpointError, UnsupportedModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Activation: TypeAlias = Callable[[Tensor], Tensor]
_Module = TypeVar("_Module", bound=nn.Module)


@dataclass(frozen=True)
class Block:
    """One transformer layer: the model's own modules, so that gradients reach the model."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    attention_norm: nn.LayerNorm
    ffn_in: nn.Linear
    ffn_out: nn.Linear
    ffn_norm: nn.LayerNorm


@dataclass(frozen=True)
class Dropout:
    """Rates in training, by the place where the architecture drops."""

    embedding: float
    attention: float
    output: float
    ffn: float
    classifier: float


@dataclass(frozen=True)
class Embedding:
    """Token embedding: word + position (+ token type zero), normalised."""

    word: nn.Embedding
    position: nn.Embedding
    token_type: nn.Embedding | None
    norm: nn.LayerNorm
    first_position: int

    def __call__(self, input_ids: Tensor) -> Tensor:
        """Embeds token ids (B, T) as (B, T, hidden); no dropout."""
        length = input_ids.shape[1]
        offset = self.position.weight[self.first_position : self.first_position + length]
        if self.token_type is not None:
            offset = offset + self.token_type.weight[0]
        hidden: Tensor = self.norm(functional.embedding(input_ids, self.word.weight) + offset)
        return hidden


@dataclass(frozen=True)
class Classifier:
    """The architecture's own classifier on the [CLS] state: dense, activation, output, with its dropout."""

    dense: nn.Linear
    activation: Activation
    output: nn.Linear
    drops_input: bool

    def __call__(self, cls: Tensor, dropout: float) -> Tensor:
        """Maps [CLS] states (B, hidden) to logits (B, labels), dropping at rate `dropout`."""
        if self.drops_input and dropout:
            cls = functional.dropout(cls, dropout)
        pooled = self.activation(functional.linear(cls, self.dense.weight, self.dense.bias))
        if dropout:
            pooled = functional.dropout(pooled, dropout)
        return functional.linear(pooled, self.output.weight, self.output.bias)


@dataclass(frozen=True)
class Architecture:
    """What the forward needs of a model; holds the live modules, copies nothing.

    Attributes:
        embedding: Token embedding.
        blocks: One `Block` a layer.
        classifier: Maps [CLS] to logits.
        activation: The feed-forward activation.
        heads: Attention heads in each layer.
        dropout: Rates in training.
    """

    embedding: Embedding
    blocks: tuple[Block, ...]
    classifier: Classifier
    activation: Activation
    heads: int
    dropout: Dropout

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.blocks)

    @property
    def hidden_size(self) -> int:
        """Width of a hidden state."""
        return self.embedding.word.embedding_dim

    @property
    def head_size(self) -> int:
        """Rows of the query, key and value matrix that one head owns."""
        return self.hidden_size // self.heads

    @property
    def labels(self) -> int:
        """Outputs of the classifier."""
        return self.classifier.output.out_features

    @property
    def vocabulary(self) -> int:
        """Rows of the word embedding."""
        return self.embedding.word.num_embeddings

    @property
    def positions(self) -> int:
        """Longest sequence in tokens."""
        return self.embedding.position.num_embeddings - self.embedding.first_position

    def classify(self, cls: Tensor, training: bool = False) -> Tensor:
        """Maps [CLS] states (B, hidden) to logits (B, labels); with the classifier's dropout iff `training`."""
        return self.classifier(cls, self.dropout.classifier if training else 0.0)


def describe(model: PreTrainedModel) -> Architecture:
    """Describes a BERT, RoBERTa or DistilBERT sequence-classification model.

    Args:
        model: BertForSequenceClassification, RobertaForSequenceClassification or DistilBertForSequenceClassification.

    Raises:
        UnsupportedModelError: Any other model, a decoder, or a classifier with fewer than two labels.
        CheckpointError: RoBERTa without a padding token in its config.
    """
    for parent in type(model).__mro__:
        if parent.__name__ in _DESCRIBERS:
            architecture = _DESCRIBERS[parent.__name__](model)
            break
    else:
        raise UnsupportedModelError(
            f"expected one of {', '.join(_DESCRIBERS)}, got {type(model).__name__}; load the checkpoint as one of these"
        )
    if getattr(model.config, "is_decoder", False) or architecture.labels < 2:
        raise UnsupportedModelError(
            f"expected an encoder with at least 2 labels, got is_decoder={getattr(model.config, 'is_decoder', False)} "
            f"and {architecture.labels} label(s); set num_labels when loading the model"
        )
    return architecture


def _bert(model: PreTrainedModel) -> Architecture:
    """Describes BERT: the pooler is the classifier's dense layer."""
    classifier = Classifier(
        dense=_part(model, "bert.pooler.dense", nn.Linear),
        activation=torch.tanh,
        output=_part(model, "classifier", nn.Linear),
        drops_input=False,
    )
    return _bert_like(model, "bert", 0, classifier)


def _roberta(model: PreTrainedModel) -> Architecture:
    """Describes RoBERTa: positions start after the padding index, the head drops its input too."""
    padding = model.config.pad_token_id
    if type(padding) is not int or padding < 0:
        raise CheckpointError(
            f"expected a RoBERTa config with its pad_token_id, behind which positions are counted, got {padding!r}; "
            "restore config.json (1 in most models)"
        )
    classifier = Classifier(
        dense=_part(model, "classifier.dense", nn.Linear),
        activation=torch.tanh,
        output=_part(model, "classifier.out_proj", nn.Linear),
        drops_input=True,
    )
    return _bert_like(model, "roberta", padding + 1, classifier)


def _bert_like(model: PreTrainedModel, base: str, first_position: int, classifier: Classifier) -> Architecture:
    """Describes what BERT and RoBERTa share."""
    config: Any = model.config
    names = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "ffn_in": "intermediate.dense",
        "ffn_out": "output.dense",
        "ffn_norm": "output.LayerNorm",
    }
    hidden = float(config.hidden_dropout_prob)
    last = hidden if config.classifier_dropout is None else float(config.classifier_dropout)
    layers = f"{base}.encoder.layer"
    return Architecture(
        embedding=Embedding(
            word=_part(model, f"{base}.embeddings.word_embeddings", nn.Embedding),
            position=_part(model, f"{base}.embeddings.position_embeddings", nn.Embedding),
            token_type=_part(model, f"{base}.embeddings.token_type_embeddings", nn.Embedding),
            norm=_part(model, f"{base}.embeddings.LayerNorm", nn.LayerNorm),
            first_position=first_position,
        ),
        blocks=_blocks(model, layers, names, int(config.num_hidden_layers)),
        classifier=classifier,
        activation=_activation(model, f"{layers}.0.intermediate", "intermediate_act_fn"),
        heads=int(config.num_attention_heads),
        dropout=Dropout(hidden, float(config.attention_probs_dropout_prob), hidden, hidden, last),
    )


def _distilbert(model: PreTrainedModel) -> Architecture:
    """Describes DistilBERT: no token types, no dropout after the attention output."""
    config: Any = model.config
    names = {
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "output": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "ffn_in": "ffn.lin1",
        "ffn_out": "ffn.lin2",
        "ffn_norm": "output_layer_norm",
    }
    layers, base = "distilbert.transformer.layer", "distilbert.embeddings"
    hidden = float(config.dropout)
    return Architecture(
        embedding=Embedding(
            word=_part(model, f"{base}.word_embeddings", nn.Embedding),
            position=_part(model, f"{base}.position_embeddings", nn.Embedding),
            token_type=None,
            norm=_part(model, f"{base}.LayerNorm", nn.LayerNorm),
            first_position=0,
        ),
        blocks=_blocks(model, layers, names, int(config.n_layers)),
        classifier=Classifier(
            dense=_part(model, "pre_classifier", nn.Linear),
            activation=torch.relu,
            output=_part(model, "classifier", nn.Linear),
            drops_input=False,
        ),
        activation=_activation(model, f"{layers}.0.ffn", "activation"),
        heads=int(config.n_heads),
        dropout=Dropout(hidden, float(config.attention_dropout), 0.0, hidden, float(config.seq_classif_dropout)),
    )


def _blocks(model: PreTrainedModel, layers: str, names: dict[str, str], count: int) -> tuple[Block, ...]:
    """Collects each layer's modules by role."""
    kinds: dict[str, type[nn.Linear] | type[nn.LayerNorm]] = {
        role: nn.LayerNorm if role.endswith("norm") else nn.Linear for role in names
    }
    found = [
        {role: _part(model, f"{layers}.{layer}.{path}", kinds[role]) for role, path in names.items()}
        for layer in range(count)
    ]
    return tuple(Block(**parts) for parts in found)  # type: ignore[arg-type]


def _part(model: PreTrainedModel, path: str, kind: type[_Module]) -> _Module:
    """Returns the module at `path`; a changed one (quantised, an adapter) would be read wrongly, so it is refused."""
    try:
        module = model.get_submodule(path)
    except AttributeError:
        raise UnsupportedModelError(
            f"{type(model).__name__} has no module {path}; expected the plain architecture of transformers"
        ) from None
    if not isinstance(module, kind):
        raise UnsupportedModelError(
            f"expected {path} to be a {kind.__name__}, got {type(module).__name__}; load the model unquantised, "
            "without adapters"
        )
    return module


def _activation(model: PreTrainedModel, path: str, name: str) -> Activation:
    """Returns the feed-forward activation, which may be a module or a plain function."""
    function: Activation = getattr(_part(model, path, nn.Module), name)
    return function


_DESCRIBERS: dict[str, Callable[[PreTrainedModel], Architecture]] = {
    "BertForSequenceClassification": _bert,
    "RobertaForSequenceClassification": _roberta,
    "DistilBertForSequenceClassification": _distilbert,
}
