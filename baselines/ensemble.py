"""Randomised pruning with an ensemble (paper, section 4.4): five random masks that hold the threshold, and a vote.

"This is a stochastic head pruning defense method (Dhillon et al., 2018), where the attention heads are randomly removed
to construct multiple pruned ensemble models." Each member removes 2 random heads of every layer, never a layer's last
one, in an episode of its own: all its heads in one step, drawn by a seed of its own. A member counts only if accuracy
on the clean `search` split holds the threshold; one that misses it ends its episode (`on_violation="terminate"`) and is
left out, not drawn again, so that five draws are what every seed gets.

Every member that counts is recovered like any other method's mask: put on the suspect's own encoder with a fresh head
and fine-tuned on the clean data with the mask held. Heads start from the same draw, order and dropout follow from a
stream of each member's own, the first member's being the one all methods use: with one valid member this is plain
recovery of its mask. The members vote; `prune_env.victims.judge.vote` says how ties go, and AUC is that of their mean
log-odds. Where no member counts, the full mask alone is recovered: that is `ft`.

In a record, `mask` is the last episode's: full, if that member was left out. The members are the attempted masks of the
trace without a violation; a table's "heads kept" is their mean. `seconds` counts the fine-tuning of them all.

The released code differs: it never validates a member and takes no vote, but removes the union of the members' heads,
about 60 % of all (1 - (10/12)^5), from one model; `as-released-ensemble` does that.

| constant | value | source |
| --- | --- | --- |
| members | 5 | released code |
| heads of a layer | 2 (of BERT's 12), not scaled to smaller models | released code |
| validity | accuracy of the masked scoring model >= threshold | paper's threshold, .85; the run's here |
| vote | majority | section 4.4 says "ensemble" alone |
| fine-tuning | plain, the protocol's rate | section 5 |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.methods import Method, PolicyContext
from prune_env.observation import Observation
from prune_env.recovery import PLAIN, Job, Purified, begin, finish, fit
from prune_env.scripted import Action, layer_of, prune
from prune_env.types import HeadMask
from prune_env.victims.training import cross_entropy

MEMBERS = 5
HEADS_A_LAYER = 2


@dataclass(frozen=True)
class RandomEachLayer:
    """Prunes as many random heads of each layer in one step, and stops.

    Attributes:
        seed: Decides the heads.
        heads_a_layer: How many of each layer; fewer where that would empty it.
    """

    seed: int
    heads_a_layer: int = HEADS_A_LAYER

    def predict(
        self, observation: Observation, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Action, Any]:
        """Returns the heads and stop; the same for the same seed."""
        return prune(observation, self.draw(observation, np.random.default_rng(self.seed)), stop=True), state

    def draw(self, observation: Observation, rng: np.random.Generator) -> list[int]:
        """Returns random slots of the heads that are there, as many of each layer."""
        kept = observation["mask"].astype(np.bool_)
        layer = layer_of(observation)
        rows = [np.flatnonzero(kept & (layer == one)) for one in range(int(layer.max()) + 1)]
        return [int(slot) for row in rows for slot in rng.permutation(row)[: _spared(row, self.heads_a_layer)]]


def _spared(row: NDArray[np.int64], count: int) -> int:
    """Returns how many heads a layer can give, its last one kept."""
    return max(0, min(count, len(row) - 1))


@dataclass(frozen=True)
class Members:
    """Plain recovery of every member, each with a random stream of its own."""

    def purify(self, job: Job) -> Purified:
        """Returns the first member with the others beside it; with none, plain recovery of the full mask."""
        if not job.members:
            return PLAIN.purify(replace(job, mask=np.ones_like(job.mask)))
        made = [_recover(job, mask, number) for number, mask in enumerate(job.members)]
        others = tuple(one.model for one in made[1:])
        sentences = sum(one.sentences or 0 for one in made)
        return replace(made[0], seconds=sum(one.seconds for one in made), others=others, sentences=sentences)


def _recover(job: Job, mask: HeadMask, number: int) -> Purified:
    member = replace(job, mask=mask, members=(), on_step=_counted(job, number))
    begun = begin(member)
    stream = "defender-training" if number == 0 else f"defender-training:{number}"
    fit(member, begun, cross_entropy(mask), stream=stream)
    return finish(member, begun)


def _counted(job: Job, number: int) -> Callable[[int, int], None] | None:
    """Returns what reports a member's steps as steps of the whole ensemble."""
    return None if job.on_step is None else partial(_report, job.on_step, number, len(job.members))


def _report(on_step: Callable[[int, int], None], number: int, members: int, done: int, total: int) -> None:
    on_step(number * total + done, members * total)


def _policy(context: PolicyContext) -> RandomEachLayer:
    return RandomEachLayer(context.seed)


ENSEMBLE = Method(
    name="ensemble",
    summary="5 models without 2 random heads a layer, each above the threshold, that vote (paper, section 4.4)",
    policy=_policy,
    metrics=("gradient",),
    reads_importance=False,
    environment={"on_violation": "terminate", "max_heads_per_step": None},
    recovery=Members(),
    episodes=MEMBERS,
)
