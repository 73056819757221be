"""One fixed division of a split into batches, from the sentences' lengths alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import ConfigError


def plan(lengths: NDArray[np.int64], max_tokens: int = 4096, slack: int = 0) -> tuple[NDArray[np.int64], ...]:
    """Groups sentences of like length, shortest first.

    Which sentences share a batch, and in which order, follows from the arguments alone: floating-point sums then come
    out as the same bits in every run.

    Args:
        lengths: Tokens of each sentence (N,), each >= 1.
        max_tokens: Places, padding included, that a batch may have; a longer sentence gets a batch of its own.
        slack: Padded places allowed per sentence; 0 gives batches of one exact length, which need no attention mask.

    Returns:
        Batches of sentence indices, int64 (B,); together each index of the split exactly once.

    Raises:
        ConfigError: A setting or a length out of range.
    """
    if max_tokens < 1 or slack < 0 or (len(lengths) and int(np.min(lengths)) < 1):
        raise ConfigError(
            f"expected max_tokens >= 1, slack >= 0 and lengths >= 1, got max_tokens={max_tokens} and slack={slack}; "
            "drop empty sentences and correct the setting"
        )
    order = np.argsort(lengths, kind="stable").astype(np.int64)
    ascending = np.asarray(lengths)[order]
    batches, start = [], 0
    for end, longest in enumerate(ascending):
        too_big = longest * (end - start + 1) > max_tokens
        if end > start and (too_big or longest - ascending[start] > slack):
            batches.append(order[start:end])
            start = end
    if len(order):
        batches.append(order[start:])
    return tuple(batches)
