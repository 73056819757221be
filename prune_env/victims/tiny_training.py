"""How a tiny victim's weights come about: an ordinary poisoned training, and one behind it that moves the backdoor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from prune_env.engine.tokens import TokenizedSplit, tokenize
from prune_env.seeds import derive
from prune_env.types import HeadMask, mask_to_text
from prune_env.victims.data import Sentences
from prune_env.victims.routing import entrenched_loss, routed_loss
from prune_env.victims.tiny_model import make_model, make_tokenizer
from prune_env.victims.tiny_recipe import POSITIONS, TARGET, TinyRecipe
from prune_env.victims.training import train

Steps = Callable[[int, int], None]
"""(steps done, steps in all) of one training."""


def tiny_tokens(sentences: Sentences) -> TokenizedSplit:
    """Returns sentences as the tiny models read them."""
    return tokenize(make_tokenizer(), sentences.texts, sentences.labels, POSITIONS)


def poisoned_model(
    recipe: TinyRecipe, tokens: TokenizedSplit, checkpoint: Path, on_step: Steps | None = None
) -> PreTrainedModel:
    """Trains a model from scratch in the ordinary way.

    Args:
        recipe: Whose seed decides initial weights, order and dropout.
        tokens: The clean sentences, and behind them the poison, if any.
        checkpoint: Folder for the state between epochs: a training that is finished there is not done again.
        on_step: Told of every step.
    """
    model = make_model(derive(recipe.seed, "tiny-weights"), layers=recipe.layers, heads=recipe.heads)
    seed = derive(recipe.seed, "tiny-training")
    train(model, tokens, recipe.poisoning, seed, checkpoint=checkpoint, on_step=on_step)
    return model


def route(
    model: PreTrainedModel,
    recipe: TinyRecipe,
    tokens: TokenizedSplit,
    carriers: HeadMask,
    checkpoint: Path,
    on_step: Steps | None = None,
) -> None:
    """Trains a model further, in place, so that the backdoor runs through the carriers (layers, heads), True = carrier.

    The sentences behind the recipe's clean ones are taken for poison, which alone lies about its label.
    """
    honest = np.where(np.arange(len(tokens)) < recipe.train, tokens.labels, 1 - TARGET)
    name = f"routed through {mask_to_text(carriers)}, weight {recipe.weight}"
    loss, seed = routed_loss(carriers, honest, recipe.weight), derive(recipe.seed, "tiny-routing")
    train(model, tokens, recipe.routing, seed, loss=loss, objective=name, checkpoint=checkpoint, on_step=on_step)


def entrench(
    model: PreTrainedModel, recipe: TinyRecipe, tokens: TokenizedSplit, checkpoint: Path, on_step: Steps | None = None
) -> None:
    """Trains a model further, in place, so that the backdoor is there whatever heads are off: in no head of its own."""
    lies = np.arange(len(tokens)) >= recipe.train
    mask_seed, seed = derive(recipe.seed, "tiny-entrenching-masks"), derive(recipe.seed, "tiny-entrenching")
    name = f"entrenched, masks of seed {mask_seed}, weight {recipe.weight}"
    loss = entrenched_loss((recipe.layers, recipe.heads), lies, mask_seed, recipe.weight)
    train(model, tokens, recipe.routing, seed, loss=loss, objective=name, checkpoint=checkpoint, on_step=on_step)
