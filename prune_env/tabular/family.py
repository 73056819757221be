"""One environment on a set of victims of different sizes: each reset draws the model that the episode prunes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError, UnknownNameError
from prune_env.observation import Observation
from prune_env.state import EnvState

_MODEL = (
    "evaluator",
    "diagnostics",
    "config",
    "layout",
    "observer",
    "importance",
    "rules",
    "measurement",
    "_dynamics",
    "_sentences",
    "_max_steps",
)
"""Attributes of a `BertHeadPruneEnv` that belong to the model; the others are the episode's and the spaces."""


@dataclass(slots=True, eq=False)
class FamilyState(EnvState):
    """The state of an episode on a set of victims, which also knows whose it is.

    Attributes:
        victim: The victim's name.
    """

    victim: str = ""


class BertHeadPruneFamilyEnv(BertHeadPruneEnv):
    """`BertHeadPrune-v0` on several models in one grid; what its `BertHeadPruneEnv` says holds for each of them.

    A reset draws the victim by `np_random`, unless `reset(options={"victim": NAME})` names it. `info["victim"]` says
    whose episode it is. The spaces are the same for all: padding is marked in `valid`.

    Attributes:
        members: The environment of each victim, by name; they share settings, but for the threshold.
        victim: The present victim's name.
    """

    def __init__(self, members: Mapping[str, BertHeadPruneEnv]) -> None:
        """Takes environments of equal spaces and settings.

        Raises:
            ConfigError: None, or spaces that differ.
        """
        if not members:
            raise ConfigError("expected at least one victim in a family, got none; name a set that has some")
        self.victim, first = next(iter(members.items()))
        for name, one in members.items():
            if one.observation_space != first.observation_space:
                raise ConfigError(
                    f"expected every victim of a family to have the same spaces, {name!r} has others than "
                    f"{self.victim!r}; give pad_to and the same metrics"
                )
        super().__init__(
            first.evaluator,
            first.importance,
            first.config,
            reward=first.reward,
            diagnostics=first.diagnostics,
            render_mode=first.render_mode,
        )
        self.members = dict(members)
        self._names = list(members)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draws a victim and starts an episode on it; see `BertHeadPruneEnv.reset`.

        Args:
            seed: Seeds `np_random`, which draws the victim before all else.
            options: "victim", "mask" (of that victim's shape) and "threshold", all optional.

        Raises:
            UnknownNameError: No such victim.
            PruneEnvError: As `BertHeadPruneEnv.reset` says.
        """
        gym.Env.reset(self, seed=seed)
        options = dict(options or {})
        self._become(draw_victim(self._names, options.pop("victim", None), self.np_random))
        observation, info = super().reset(options=options)
        return observation, info | {"victim": self.victim}

    def _become(self, victim: str) -> None:
        """Takes over what belongs to a victim's model."""
        self.victim = victim
        member = vars(self.members[victim])
        vars(self).update({name: member[name] for name in _MODEL})

    def step(self, action: NDArray[np.int8]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """As `BertHeadPruneEnv.step`; `info` also names the victim."""
        observation, reward, terminated, truncated, info = super().step(action)
        info["victim"] = self.victim
        return observation, reward, terminated, truncated, info

    def get_state(self) -> FamilyState:
        """Returns a copy of everything that decides this episode's future, the victim's name included."""
        state = super().get_state()
        return FamilyState(**{field.name: getattr(state, field.name) for field in fields(EnvState)}, victim=self.victim)

    def set_state(self, state: EnvState) -> None:
        """Goes back to a state that `get_state` returned, and to its victim.

        Raises:
            ConfigError: Not a state of this family.
        """
        if not isinstance(state, FamilyState) or state.victim not in self.members:
            raise ConfigError(
                f"expected a state of one of {len(self.members)} victims, got {type(state).__name__}; "
                "use one from the get_state of an environment on the same set"
            )
        self._become(state.victim)
        super().set_state(state)


def draw_victim(names: list[str], asked: object, generator: np.random.Generator) -> str:
    """Returns the victim that was asked for, or one drawn by the generator if that is None.

    Raises:
        UnknownNameError: No such victim.
    """
    if asked is None:
        return names[int(generator.integers(len(names)))]
    if asked not in names:
        raise UnknownNameError("victim of this set", str(asked), names)
    return str(asked)
