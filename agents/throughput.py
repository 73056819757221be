"""How fast an agent trains, how much of that is the environment, and what a distribution of bits costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn, VecEnvWrapper

from prune_env.agents.distributions import MaskedBernoulliDistribution
from prune_env.agents.sb3 import get_agent, make_algorithm
from prune_env.agents.training import Training


@dataclass(frozen=True)
class Throughput:
    """What a training without judgements took.

    Attributes:
        steps: Environment steps.
        seconds: Wall time of the training.
        cpu_seconds: Processor time of the training, all threads: what is left of `seconds` on a busy machine.
        environment_seconds: Of `seconds`, inside the vector environment: its steps, resets and action masks, as the
            algorithm waits for them.
        threads: Threads that torch may use.
        distribution_ratio: With action masks: how many times longer sb3-contrib's masked bits take than ours,
            see `distribution_ratio`; None for the others.
    """

    steps: int
    seconds: float
    cpu_seconds: float
    environment_seconds: float
    threads: int
    distribution_ratio: float | None = None

    @property
    def steps_per_second(self) -> float:
        """Environment steps a second."""
        return self.steps / self.seconds

    @property
    def environment_share(self) -> float:
        """The environment's share of the wall time."""
        return self.environment_seconds / self.seconds

    @property
    def sentence(self) -> str:
        """All of it in words."""
        bits = self.distribution_ratio
        more = "" if bits is None else f"; sb3-contrib's own masked bits take {bits:.1f} times as long as ours"
        return (
            f"{self.steps} steps in {self.seconds:.1f} s: {self.steps_per_second:,.0f} steps/s with {self.threads} "
            f"threads, {self.steps / self.cpu_seconds:,.0f} in a second of processor time; "
            f"the environment took {self.environment_share:.1%} of the time{more}"
        )

    def as_json(self) -> dict[str, float | None]:
        """Returns the numbers by name."""
        derived = {"steps_per_second": self.steps_per_second, "environment_share": self.environment_share}
        return {**asdict(self), **derived}


class _Watch(VecEnvWrapper):
    """Adds up the time that is spent in the environment beneath."""

    def __init__(self, venv: Any) -> None:
        super().__init__(venv)
        self.seconds = 0.0

    def reset(self) -> Any:
        return self._timed(self.venv.reset)

    def step_wait(self) -> VecEnvStepReturn:
        stepped: VecEnvStepReturn = self._timed(self.venv.step_wait)
        return stepped

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        call = lambda: self.venv.env_method(method_name, *method_args, indices=indices, **method_kwargs)  # noqa: E731
        found: list[Any] = self._timed(call)
        return found

    def _timed(self, call: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        try:
            return call()
        finally:
            self.seconds += time.perf_counter() - started


def measure(training: Training) -> Throughput:
    """Trains for the training's steps, after one rollout that is not counted, and keeps nothing.

    Args:
        training: What is trained; its legs and judgements are left out.
    """
    kind = get_agent(training.agent)
    environments = _Watch(training.environment.make(training.n_envs, one_head=kind.one_head))
    algorithm = make_algorithm(
        training.agent,
        training.policy,
        environments,
        training.settings,
        seed=training.seed,
        policy_arguments=training.policy_arguments,
    )
    environments.seed(training.seed)
    algorithm.learn(training.rollout)
    environments.seconds, started, worked = 0.0, time.perf_counter(), time.process_time()
    algorithm.learn(training.whole_steps, reset_num_timesteps=False)
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    environments.close()
    ratio = distribution_ratio(int(environments.action_space.n), training.n_envs) if kind.masked else None  # type: ignore[attr-defined]
    return Throughput(training.whole_steps, seconds, worked, environments.seconds, torch.get_num_threads(), ratio)


def distribution_ratio(bits: int = 17, batch: int = 64, repeats: int = 50) -> float:
    """Returns how many times longer sb3-contrib's masked bits take than ours, of the same odds, best of several runs.

    Timed is what one step of a training asks for: masks, a draw, its log-probability, the entropy, and the gradient.

    Args:
        bits: Of an action.
        batch: Actions at once.
        repeats: Runs, the fastest of which counts.
    """
    from sb3_contrib.common.maskable.distributions import MaskableBernoulliDistribution

    generator = np.random.default_rng(0)
    odds = generator.normal(size=(batch, bits)).astype(np.float32)
    masks = np.ones((batch, bits, 2), dtype=np.bool_)
    masks[:, :, 1] = generator.random((batch, bits)) < 0.8
    pairs = np.stack([np.zeros_like(odds), odds], axis=2).reshape(batch, -1)
    flat = masks.reshape(batch, -1)
    stock = _fastest(MaskableBernoulliDistribution(bits), pairs, flat, repeats)
    return stock / _fastest(MaskedBernoulliDistribution(bits), odds, flat, repeats)


def _fastest(distribution: Any, odds: Any, masks: Any, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        given = torch.tensor(odds, requires_grad=True)
        started = time.perf_counter()
        distribution.proba_distribution(given)
        distribution.apply_masking(masks)
        actions = distribution.get_actions()
        (distribution.log_prob(actions).sum() + distribution.entropy().sum()).backward()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
