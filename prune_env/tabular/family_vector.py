"""K environments on a set of victims, each on its own one: the batched twin of `prune_env.tabular.family`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.env import BertHeadPruneEnv
from prune_env.errors import UnknownNameError
from prune_env.observation import Observation
from prune_env.reset_arguments import read_options
from prune_env.tabular.family_rows import FamilyDynamics, FamilyObserver
from prune_env.tabular.family_tables import Models
from prune_env.vector import Batch, BertHeadPruneVectorEnv, Random
from prune_env.vector_dynamics import VectorDynamics
from prune_env.vector_state import Rows, VectorState


class BertHeadPruneFamilyVectorEnv(BertHeadPruneVectorEnv):
    """K times a `BertHeadPruneFamilyEnv`, number for number, each with a victim of its own at every moment.

    Every start of an episode draws the victim by the sub-environment's generator, as a single environment's reset does;
    `infos["victim"]` names it. Two things differ from a single environment: `head_mask` has the shape of the common
    grid, padding being False, and a `reset` that raises because of its options may have advanced generators.

    Attributes:
        members: The environment of each victim, by name.
    """

    def __init__(
        self, members: Mapping[str, BertHeadPruneEnv], num_envs: int = 1, *, max_episode_steps: int | None = None
    ) -> None:
        """Takes single environments of equal spaces and settings over stored tables.

        Args:
            members: As in `BertHeadPruneFamilyEnv`.
            num_envs: Sub-environments, K >= 1.
            max_episode_steps: Steps until truncation from outside.

        Raises:
            ConfigError: No sub-environment, or evaluators that are no tables.
        """
        first = next(iter(members.values()))
        super().__init__(
            first.evaluator,
            first.importance,
            first.config,
            num_envs,
            reward=first.reward,
            diagnostics=first.diagnostics,
            render_mode=first.render_mode,
            max_episode_steps=max_episode_steps,
        )
        self.members, self._names = dict(members), list(members)
        self._models = Models(list(members.values()))
        self._of = np.zeros(num_envs, dtype=np.intp)
        self._labels = np.array(self._names, dtype=object)
        self._rows_dynamics = FamilyDynamics(self._models, num_envs)
        self._rows_observer = FamilyObserver(self._models, num_envs)
        self._dynamics, self._observer = self._rows_dynamics, self._rows_observer
        self._size = self._sizes = np.ones(num_envs, dtype=np.int64)
        self._most_pruned = self._most = np.zeros(num_envs, dtype=np.int64)
        self._of_model: dict[int, VectorState] = {}

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """As `BertHeadPruneVectorEnv.reset`; the option "victim" names one for every row that is reset."""
        observation, infos = super().reset(seed=seed, options=options)
        there = infos["_head_mask"]
        return observation, self._named(infos, self._of, there)

    def step(self, actions: NDArray[np.int8]) -> Batch:
        """As `BertHeadPruneVectorEnv.step`; infos also name the victims."""
        before = self._of.copy()
        observation, rewards, terminated, truncated, infos = super().step(actions)
        if "final_info" in infos:
            self._named(infos["final_info"], before, infos["_final_info"])
        self._named(infos, self._of, np.ones(self.num_envs, dtype=np.bool_))
        return observation, rewards, terminated, truncated, infos

    def _named(self, infos: dict[str, Any], of: NDArray[np.intp], there: NDArray[np.bool_]) -> dict[str, Any]:
        victims = self._labels[of]
        victims[~there] = None
        infos["victim"], infos["_victim"] = victims, there.copy()
        return infos

    def _starts(
        self, rows: Rows, options: dict[str, Any], seeded: Mapping[int, Random]
    ) -> tuple[VectorState, NDArray[np.float64]]:
        """Draws the victims of some rows, and returns how their episodes start, a column a row."""
        asked = options.get("victim")
        if asked is not None and asked not in self._names:
            raise UnknownNameError("victim of this set", str(asked), self._names)
        rest = {name: value for name, value in options.items() if name != "victim"}
        if asked is None:
            draws = [(seeded.get(row) or self._seeded(row))[0] for row in rows.tolist()]
            models = np.array([generator.integers(len(self._names)) for generator in draws], dtype=np.intp)
        else:
            models = np.full(len(rows), self._names.index(asked), dtype=np.intp)
        starts = {model: self._start_of(model, rest) for model in set(models.tolist())}
        self._of[rows] = models
        self._sizes[rows], self._most[rows] = self._models.sizes[models], self._models.most_pruned[models]
        self._rows_dynamics.assign(rows, models)
        self._rows_observer.assign(rows, models)
        state = VectorState(len(rows), self.layout.slots)
        for column, model in enumerate(models.tolist()):
            state.masks[:, column], state.numbers[:, column] = starts[model].masks[:, 0], starts[model].numbers[:, 0]
        return state, self._rows_observer.fractions_of(state, rows)

    def _start_of(self, model: int, options: dict[str, Any]) -> VectorState:
        """Returns how a victim's episodes start; without options it is measured once."""
        if not options and model in self._of_model:
            return self._of_model[model]
        one = self._models.members[model]
        dynamics = VectorDynamics(one.measurement, one.rules, one.layout, one.config)
        start = dynamics.start(*read_options(options, one.layout))
        if not options:
            self._of_model[model] = start
        return start

    def _env_of(self, row: int) -> BertHeadPruneEnv:
        return self._models.members[int(self._of[row])]
