"""The environment's action masks, read off an observation: what a masked agent needs where nobody hands them over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prune_env.observation import Observation


def masks_of(observation: Observation) -> NDArray[np.bool_]:
    """Returns `BertHeadPruneEnv.action_masks` of one observation, bool (2 * (n + 1),), or of a batch (K, 2 * (n + 1)).

    A head may be pruned if it is there and not the last of its layer; heads of one depth are one layer.
    """
    kept, depth = observation["mask"] == 1, observation["depth"]
    beside = (depth[..., :, None] == depth[..., None, :]) & kept[..., None, :]
    masks = np.ones((*kept.shape[:-1], kept.shape[-1] + 1, 2), dtype=np.bool_)
    masks[..., :-1, 1] = kept & (beside.sum(axis=-1) > 1)
    return masks.reshape(*kept.shape[:-1], -1)
