"""`BertHeadPrune-v0` K times over one evaluator: the batched twin of `prune_env.env`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from prune_env.actions import read_bits
from prune_env.config import EnvConfig
from prune_env.engine.evaluator import Evaluator
from prune_env.env import BertHeadPruneEnv
from prune_env.observation import Observation
from prune_env.reset_arguments import check_counts, read_options, read_reset_mask, read_seeds
from prune_env.rewards import Outcome, Reward
from prune_env.types import HeadScores
from prune_env.vector_dynamics import HeadSets, VectorDynamics
from prune_env.vector_rewards import terms_of
from prune_env.vector_state import Rows, VectorState
from prune_env.vector_view import (
    ACCURACY,
    ACCURACY_CHANGE,
    ATTEMPTED,
    EVALUATIONS_LEFT,
    GAIN,
    PRUNED,
    STEPS_LEFT,
    THRESHOLD,
    InfoTable,
    VectorObserver,
)

Batch = tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]

Random = tuple[np.random.Generator, int]
"""A sub-environment's generator, and what it was seeded with."""


class BertHeadPruneVectorEnv(VectorEnv[Observation, NDArray[np.int8], NDArray[Any]]):
    """K environments that share one evaluator and ask it once a step; each is a `BertHeadPruneEnv`, number for number.

    A sub-environment whose episode ends starts the next one in the same step (`AutoresetMode.SAME_STEP`): what comes
    back is the new episode's first observation and `info`, while `infos["final_obs"]` and `infos["final_info"]` hold
    the last ones of the old. Sub-environment i, seeded with `seed + i`, shows what a single environment with that seed
    shows, its random draws included.

    With `on_violation="backtrack"` there is one more call for each head that is restored, for all sub-environments that
    still backtrack. The start of episodes without options is measured when the first of them begins, which after a
    `reset` with options is in the step that ends an episode, and remembered. A sub-environment that every `reset_mask`
    has left out so far is shown as zeros, its mask included; `step` wants all to be reset.

    Attributes:
        num_envs: Sub-environments, K.
        config: Settings of each of them.
        reward: Called once a step with arrays if it says `batched`, else once for each sub-environment.
        evaluator: Shared by all.
    """

    metadata: dict[str, Any] = {**BertHeadPruneEnv.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        evaluator: Evaluator,
        importance: Mapping[str, HeadScores],
        config: EnvConfig,
        num_envs: int = 1,
        *,
        reward: Reward | None = None,
        diagnostics: Evaluator | None = None,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        """Makes K environments.

        Args:
            evaluator: As in `BertHeadPruneEnv`, and so are the others.
            importance: Metric name -> scores.
            config: Settings of each sub-environment.
            num_envs: Sub-environments, K >= 1.
            reward: `SparsityReward()` if None.
            diagnostics: Triggered sentences labelled with the target.
            render_mode: "ansi" or "rgb_array"; `render` then returns K frames.
            max_episode_steps: Steps until truncation from outside, as by Gymnasium's `TimeLimit`: neither the
                observation nor the reward knows of it. None for no other limit than `config.max_steps`.

        Raises:
            ConfigError: No sub-environment or no step, or what `BertHeadPruneEnv` refuses.
        """
        check_counts(num_envs, max_episode_steps)
        one = BertHeadPruneEnv(
            evaluator, importance, config, reward=reward, diagnostics=diagnostics, render_mode=render_mode
        )
        self.num_envs, self.render_mode = num_envs, render_mode
        self.config, self.reward, self.evaluator = config, one.reward, evaluator
        self.layout, self.importance = one.layout, one.importance
        self.single_observation_space, self.single_action_space = one.observation_space, one.action_space
        self.observation_space = batch_space(one.observation_space, num_envs)
        self.action_space = batch_space(one.action_space, num_envs)
        self._one = one
        self._dynamics = VectorDynamics(one.measurement, one.rules, one.layout, config)
        self._observer = VectorObserver(
            one.observer, one.layout, config, evaluator.sentences, num_envs, one.measurement.diagnosed
        )
        self._size: int | NDArray[np.int64] = one.layout.size
        self._most_pruned: int | NDArray[np.int64] = one.layout.size - one.layout.layers
        self._max_episode_steps = max_episode_steps
        self._violations_end = config.on_violation == "terminate"
        self._state = VectorState(num_envs, one.layout.slots)
        self._started, self._all_started = np.zeros(num_envs, dtype=np.bool_), False
        self._random: list[Random | None] = [None] * num_envs
        self._all = np.ones(num_envs, dtype=np.bool_)
        self._action_shape = (num_envs, one.layout.slots + 1)
        self._default_start: tuple[VectorState, NDArray[np.float64]] | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode in every sub-environment, or changes nothing where it raises.

        Args:
            seed: Sub-environment i gets `seed + i`, or its item of a list; None goes on with the generators there are.
            options: "mask" and "threshold" as in a single environment, for these first episodes; "reset_mask",
                bool (K,), restarts only where it is True, and leaves the others' generators alone.

        Raises:
            ConfigError: Not one seed for each sub-environment, or an option of another name or kind.
            gymnasium.error.Error: A negative seed.
            MaskError: A mask of another shape or dtype, or with an empty layer.
            ThresholdError: A threshold outside (0, 1], or one that no mask can meet.
        """
        options = dict(options or {})
        chosen = read_reset_mask(options.pop("reset_mask", None), self.num_envs)
        seeds = read_seeds(seed, self.num_envs)
        rows = chosen.nonzero()[0]
        seeded = {row: seeding.np_random(own) for row in rows.tolist() if (own := seeds[row]) is not None}
        start, fractions = self._starts(rows, options, seeded)
        for row, random in seeded.items():
            self._random[row] = random
        state = self._state
        state.restart(rows, start)
        self._started |= chosen
        self._all_started = bool(self._started.all())
        table = self._observer.table(state, self._observer.fractions(state))
        table.restart(rows, fractions)
        shown = self._observer.observe(state.masks, table.fractions)
        return shown, self._observer.infos(table.only(chosen), (), chosen, chosen)

    def _starts(
        self, rows: Rows, options: dict[str, Any], seeded: Mapping[int, Random]
    ) -> tuple[VectorState, NDArray[np.float64]]:
        """Returns how episodes start in some rows: one state for all of them or one each, and its fractions (10, ...).

        The start without options is measured at the first one.

        Args:
            rows: Sub-environments.
            options: As `reset` has them, without "reset_mask".
            seeded: Generators, with their seeds, that this reset makes and the rows do not have yet.
        """
        if self._default_start is None or options:
            start = self._dynamics.start(*read_options(options, self.layout))
            measured = start, self._observer.fractions(start)
            if options:
                return measured
            self._default_start = measured
        return self._default_start

    def step(self, actions: NDArray[np.int8]) -> Batch:
        """Steps every sub-environment with its row of `actions` (K, n + 1).

        Raises:
            gymnasium.error.ResetNeeded: Before the first `reset`, or after an error in a step that ended an episode.
            gymnasium.error.InvalidAction: Not an element of the action space.
            ConfigError: A reward whose terms have other names in one sub-environment than in another.
        """
        state = self._running()
        bits = read_bits(actions, self._action_shape).astype(np.bool_)
        heads = self._dynamics.legal(bits[:, :-1], state, self._generator)
        violation = self._dynamics.attempt(state, heads)
        state.steps += 1
        fractions = self._observer.fractions(state)
        terminated = bits[:, -1] | (state.pruned == self._most_pruned)
        if self._violations_end:
            terminated |= violation
        truncated = fractions[STEPS_LEFT] <= 0
        if self.config.max_evaluations is not None:
            truncated |= fractions[EVALUATIONS_LEFT] <= 0
        truncated &= ~terminated
        try:
            return self._told(fractions, heads, violation, terminated, truncated)
        except BaseException:  # what has ended stays so, as in a single environment
            self._started &= ~(terminated | truncated)
            self._all_started = bool(self._started.all())
            raise

    def _told(
        self,
        fractions: NDArray[np.float64],
        heads: HeadSets,
        violation: NDArray[np.bool_],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
    ) -> Batch:
        """Returns what `step` does, and starts the next episodes; truncates from outside, which the reward misses."""
        state, ended = self._state, terminated | truncated
        names, terms, rewards = terms_of(self.reward, self._outcome(fractions, violation, ended), self.num_envs)
        if self._max_episode_steps is not None:
            truncated |= state.steps >= self._max_episode_steps
            ended = terminated | truncated
        table = self._observer.table(state, fractions, heads, terms)
        last = self._next_episodes(table, names, ended) if np.count_nonzero(ended) else {}
        infos = self._observer.infos(table.copy(), names, self._all, ~ended)
        infos |= last
        return self._observer.observe(state.masks, fractions), rewards, terminated, truncated, infos

    def _next_episodes(self, table: InfoTable, names: tuple[str, ...], ended: NDArray[np.bool_]) -> dict[str, Any]:
        """Starts the next episodes of those that have ended, and returns what there was of their ends."""
        rows = ended.nonzero()[0]
        observations = self._observer.observe(self._state.masks.take(rows, 1), table.fractions.take(rows, 1), rows)
        final = np.empty(self.num_envs, dtype=object)  # None wherever nothing is written
        for row, arrays in zip(rows.tolist(), zip(*observations.values(), strict=True), strict=True):
            final[row] = dict(zip(observations, arrays, strict=True))
        infos = self._observer.infos(table.only(ended), names, ended, ended)
        start, fractions = self._starts(rows, {}, {})
        self._state.restart(rows, start)
        table.restart(rows, fractions)
        return {"final_obs": final, "_final_obs": ended, "final_info": infos, "_final_info": ended.copy()}

    def _outcome(
        self, fractions: NDArray[np.float64], violation: NDArray[np.bool_], ended: NDArray[np.bool_]
    ) -> Outcome:
        """Returns what the step did; every field but the first is an array (K,)."""
        return cast("Callable[..., Outcome]", Outcome)(
            self._size,
            fractions[GAIN],
            fractions[PRUNED],
            fractions[ACCURACY],
            fractions[ACCURACY_CHANGE],
            fractions[ATTEMPTED],
            fractions[THRESHOLD],
            violation,
            self._state.correct >= self._state.required,
            ended,
        )

    def _running(self) -> VectorState:
        if not self._all_started:
            rows = (~self._started).nonzero()[0].tolist()
            raise gym.error.ResetNeeded(
                f"expected a running episode everywhere, got none in sub-environments {rows}; call reset()"
            )
        return self._state

    def _seeded(self, row: int) -> Random:
        """Returns a sub-environment's generator and its seed, both drawn at the first need if `reset` got no seed."""
        random = self._random[row]
        if random is None:
            random = self._random[row] = seeding.np_random()
        return random

    def _generator(self, row: int) -> np.random.Generator:
        return self._seeded(row)[0]

    @property  # type: ignore[misc]  # read-only and a tuple, as in SyncVectorEnv
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The random generator of each sub-environment."""
        return tuple(self._generator(row) for row in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]  # as in SyncVectorEnv
        """What each sub-environment's generator was seeded with."""
        return tuple(self._seeded(row)[1] for row in range(self.num_envs))

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns bool (K, 2 * (n + 1)): `BertHeadPruneEnv.action_masks` of each sub-environment."""
        masks = np.ones((self.num_envs, self.layout.slots + 1, 2), dtype=np.bool_)
        masks[:, :-1, 1] = self._one.rules.prunable(self._running().kept)
        return masks.reshape(self.num_envs, -1)

    def render(self) -> tuple[Any, ...] | None:
        """Returns a frame of each sub-environment, as `BertHeadPruneEnv.render` draws it."""
        if self.render_mode is None:
            gym.logger.warn('render() needs a render mode: pass render_mode="ansi" or "rgb_array"')
            return None
        state = self._running()
        return tuple(
            self._env_of(row).frame(
                state.kept[row],
                int(state.correct[row]),
                float(state.threshold[row]),
                int(state.steps[row]),
                int(state.evaluations[row]),
            )
            for row in range(self.num_envs)
        )

    def _env_of(self, row: int) -> BertHeadPruneEnv:
        """Returns an environment on a sub-environment's model."""
        return self._one
