"""What differs between the models of a family, stacked into arrays with a row a model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from prune_env.engine.evaluator import Evaluator
from prune_env.engine.table import TableEvaluator
from prune_env.env import BertHeadPruneEnv
from prune_env.errors import ConfigError
from prune_env.layout import Layout


class StackedTables:
    """The tables of several models behind one look-up.

    A mask's place in its model's table is an affine function of its bits, exact in float64, and padding adds nothing.

    Attributes:
        weights: float64 (M, slots).
        offsets: float64 (M,): where each model's table begins, less the constant of its places.
        sentences: int64 (M,).
    """

    def __init__(self, tables: Sequence[Evaluator], layouts: Sequence[Layout]) -> None:
        """Lays the tables end to end.

        Raises:
            ConfigError: An evaluator that is no table.
        """
        found = [table for table in tables if isinstance(table, TableEvaluator)]
        if len(found) < len(tables):
            raise ConfigError("expected stored tables for a family, got another evaluator; build twins of the victims")
        self._counts = np.concatenate([table.counts for table in found])
        starts = np.cumsum([0] + [len(table.counts) for table in found[:-1]])
        weights, constants = zip(*map(_places, layouts), strict=True)
        self.weights, self.offsets = np.stack(weights), starts - np.array(constants)
        self.sentences = np.array([table.sentences for table in found], dtype=np.int64)

    def counts(
        self, kept: NDArray[np.bool_], weights: NDArray[np.float64], offsets: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Returns the correct sentences of masks (K, slots), each in the model whose weights and offset stand there."""
        places = np.einsum("ks,ks->k", kept, weights) + offsets
        counts: NDArray[np.int32] = self._counts[places.astype(np.intp)]
        return counts.astype(np.int64)


def _places(layout: Layout) -> tuple[NDArray[np.float64], float]:
    """Returns what each slot adds to a mask's place in the table, (slots,), and the constant to take off."""
    radix = float(2**layout.heads - 1) ** np.arange(layout.layers - 1, -1, -1)
    grid = np.zeros((layout.grid_layers, layout.grid_heads))
    grid[: layout.layers, : layout.heads] = np.outer(radix, 2.0 ** np.arange(layout.heads))
    return grid.reshape(-1), float(radix.sum())


class Models:
    """The M models of a family.

    Attributes:
        members: A single environment of each.
        grid: The common grid, as the layout of a model that fills it.
        search: Their tables of accuracy.
        lfr: Their tables of label flip rates, or None without diagnostics.
        sizes: int64 (M,), heads.
        most_pruned: int64 (M,), heads that can go.
        limits: int64 (M,), heads that one step may prune.
        steps: int64 (M,), steps until truncation.
        ranks: int64 (M, slots), as `ActionRules.rank`.
        real: bool (M, grid layers), layers that are there.
        columns: float32 (C, M, slots), the observation's constant columns.
        valid: int8 (M, slots).
        head_indices: int64 (M, slots), layer * heads + head of the model.
    """

    def __init__(self, members: Sequence[BertHeadPruneEnv]) -> None:
        """Stacks what the environments hold; they have equal spaces."""
        self.members = list(members)
        layouts = [one.layout for one in members]
        self.grid = Layout.of(layouts[0].grid_layers, layouts[0].grid_heads)
        self.search = StackedTables([one.evaluator for one in members], layouts)
        judged = [one.diagnostics for one in members if one.diagnostics is not None]
        self.lfr = StackedTables(judged, layouts) if judged else None
        whole = partial(np.array, dtype=np.int64)
        self.sizes = whole([layout.size for layout in layouts])
        self.most_pruned = whole([layout.size - layout.layers for layout in layouts])
        self.limits = whole([one.rules.limit for one in members])
        self.steps = whole([one.config.steps(one.layout.size) for one in members])
        self.ranks = np.stack([one.rules.rank for one in members])
        self.real = np.stack([np.arange(self.grid.layers) < layout.layers for layout in layouts])
        self.columns = np.stack([list(one.observer.columns.values()) for one in members], axis=1)
        self.valid = np.stack([one.observer.valid for one in members])
        slots = range(self.grid.slots)
        self.head_indices = whole([layout.head_indices(slots) for layout in layouts])
