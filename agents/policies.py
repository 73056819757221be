"""Stable-Baselines3 policies for the problem: a network over the set of heads, and a plain one, both cautious at first.

A policy that starts at even odds prunes half of the model in its first step, and the episode is over. These start at
`wanted_heads` heads a step and one stop in as many steps as there are heads; `wanted_heads=None` starts at even odds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from torch import Tensor, nn

from prune_env.agents.distributions import CERTAIN, NonEmptyBernoulliDistribution, OneBitDistribution
from prune_env.agents.head_set import HeadSetNet, metrics_of, padding_of
from prune_env.errors import ConfigError

WANTED_HEADS = 1.5
"""Heads that an untrained policy asks for in a step, on average."""

if TYPE_CHECKING:
    _Base = ActorCriticPolicy
else:
    _Base = object  # the maskable policies of sb3-contrib derive from another class with the same methods


class HeadSetBase(_Base):
    """What `HeadSetPolicy` and its maskable twin share: everything but the class of Stable-Baselines3 they derive from.

    Attributes:
        net: The network.
    """

    net: HeadSetNet

    def __init__(
        self,
        observation_space: spaces.Dict[Any],
        action_space: spaces.MultiBinary,
        lr_schedule: Any,
        *,
        width: int = 32,
        blocks: int = 1,
        attention_heads: int = 4,
        wanted_heads: float | None = WANTED_HEADS,
        one_head: bool = False,
        most_heads: int = 1,
        **kwargs: Any,
    ) -> None:
        """Builds the policy for the spaces of an environment.

        Args:
            observation_space: Of `BertHeadPruneEnv`, with any metrics and number of slots.
            action_space: One bit a slot, and stop.
            lr_schedule: Learning rate by the remaining fraction of the training.
            width: Numbers in a token, a multiple of `attention_heads`.
            blocks: Layers of attention between heads.
            attention_heads: Of each of them.
            wanted_heads: Heads an untrained policy asks for in a step, whatever the model's size; None: half of all.
            one_head: Whether an action is one head, or to stop: a choice among all, where every head is as likely as
                stopping at first, and `wanted_heads` means nothing.
            most_heads: Heads that a policy with `one_head` may prune in a step all the same, acting on a larger model
                than it was trained on, see `OneBitDistribution`; it is trained with 1.
            **kwargs: What Stable-Baselines3's policy takes besides.

        Raises:
            ConfigError: Spaces of another environment, or sizes that do not go together.
        """
        _check_spaces(observation_space, action_space)
        check_wanted(wanted_heads)
        if type(most_heads) is not int or most_heads < 1 or (most_heads > 1 and not one_head):
            raise ConfigError(
                f"expected most_heads to be 1, or more with one_head on a larger model, got {most_heads!r} with "
                f"one_head={one_head!r}; leave it out"
            )
        self._sizes = {"width": width, "blocks": blocks, "attention_heads": attention_heads}
        self._wanted, self._one_head, self._most = wanted_heads, one_head, most_heads
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        """Replaces the networks that Stable-Baselines3 would build."""
        self.net = HeadSetNet(metrics_of(self.observation_space.spaces), **self._sizes)  # type: ignore[attr-defined]
        bits = int(self.action_space.n)  # type: ignore[attr-defined]
        one = self._one_head
        self.action_dist = OneBitDistribution(bits, self._most) if one else NonEmptyBernoulliDistribution(bits)
        rate = lr_schedule(1)
        self.optimizer = self.optimizer_class(self.parameters(), lr=rate, **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {**self._sizes, "wanted_heads": self._wanted, "one_head": self._one_head, "most_heads": self._most}
        return {**super()._get_constructor_parameters(), **own}

    def _judge(self, observation: Any, action_masks: Any = None) -> tuple[Distribution, Tensor]:
        """Returns the distribution of the actions, in which padding is never pruned, and the values (B, 1)."""
        logits, values = self.net(observation)
        if self._wanted is not None and not self._one_head:
            count = observation["valid"].float().sum(dim=1, keepdim=True)
            logits = logits + torch.cat(
                [_log_odds(self._wanted / count).expand(-1, logits.shape[1] - 1), _log_odds(1 / count)], 1
            )
        barred = padding_of(observation)
        if self._one_head:
            # What is pruned cannot be chosen again: that would be a step that does nothing.
            barred[:, :-1] |= observation["mask"] == 0
        distribution = self.action_dist.proba_distribution(logits.masked_fill(barred, -CERTAIN))
        if action_masks is not None:
            distribution.apply_masking(action_masks)  # type: ignore[attr-defined]
        return distribution, values

    def forward(self, obs: Any, deterministic: bool = False, action_masks: Any = None) -> tuple[Tensor, Tensor, Tensor]:
        """Returns actions (B, slots + 1), values (B, 1) and the actions' log-probabilities (B,)."""
        distribution, values = self._judge(obs, action_masks)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values, distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: Any, actions: Tensor, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns values (B, 1), and log-probabilities and entropies (B,) of actions (B, slots + 1)."""
        distribution, values = self._judge(obs, action_masks)
        return values, distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: Any, action_masks: Any = None) -> Distribution:
        """Returns the distribution of the actions."""
        return self._judge(obs, action_masks)[0]

    def predict_values(self, obs: Any) -> Tensor:
        """Returns the values (B, 1)."""
        values: Tensor = self.net(obs)[1]
        return values


class HeadSetPolicy(HeadSetBase, ActorCriticPolicy):
    """Prunes by what is seen of each head, for PPO and A2C on any model; see `prune_env.agents.head_set`.

    PPO(HeadSetPolicy, VecMonitor(PruneVecEnv(environments)), gamma=1.0)
    """


class FlatBase(_Base):
    """What the plain policies share: a cautious start, and bits that are drawn all at once."""

    def __init__(self, *args: Any, wanted_heads: float | None = WANTED_HEADS, **kwargs: Any) -> None:
        """Takes what Stable-Baselines3's policy takes.

        Args:
            *args: Spaces and learning-rate schedule.
            wanted_heads: Heads an untrained policy asks for in a step; None: half of all.
            **kwargs: As there.

        Raises:
            ConfigError: A number of heads that is none.
        """
        check_wanted(wanted_heads)
        self._wanted = wanted_heads
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        bits = int(self.action_space.n)  # type: ignore[attr-defined]
        self.action_dist = NonEmptyBernoulliDistribution(bits)
        super()._build(lr_schedule)
        if self._wanted is not None and isinstance(self.action_net, nn.Linear):
            heads = max(bits - 1, 1)
            with torch.no_grad():
                self.action_net.bias.fill_(float(_log_odds(torch.tensor(self._wanted / heads))))
                self.action_net.bias[-1] = float(_log_odds(torch.tensor(1 / heads)))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "wanted_heads": self._wanted}


class FlatPolicy(FlatBase, MultiInputActorCriticPolicy):
    """Two plain networks over the whole observation, for PPO and A2C on one model: fast, and of one size for good."""


def check_wanted(wanted_heads: float | None) -> None:
    """Checks how many heads an untrained policy is to ask for.

    Raises:
        ConfigError: Neither None nor a positive number.
    """
    if wanted_heads is not None and not (math.isfinite(wanted_heads) and wanted_heads > 0):
        raise ConfigError(f"expected wanted_heads to be a number above 0, got {wanted_heads!r}; or None for even odds")


def _log_odds(chance: Tensor) -> Tensor:
    """Returns the log-odds of a chance; of nine in ten if it is more, so that small models start with a choice, too."""
    return torch.logit(chance.clamp(1e-6, 0.9))


def _check_spaces(observation_space: Any, action_space: Any) -> None:
    if not isinstance(action_space, spaces.MultiBinary) or not isinstance(observation_space, spaces.Dict):
        raise ConfigError(
            f"expected the spaces of BertHeadPrune-v0, got {observation_space} and {action_space}; "
            "wrap the vector environment in PruneVecEnv and nothing else"
        )
    if not metrics_of(observation_space.spaces):
        raise ConfigError(
            "expected an observation with at least one importance metric, got none; name one in `metrics`"
        )
