"""As released: what the paper's released code does where that is not what the paper says. For comparison, no strategy.

Each method here is the paper's one but for the difference its line names; everything else, fine-tuning included, is as
in the method of the paper, so that the difference between the two rows is the difference between text and code. They
are meant for the embedded victims, where a row costs seconds.

| method | beside | what the released code does instead |
| --- | --- | --- |
| as-released-gradient | gradient | adds the norm of the whole layer's key gradient to every head: a layer's heads tie |
| as-released-layer-wise | layer-wise | ignores the accuracy it computes; variance over the first 127 entries |
| as-released-bayesian | bayesian | every pass runs in eval mode: no dropout, and the score is a mean, not a spread |
| as-released-ensemble | ensemble | one model without the union of five members' heads, not validated; nobody votes |

Where heads tie, the lower head index goes first: as-released-gradient empties a layer down to its last head before it
touches the next. What order the released code gives equal heads is not copied. Its search crashes on an empty step and,
in one strategy, goes on after the first backtracking where another stops; here all end as the paper's Algorithm 1 does.

Left out: the "reinforcement learning" of the released code, which has no state, no reward and no update and returns the
mask that VIOLATES the threshold. The environment never hands out such a mask (a violation leaves the last valid one),
and gets no special case for it. Its ranking by padded attention variance is `as_released_attention_variance`.

Constants: those of the paper's methods; rates of 20 to 80 %, 5 members, 2 heads of a layer. Sources: the released code,
for each line of the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prune_env.baselines.bayesian import BAYESIAN
from prune_env.baselines.ensemble import MEMBERS, RandomEachLayer
from prune_env.baselines.gradient import GRADIENT, LowestFirst
from prune_env.baselines.layer_wise import LAYER_WISE, LayerByLayer
from prune_env.methods import Method, PolicyContext
from prune_env.observation import Observation
from prune_env.scripted import Action, choose, prune


@dataclass(frozen=True)
class UnionOfMembers:
    """Prunes in one step every head that any member would lose, and stops; each layer keeps a head.

    Attributes:
        seed: Decides all members' heads.
        members: How many draws.
    """

    seed: int
    members: int = MEMBERS

    def predict(
        self, observation: Observation, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Action, Any]:
        """Returns the union and stop; the same for the same seed."""
        rng = np.random.default_rng(self.seed)
        drawn = [slot for _ in range(self.members) for slot in RandomEachLayer(self.seed).draw(observation, rng)]
        union = list(dict.fromkeys(drawn))
        return prune(observation, choose(observation, union, len(union)), stop=True), state


def _union(context: PolicyContext) -> UnionOfMembers:
    return UnionOfMembers(context.seed)


GRADIENT_AS_RELEASED = replace(
    GRADIENT,
    name="as-released-gradient",
    summary="gradient, but the released code's score, in which a layer's heads tie",
    kind="control",
    policy=lambda _: LowestFirst("as_released_gradient"),
    metrics=("as_released_gradient",),
)

LAYER_WISE_AS_RELEASED = replace(
    LAYER_WISE,
    name="as-released-layer-wise",
    summary="layer-wise, but by padded variance and without the threshold, as released",
    kind="control",
    policy=lambda _: LayerByLayer("as_released_attention_variance"),
    metrics=("as_released_attention_variance",),
    unconstrained=True,
)

BAYESIAN_AS_RELEASED = replace(
    BAYESIAN,
    name="as-released-bayesian",
    summary="bayesian, but the released code's score, which is no uncertainty",
    kind="control",
    policy=lambda _: LowestFirst("as_released_uncertainty"),
    metrics=("as_released_uncertainty",),
)

ENSEMBLE_AS_RELEASED = Method(
    name="as-released-ensemble",
    summary="one model without the union of five members' heads, not validated, as released",
    kind="control",
    policy=_union,
    metrics=("gradient",),
    reads_importance=False,
    environment={"max_heads_per_step": None},
    unconstrained=True,
)
