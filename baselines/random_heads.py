"""Controls: random masks of the size another method chose. What a ranking is worth is what it adds to these.

`random` draws the heads from the whole model, `random-balanced` as many as possible from each layer alike. Both match
the number of heads that gradient pruning removes for the same victim and seed, and are not held to the accuracy
threshold before fine-tuning, which a mask chosen without looking seldom meets.

`random-third` has a size of its own: each layer keeps a third of its heads, rounded up (24 of 72, 48 of 144), whatever
another method found. It is what a defender can do who trusts fine-tuning to repair a model and looks at nothing: no
importance, no accuracy, no trigger. What a search is worth, its choice of the size included, is what it adds to this.

None of them is in the paper, whose only random masks are an ensemble's (section 4.4, `ensemble`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import ConfigError
from prune_env.methods import Method, PolicyContext
from prune_env.observation import Observation
from prune_env.scripted import Action, choose, layer_of, prune


@dataclass(frozen=True)
class RandomHeads:
    """Prunes a random set of heads in one step and stops.

    Attributes:
        heads_to_prune: Size of the set.
        balanced: Whether every layer gives as many heads as any other, up to one.
        seed: Decides the set.
    """

    heads_to_prune: int
    balanced: bool
    seed: int

    def predict(
        self, observation: Observation, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Action, Any]:
        """Returns the set and stop; the same set for the same seed."""
        rng = np.random.default_rng(self.seed)
        order = rng.permutation(np.flatnonzero(observation["valid"]))
        if self.balanced:
            order = _by_turns(order, layer_of(observation), rng)
        return prune(observation, choose(observation, order, self.heads_to_prune), stop=True), state


def _by_turns(order: NDArray[np.int64], layer: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Reorders slots so that each round takes one head of every layer, the layers in random order."""
    turn = np.zeros(len(order), dtype=np.int64)
    for one in np.unique(layer[order]):
        of_layer = layer[order] == one
        turn[of_layer] = np.arange(int(of_layer.sum()))
    return order[np.lexsort((rng.permutation(len(order)), turn))]


def _third(context: PolicyContext) -> RandomHeads:
    kept = -(-context.heads // 3)
    return RandomHeads(context.layers * (context.heads - kept), balanced=True, seed=context.seed)


def _policy(balanced: bool, context: PolicyContext) -> RandomHeads:
    if context.heads_to_prune is None:
        raise ConfigError("expected the number of heads to prune for a random mask of matched size, got none")
    return RandomHeads(context.heads_to_prune, balanced, context.seed)


RANDOM = Method(
    name="random",
    summary="random heads, as many as gradient prunes (control)",
    kind="control",
    policy=lambda context: _policy(False, context),
    metrics=("gradient",),
    environment={"max_heads_per_step": None},
    reads_importance=False,
    matches="gradient",
    unconstrained=True,
)

RANDOM_BALANCED = Method(
    name="random-balanced",
    summary="random heads, as many as gradient prunes, spread over the layers alike (control)",
    kind="control",
    policy=lambda context: _policy(True, context),
    metrics=("gradient",),
    environment={"max_heads_per_step": None},
    reads_importance=False,
    matches="gradient",
    unconstrained=True,
)

RANDOM_THIRD = Method(
    name="random-third",
    summary="a random third of each layer's heads is kept (control)",
    kind="control",
    policy=_third,
    metrics=("gradient",),
    environment={"max_heads_per_step": None},
    reads_importance=False,
    unconstrained=True,
)
