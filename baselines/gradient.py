"""Gradient-based pruning (section 4.1 of the paper, Algorithm 1): the lowest gradient norm goes first.

Paper: heads "with the lowest gradient importance on clean data are pruned iteratively until the validation accuracy
falls below the accuracy threshold"; the idea is that a backdoor sits in heads that clean sentences do not use.

Head h of a layer with head size d owns rows hd to (h + 1)d of the key projection W_K. Its importance is

    s_h = || mean over clean sentences x of  dLoss(x)/dW_K [hd : (h + 1)d, :] ||_F

on up to 1,000 clean training sentences, without dropout: the metric `gradient`
(`prune_env/importance/gradient.py`). The mean is taken before the norm, as one backward pass over all sentences gives
it. The gradient of the key *bias* is exactly zero, since softmax ignores what is added to all of a row, so it has no
part in the score.

Algorithm 1, as an episode of the environment:

1. A step is a group of the k least important heads that are left; each layer keeps one head. Ties go to the earlier
   layer, then the earlier head.
2. The masked model's accuracy is measured. While it is at least tau, the next group follows.
3. Where it falls below tau, the group's heads come back, the most important first, until accuracy holds (the
   environment's "backtrack"), and pruning ends: heads that failed once are not tried again, nor are others.

Hence every mask meets tau (if the full mask does), a lower tau prunes at least what a higher one does, and the order
is fixed before the first head goes: scores of a pruned model are not asked for, in the paper as here.

The released code differs. It adds the norm of the whole layer's key gradient to each of its heads, so that the heads
of a layer tie and whole layers go one after another (the metric `as_released_gradient`, the method
`as-released-gradient`), and it crashes on a step that prunes nothing.

| constant | value | source |
| --- | --- | --- |
| heads a step, k | 10 of 144, scaled to the model, at least 2 | released code |
| tau | 0.85 on SST-2 | paper, section 5 |
| backtracking order | most important first | Algorithm 1 |
| fine-tuning | plain | paper, section 5 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prune_env.methods import Method
from prune_env.observation import Observation
from prune_env.scripted import Action, choose, group_size, lowest_first, prune


@dataclass(frozen=True)
class LowestFirst:
    """Prunes the least important heads in groups until a group fails; reads nothing but the observation.

    Attributes:
        metric: Importance that decides the order.
    """

    metric: str

    def predict(
        self, observation: Observation, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Action, Any]:
        """Returns the next group, or stop once heads have failed or none can go; no state, no chance."""
        group = choose(observation, lowest_first(observation, self.metric), group_size(observation))
        done = bool(observation["failed"].any()) or not group
        return prune(observation, [] if done else group, stop=done), state


GRADIENT = Method(
    name="gradient",
    summary="lowest gradient norm first, in groups, with backtracking (paper, Algorithm 1)",
    policy=lambda _: LowestFirst("gradient"),
    metrics=("gradient",),
    environment={"on_violation": "backtrack"},
)
