"""What the outside sees of K episodes: batched observations, and `info` as Gymnasium batches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.layout import Layout
from prune_env.observation import Observation, Observer
from prune_env.vector_dynamics import Attempts, HeadSets
from prune_env.vector_state import Rows, Start, VectorState

_FLOATS = ("accuracy", "attempted_accuracy", "pruned_fraction")
_COUNTS = ("evaluations", "ignored_heads", "protected_heads", "dropped_heads")
_FLAGS = ("violation", "feasible")


@dataclass(slots=True, eq=False)
class InfoTable:
    """`info` of K sub-environments: a block for each type, a row of it for each key.

    Attributes:
        names: Keys of `floats`: the fixed ones, then `oracle_lfr` with diagnostics, then the reward's terms.
        fixed: How many of them are no terms of the reward, and so belong to a reset's `info`, too.
        floats: float64 (len(names), K).
        counts: int64 (4, K).
        flags: bool (2, K).
        head_mask: bool (K, layers, heads).
        attempted_heads: object (K,), lists of int.
    """

    names: tuple[str, ...]
    fixed: int
    floats: NDArray[np.float64]
    counts: NDArray[np.int64]
    flags: NDArray[np.bool_]
    head_mask: NDArray[np.bool_]
    attempted_heads: NDArray[Any]

    def only(self, rows: NDArray[np.bool_]) -> InfoTable:
        """Returns a copy with zeros, or None, where `rows` (K,) is False, as Gymnasium fills what is not there."""
        return InfoTable(
            self.names,
            self.fixed,
            np.where(rows, self.floats, 0.0),
            np.where(rows, self.counts, 0),
            rows & self.flags,
            rows[:, None, None] & self.head_mask,
            np.where(rows, self.attempted_heads, np.array(None)),
        )

    def as_dict(self, there: NDArray[np.bool_], stepped: NDArray[np.bool_]) -> dict[str, Any]:
        """Returns each key's values (K, ...) and, as `_key`, for whom they are there.

        Args:
            there: bool (K,), the sub-environments that have an `info`.
            stepped: bool (K,), those of them whose `info` comes from a step, and so has the reward's terms.
        """
        infos: dict[str, Any] = {"head_mask": self.head_mask, "attempted_heads": self.attempted_heads}
        infos |= zip(self.names[: self.fixed], self.floats, strict=False)
        infos |= zip(_COUNTS, self.counts, strict=True)
        infos |= zip(_FLAGS, self.flags, strict=True)
        masks = [*np.repeat(there[None], len(infos), axis=0)]
        terms = self.names[self.fixed :]
        infos |= zip(terms, self.floats[self.fixed :], strict=True)
        masks += [*np.repeat(stepped[None], len(terms), axis=0)]
        infos |= {f"_{name}": mask for name, mask in zip(list(infos), masks, strict=True)}
        return infos


class VectorObserver:
    """Builds batched observations and infos whose arrays are fresh in every call."""

    def __init__(self, observer: Observer, layout: Layout, sentences: int, count: int, diagnosed: bool) -> None:
        """Repeats the constant columns.

        Args:
            observer: That of a single environment.
            layout: Where the heads lie.
            sentences: Sentences in the split that accuracies refer to.
            count: Sub-environments, K.
            diagnosed: Whether `info` has `oracle_lfr`.
        """
        self._layout = layout
        self._sentences = sentences
        self._count = count
        self._names = tuple(observer.columns)
        self._columns = np.stack([np.tile(column, (count, 1)) for column in observer.columns.values()])
        self._valid = np.tile(observer.valid, (count, 1))
        self._fixed = (*_FLOATS, "oracle_lfr") if diagnosed else _FLOATS

    def observe(
        self, state: VectorState, steps_left: NDArray[np.float64], evaluations_left: NDArray[np.float64]
    ) -> Observation:
        """Returns the observations of all K, (K, ...) each; both budgets (K,) are fractions of what there was."""
        observation: Observation = dict(zip(self._names, self._columns.copy(), strict=True))
        observation["mask"] = state.kept.astype(np.int8)
        observation["valid"] = self._valid.copy()
        observation["failed"] = state.failed.astype(np.int8)
        numbers = np.empty((3, self._count, 1), dtype=np.float32)
        numbers[0, :, 0] = state.correct / self._sentences
        numbers[1, :, 0] = state.change / self._sentences
        numbers[2, :, 0] = state.threshold
        observation["accuracy"], observation["last_change"], observation["threshold"] = numbers
        budget = observation["budget"] = np.empty((self._count, 2), dtype=np.float32)
        budget[:, 0] = steps_left
        budget[:, 1] = evaluations_left
        return observation

    def nothing(self) -> InfoTable:
        """Returns a table for `restart` to fill."""
        return InfoTable(
            self._fixed,
            len(self._fixed),
            np.zeros((len(self._fixed), self._count)),
            np.zeros((len(_COUNTS), self._count), dtype=np.int64),
            np.zeros((len(_FLAGS), self._count), dtype=np.bool_),
            np.zeros((self._count, self._layout.layers, self._layout.heads), dtype=np.bool_),
            np.full(self._count, None, dtype=object),
        )

    def describe(
        self, state: VectorState, heads: HeadSets, attempts: Attempts, terms: dict[str, NDArray[np.float64]]
    ) -> InfoTable:
        """Returns the infos of a step of all K, the reward's terms (K,) included."""
        names = (*self._fixed, *(f"reward_{name}" for name in terms))
        floats = np.empty((len(names), self._count))
        floats[0] = state.correct / self._sentences
        floats[1] = attempts.correct / self._sentences
        floats[2] = (self._layout.size - state.remaining) / self._layout.size
        if len(self._fixed) > 3:
            floats[3] = state.lfr
        for row, values in enumerate(terms.values(), start=len(self._fixed)):
            floats[row] = values
        counts = np.stack((state.evaluations, heads.ignored, heads.protected, heads.dropped))
        flags = np.stack((attempts.violation, state.feasible))
        mask = self._layout.masks(state.kept).copy()
        return InfoTable(names, len(self._fixed), floats, counts, flags, mask, self._lists(heads.slots))

    def _lists(self, chosen: NDArray[np.bool_]) -> NDArray[Any]:
        """Returns the head indices of each set (K, slots), lists in an object array (K,)."""
        width = self._layout.size
        flat = self._layout.masks(chosen).reshape(-1).nonzero()[0]
        heads = (flat % width).tolist()
        ends = np.searchsorted(flat, np.arange(0, (self._count + 1) * width, width)).tolist()
        lists = (heads[ends[row] : ends[row + 1]] for row in range(self._count))
        return np.fromiter(lists, dtype=object, count=self._count)

    def restart(self, table: InfoTable, rows: Rows, start: Start) -> None:
        """Writes the infos of episodes that have just started into a table."""
        accuracy, size = start.correct / self._sentences, self._layout.size
        table.floats[:, rows] = 0.0
        table.floats[:2, rows] = accuracy
        table.floats[2, rows] = (size - start.remaining) / size
        if len(self._fixed) > 3:
            table.floats[3, rows] = start.lfr
        table.counts[:, rows] = [[1], [0], [0], [0]]
        table.flags[:, rows] = [[False], [start.feasible]]
        table.head_mask[rows] = self._layout.masks(start.kept)
        for row in rows.tolist():
            table.attempted_heads[row] = []
