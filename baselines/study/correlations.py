"""Rank correlations of what is known of a mask beforehand with the LFR that fine-tuning leaves.

Spearman's, with 95 % percentile intervals over resampled masks. "At equal size" compares masks that keep the same
number of heads: the mean rank of each size is taken out of both sides, so that pruning more is no merit of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from prune_env.baselines.ranks import spearman_rows
from prune_env.baselines.study.ground_truth import carriers_pruned, mask_aucs
from prune_env.baselines.study.table import Rows, Table
from prune_env.metrics import Interval
from prune_env.types import HeadMasks, HeadScores

DRAWS = 1000
SEED = 5
"""Of the resampled masks."""

OTHER_SEED = "LFR of another defender's seed"

Group = Mapping[str, NDArray[np.float64]]
"""Of one victim and seed: a value for each mask (N,) by predictor; not a number where it is not defined."""


@dataclass(frozen=True)
class Sample:
    """Masks, the same in every group.

    Attributes:
        kept: Heads kept (N,).
        outcomes: LFR after fine-tuning (N,) of each group.
        groups: Predictors of each group.
    """

    kept: NDArray[np.int64]
    outcomes: Sequence[NDArray[np.float64]]
    groups: Sequence[Group]


def predictors(table: Table, seed: int) -> dict[str, NDArray[np.float64]]:
    """Returns what is known of a seed's masks before they are fine-tuned, by name."""
    rows = table.rows[seed]
    found = {
        "return (default reward)": rows.values["return"],
        "pruned fraction (heads kept, sign turned)": 1.0 - rows.masks.mean((1, 2)),
        "masked accuracy on search": rows.values["search_accuracy"],
        "masked ACC on test": rows.values["masked_acc"],
        "masked LFR on test": rows.values["masked_lfr"],
    }
    for metric, scores in rows.importance.items():
        found[f"{metric}: mean of the pruned heads"] = mean_importance(rows.masks, scores)
        found[f"{metric}: rank sum of the pruned heads"] = rank_sum(rows.masks, scores)
    if table.carriers is not None:
        found["carriers pruned (ground truth)"] = carriers_pruned(rows.masks, table.carriers).astype(np.float64)
        found["mask's AUC against the carriers (ground truth)"] = mask_aucs(rows.masks, table.carriers)
    return found


def mean_importance(masks: HeadMasks, scores: HeadScores) -> NDArray[np.float64]:
    """Returns the mean importance of the heads that each mask prunes, (N,); not a number where it prunes none."""
    pruned = ~masks.reshape(len(masks), -1)
    counts = pruned.sum(1)
    summed = pruned @ scores.reshape(-1).astype(np.float64)
    return np.where(counts > 0, summed / np.maximum(counts, 1), np.nan)


def rank_sum(masks: HeadMasks, scores: HeadScores) -> NDArray[np.float64]:
    """Returns the sum of the importance ranks (1 = least important, ties shared) of the pruned heads, (N,)."""
    summed: NDArray[np.float64] = ~masks.reshape(len(masks), -1) @ rankdata(scores)
    return summed


def sample(tables: Sequence[tuple[Table, int]]) -> Sample:
    """Brings (table, seed) groups to the masks that all of them have.

    Args:
        tables: At least one group.
    """
    keys = [[mask.tobytes() for mask in table.rows[seed].masks] for table, seed in tables]
    common = set(keys[0]).intersection(*keys[1:])
    places = [np.array([place for place, key in enumerate(found) if key in common], dtype=np.int64) for found in keys]
    outcomes, groups = [], []
    for (table, seed), chosen, found in zip(tables, places, keys, strict=True):
        outcomes.append(table.rows[seed].values["lfr"][chosen])
        known = predictors(table, seed)
        known[OTHER_SEED] = _of_another_seed(table, seed, found)
        groups.append({name: values[chosen] for name, values in known.items()})
    table, seed = tables[0]
    return Sample(table.rows[seed].kept[places[0]], outcomes, groups)


def correlation(found: Sample, name: str, *, equal_size: bool = False, draws: int = DRAWS) -> Interval | None:
    """Returns the mean over groups of a predictor's rank correlation with LFR, and its interval over masks.

    Args:
        found: Masks, outcomes and predictors.
        name: The predictor.
        equal_size: Whether to compare masks of one size only.
        draws: Resamples; each draws the same masks in all groups.

    Returns:
        None where it is not defined: a predictor that is the same for all masks, or known for fewer than three.
    """
    known = np.all([np.isfinite(group[name]) for group in found.groups], axis=0)
    count = int(known.sum())
    if count < 3:
        return None
    drawn = np.random.default_rng(SEED).integers(count, size=(draws, count))
    index = np.concatenate([np.arange(count)[None], drawn])
    kept = found.kept[known][index] if equal_size else None
    means = np.mean(
        [
            spearman_rows(group[name][known][index], outcome[known][index], kept)
            for group, outcome in zip(found.groups, found.outcomes, strict=True)
        ],
        axis=0,
    )
    resampled = means[1:][np.isfinite(means[1:])]
    if not np.isfinite(means[0]) or not len(resampled):
        return None
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(float(means[0]), float(low), float(high))


def _of_another_seed(table: Table, seed: int, keys: Sequence[bytes]) -> NDArray[np.float64]:
    """Returns the LFR of the same masks with the next seed: how well one LFR foretells another, (N,)."""
    seeds = sorted(table.rows)
    other: Rows = table.rows[seeds[(seeds.index(seed) + 1) % len(seeds)]]
    if len(seeds) < 2:
        return np.full(len(keys), np.nan)
    of_mask = {mask.tobytes(): value for mask, value in zip(other.masks, other.values["lfr"], strict=True)}
    return np.array([of_mask.get(key, np.nan) for key in keys])
