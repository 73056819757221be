"""One function that plays an episode with any policy, scripted or learned, and what comes of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prune_env.observation import Observation
from prune_env.types import HeadMask, mask_to_text

PolicyState: TypeAlias = tuple[NDArray[Any], ...]
"""What a policy remembers from one step to the next, as in Stable-Baselines3."""


class Policy(Protocol):
    """Stable-Baselines3's `predict`: what a policy knows of an episode is the observation."""

    def predict(
        self,
        observation: Observation,
        state: PolicyState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], PolicyState | None]:
        """Returns the action for one observation, and what to hand back in as `state` in the next step.

        Args:
            observation: One observation, not a batch.
            state: What the last call returned; None in the first step.
            episode_start: bool (1,), whether this is the first step.
            deterministic: Whether to act without chance.
        """


@dataclass(frozen=True, eq=False)
class Episode:
    """One played episode.

    Attributes:
        seed: What the environment was reset with.
        mask: bool (layers, heads), the head mask at the end.
        accuracy: Of that mask.
        episode_return: Sum of the rewards.
        evaluations: Distinct masks asked for, the starting mask included.
        terminated: Ended by itself; False if it was truncated.
        trace: One JSON object a step: `action` (as `encode_action` writes it), `attempted` and `mask` (as text, see
            `prune_env.types.mask_to_text`), their `attempted_accuracy` and `accuracy`, `violation`, `reward` and
            `evaluations`.
        start: `info` of the reset.
        info: `info` of the last step.
    """

    seed: int
    mask: HeadMask
    accuracy: float
    episode_return: float
    evaluations: int
    terminated: bool
    trace: tuple[dict[str, Any], ...]
    start: dict[str, Any]
    info: dict[str, Any]


def rollout(
    env: gym.Env[Observation, Any],
    policy: Policy,
    seed: int,
    deterministic: bool = False,
    options: dict[str, Any] | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> Episode:
    """Plays one episode.

    Args:
        env: `BertHeadPrune-v0`, wrapped or not.
        policy: Anything with SB3's `predict`. One that also takes `action_masks` (sb3-contrib) gets them.
        seed: Seeds the environment; the same seed and a deterministic policy give the same episode.
        deterministic: Handed to the policy.
        options: Handed to `reset`.
        on_step: Called with `info` after the reset and after each step, to draw or log what happens.
    """
    masked = "action_masks" in inspect.signature(policy.predict).parameters
    observation, start = env.reset(seed=seed, options=options)
    watch = on_step or (lambda _: None)
    watch(start)
    trace: list[dict[str, Any]] = []
    info, state, over, total, terminated = start, None, False, 0.0, False
    while not over:
        extra = {"action_masks": env.get_wrapper_attr("action_masks")()} if masked else {}
        action, state = policy.predict(
            observation, state=state, episode_start=np.array([not trace]), deterministic=deterministic, **extra
        )
        before = info["head_mask"]
        observation, reward, terminated, truncated, info = env.step(action)
        trace.append(_entry(action, before, float(reward), info))
        watch(info)
        total, over = total + float(reward), terminated or truncated
    return Episode(
        seed=seed,
        mask=info["head_mask"],
        accuracy=info["accuracy"],
        episode_return=total,
        evaluations=info["evaluations"],
        terminated=terminated,
        trace=tuple(trace),
        start=start,
        info=info,
    )


def encode_action(action: NDArray[Any]) -> int | list[int]:
    """Writes an action as JSON: a discrete one as a number, a set as the indices of the bits that are set."""
    bits = np.asarray(action)
    return int(bits) if bits.ndim == 0 else [int(bit) for bit in bits.nonzero()[0]]


def decode_action(value: int | list[int], space: gym.Space[Any]) -> NDArray[Any]:
    """Reads what `encode_action` wrote, as an action of the given space."""
    if isinstance(value, int):
        return np.array(value, dtype=np.int64)
    bits = np.zeros(space.shape or (), dtype=np.int8)
    bits[value] = 1
    return bits


def _entry(action: NDArray[Any], before: HeadMask, reward: float, info: dict[str, Any]) -> dict[str, Any]:
    attempted = before.copy()
    attempted.reshape(-1)[info["attempted_heads"]] = False
    return {
        "action": encode_action(action),
        "attempted": mask_to_text(attempted),
        "attempted_accuracy": info["attempted_accuracy"],
        "mask": mask_to_text(info["head_mask"]),
        "accuracy": info["accuracy"],
        "violation": info["violation"],
        "reward": reward,
        "evaluations": info["evaluations"],
    }
