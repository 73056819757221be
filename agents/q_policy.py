"""The network over the set of heads as DQN's: what is pruned with a head, and what stopping is worth."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor

from prune_env.agents.head_set import HeadSetNet, metrics_of, padding_of


class HeadSetQNetwork(BasePolicy):
    """Values of all actions of `Discrete(n + 1)`."""

    def __init__(
        self, observation_space: spaces.Dict[Any], action_space: spaces.Discrete, sizes: dict[str, int]
    ) -> None:
        """Builds the network.

        Args:
            observation_space: Of `BertHeadPruneEnv`.
            action_space: One action a slot, and stop.
            sizes: `width`, `blocks` and `attention_heads` of `HeadSetNet`.
        """
        super().__init__(observation_space, action_space)
        self.net = HeadSetNet(metrics_of(observation_space.spaces), **sizes)

    def forward(self, obs: Any) -> Tensor:
        """Returns the values (B, n + 1); padding is worth nothing at all, so that it is never chosen."""
        values: Tensor = self.net(obs)[0]
        return values.masked_fill(padding_of(obs), -10.0)

    def _predict(self, observation: Any, deterministic: bool = True) -> Tensor:
        found: Tensor = self(observation).argmax(dim=1)
        return found


class HeadSetQPolicy(DQNPolicy):
    """`HeadSetPolicy`'s network for DQN."""

    def __init__(
        self,
        observation_space: spaces.Dict[Any],
        action_space: spaces.Discrete,
        lr_schedule: Any,
        *,
        width: int = 32,
        blocks: int = 1,
        attention_heads: int = 4,
        **kwargs: Any,
    ) -> None:
        """Builds the policy; the sizes are those of `HeadSetPolicy`."""
        self._sizes = {"width": width, "blocks": blocks, "attention_heads": attention_heads}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def make_q_net(self) -> Any:
        """Returns a fresh network."""
        return HeadSetQNetwork(self.observation_space, self.action_space, self._sizes).to(self.device)  # type: ignore[arg-type]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self._sizes}
