"""Gradient-based pruning, Algorithm 1 of the paper (section 4.1).

Importance of a head is the Frobenius norm of the loss gradient with respect to its rows of the key projection, on
clean data. Groups of the least important heads (10 of 144, scaled) are pruned while validation accuracy holds; when
it falls below the threshold, the group's heads come back, most important first, until it holds, and pruning ends.

The released code differs: it adds the whole layer's norm to every head, so that a layer's heads tie (offered as the
metric `as_released_gradient`), and crashes on an empty step.
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
