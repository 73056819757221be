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
from prune_env.env import BertHeadPruneEnv, read_options
from prune_env.errors import ConfigError
from prune_env.observation import Observation
from prune_env.rewards import Outcome, Reward
from prune_env.types import HeadScores
from prune_env.vector_dynamics import Attempts, VectorDynamics
from prune_env.vector_state import Start, VectorState
from prune_env.vector_view import VectorObserver

Batch = tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class BertHeadPruneVectorEnv(VectorEnv[Observation, NDArray[np.int8], NDArray[Any]]):
    """K environments that share one evaluator and ask it once a step; each is a `BertHeadPruneEnv`, number for number.

    A sub-environment whose episode ends starts the next one in the same step (`AutoresetMode.SAME_STEP`): what comes
    back is the new episode's first observation and `info`, while `infos["final_obs"]` and `infos["final_info"]` hold
    the last ones of the old. Sub-environment i, seeded with `seed + i`, shows what a single environment with that seed
    shows, its random draws included. With `on_violation="backtrack"` there is one more call for each head that is
    restored, for all sub-environments that still backtrack; an episode's start is measured once and remembered.

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

        Raises:
            ConfigError: No sub-environment, or what `BertHeadPruneEnv` refuses.
        """
        check_num_envs(num_envs)
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
            one.observer, one.layout, evaluator.sentences, num_envs, one.measurement.diagnosed
        )
        self._sentences = evaluator.sentences
        self._max_steps = config.steps(one.layout.size)
        self._violations_end = config.on_violation == "terminate"
        self._state = VectorState.empty(num_envs, one.layout.slots)
        self._started = np.zeros(num_envs, dtype=np.bool_)
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._seeds: list[int | None] = [None] * num_envs
        self._default_start: Start | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode in every sub-environment.

        Args:
            seed: Sub-environment i gets `seed + i`, or its item of a list; None goes on with the generators there are.
            options: "mask" and "threshold" as in a single environment, for these first episodes; "reset_mask",
                bool (K,), restarts only where it is True, and leaves the others' generators alone.

        Raises:
            ConfigError: As many seeds as sub-environments are not given, or an option of another name or kind.
            MaskError: A mask of another shape or dtype, or with an empty layer.
            ThresholdError: A threshold outside (0, 1], or one that no mask can meet.
        """
        options = dict(options or {})
        chosen = self._read_reset_mask(options.pop("reset_mask", None))
        seeds = self._read_seeds(seed)
        kept, threshold = read_options(options, self.layout)
        start = self._dynamics.start(kept, threshold) if options else self._start()
        rows = chosen.nonzero()[0]
        for row in rows.tolist():
            if (own := seeds[row]) is not None:
                self._generators[row], self._seeds[row] = seeding.np_random(own)
        self._state.restart(rows, start)
        self._started |= chosen
        table = self._observer.nothing()
        self._observer.restart(table, rows, start)
        return self._observe(), table.as_dict(chosen, chosen)

    def _read_reset_mask(self, mask: object) -> NDArray[np.bool_]:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ConfigError(f"expected reset_mask to be a bool array of shape ({self.num_envs},), got {mask!r}")
        return mask.copy()

    def _read_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None or isinstance(seed, int):
            return [None if seed is None else seed + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ConfigError(f"expected a seed for each of {self.num_envs} environments, got {len(seed)}; give one")
        return list(seed)

    def _start(self) -> Start:
        """Returns how episodes start unless `reset` is told otherwise; measured at the first one."""
        if self._default_start is None:
            self._default_start = self._dynamics.start(*read_options({}, self.layout))
        return self._default_start

    def step(self, actions: NDArray[np.int8]) -> Batch:
        """Steps every sub-environment with its row of `actions` (K, n + 1).

        Raises:
            gymnasium.error.ResetNeeded: Before the first `reset`.
            gymnasium.error.InvalidAction: Not an element of the action space.
        """
        state = self._running()
        bits = read_bits(actions, (self.num_envs, self.layout.slots + 1)).astype(np.bool_)
        heads = self._dynamics.legal(bits[:, :-1], state, self._generator)
        attempts = self._dynamics.attempt(state, heads)
        state.steps += 1
        violated = attempts.violation & self._violations_end
        terminated = bits[:, -1] | violated | (state.remaining == self.layout.layers)
        exhausted = (state.steps >= self._max_steps) | (self._dynamics.evaluations_left(state) <= 0)
        truncated = exhausted & ~terminated
        ended = terminated | truncated
        terms = self._terms(self._outcome(attempts, ended))
        table = self._observer.describe(state, heads, attempts, terms)
        observation = self._observe()
        ended_infos: dict[str, Any] = {}
        if np.count_nonzero(ended):
            rows = ended.nonzero()[0]
            final = np.full(self.num_envs, None, dtype=object)
            for row in rows.tolist():
                final[row] = {name: values[row] for name, values in observation.items()}
            ended_infos = {"final_obs": final, "_final_obs": ended.copy()}
            ended_infos |= {"final_info": table.only(ended).as_dict(ended, ended), "_final_info": ended.copy()}
            state.restart(rows, self._start())
            self._observer.restart(table, rows, self._start())
            observation = self._observe()
        infos = table.as_dict(np.ones_like(ended), ~ended) | ended_infos
        return observation, sum(terms.values(), np.zeros(self.num_envs)), terminated, truncated, infos

    def _outcome(self, attempts: Attempts, ended: NDArray[np.bool_]) -> Outcome:
        """Returns what the step did; every field but the first is an array (K,)."""
        state, size, sentences = self._state, self.layout.size, self._sentences
        return cast("Callable[..., Outcome]", Outcome)(
            size,
            attempts.pruned / size,
            (size - state.remaining) / size,
            state.correct / sentences,
            attempts.correct_change / sentences,
            attempts.correct / sentences,
            state.threshold,
            attempts.violation,
            state.correct >= state.required,
            ended,
        )

    def _terms(self, outcome: Outcome) -> dict[str, NDArray[np.float64]]:
        if getattr(self.reward, "batched", False):
            return cast("dict[str, NDArray[np.float64]]", self.reward.terms(outcome))
        columns = [cast("NDArray[Any]", column).tolist() for column in outcome[1:]]
        each = [self.reward.terms(Outcome(outcome.heads, *row)) for row in zip(*columns, strict=True)]
        return {name: np.array([terms[name] for terms in each], dtype=np.float64) for name in each[0]}

    def _observe(self) -> Observation:
        state = self._state
        return self._observer.observe(state, 1 - state.steps / self._max_steps, self._dynamics.evaluations_left(state))

    def _running(self) -> VectorState:
        if not self._started.all():
            raise gym.error.ResetNeeded("expected reset() first, got a call before it; call reset()")
        return self._state

    def _generator(self, row: int) -> np.random.Generator:
        generator = self._generators[row]
        if generator is None:
            generator, self._seeds[row] = seeding.np_random()
            self._generators[row] = generator
        return generator

    @property  # type: ignore[misc]  # read-only and a tuple, as in SyncVectorEnv
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The random generator of each sub-environment."""
        return tuple(self._generator(row) for row in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int | None, ...]:  # type: ignore[override]  # as in SyncVectorEnv
        """What each sub-environment's generator was seeded with."""
        return tuple(self._seeds)

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
            self._one.frame(
                state.kept[row],
                int(state.correct[row]),
                float(state.threshold[row]),
                int(state.steps[row]),
                int(state.evaluations[row]),
            )
            for row in range(self.num_envs)
        )


def check_num_envs(value: object) -> None:
    """Refuses what is no number of sub-environments.

    Raises:
        ConfigError: Not a whole number of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"expected num_envs to be a whole number of at least 1, got {value!r}; give one")
