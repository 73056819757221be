"""What an environment, or K of them, is told when it is made or reset, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import ConfigError
from prune_env.layout import Layout
from prune_env.types import check_mask


def read_options(options: Mapping[str, Any] | None, layout: Layout) -> tuple[NDArray[np.bool_], float | None]:
    """Reads what `reset` was told: the slots of the starting mask (slots,), and the episode's own threshold.

    Raises:
        ConfigError: An option of another name.
        MaskError: A mask of another shape or dtype, or with an empty layer.
    """
    if not options:
        return layout.full.copy(), None
    if unknown := set(options) - {"mask", "threshold"}:
        raise ConfigError(f"expected only the options 'mask' and 'threshold', got {sorted(unknown)}; leave them out")
    mask = options.get("mask")
    kept = layout.full.copy() if mask is None else layout.flat(check_mask(mask, layout.layers, layout.heads))
    return kept, options.get("threshold")


def read_reset_mask(mask: object, count: int) -> NDArray[np.bool_]:
    """Returns which of K sub-environments are reset, bool (K,): all of them for None.

    Raises:
        ConfigError: Another shape or dtype.
    """
    if mask is None:
        return np.ones(count, dtype=np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (count,):
        raise ConfigError(
            f"expected reset_mask to be a bool array of shape ({count},), got {mask!r}; True resets an environment"
        )
    return mask.copy()


def read_seeds(seed: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    """Returns the seed of each of K sub-environments: `seed + i`, its item of a list, or None.

    Raises:
        ConfigError: A list of another length.
    """
    if seed is None or isinstance(seed, int):
        return [None if seed is None else seed + row for row in range(count)]
    if len(seed) != count:
        raise ConfigError(f"expected a seed for each of {count} environments, got {len(seed)}; give one number or all")
    return list(seed)


def check_counts(num_envs: object, max_episode_steps: object = None) -> None:
    """Refuses what is no number of sub-environments, or of steps.

    Raises:
        ConfigError: Not a whole number of at least 1; `max_episode_steps` may also be None.
    """
    for name, value in (("num_envs", num_envs), ("max_episode_steps", max_episode_steps)):
        if name == "max_episode_steps" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"expected {name} to be a whole number of at least 1, got {value!r}; give one")
