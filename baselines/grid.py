"""What a grid comes to: its cells, the scoring models they wait for, and which of both are there already."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from prune_env.baselines.cells import RECORDS, Cell, Settings, plan
from prune_env.errors import DataError
from prune_env.records import Record, read_records
from prune_env.victims.diagnosis import open_diagnosis
from prune_env.victims.store import Victim
from prune_env.victims.task import is_built


@dataclass(frozen=True)
class Grid:
    """What is compared.

    Attributes:
        victims: Folders or embedded names.
        methods: Registered names.
        seeds: Defender's seeds.
        learning_rates: Rates of the final fine-tuning; None is the protocol's own.
    """

    victims: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    learning_rates: tuple[float | None, ...] = (None,)


@dataclass(frozen=True)
class TaskUnit:
    """One scoring model to build ahead: the victims that share it, "victim" or "twin", and the defender's seed."""

    victim: str
    role: str
    seed: int


@dataclass(frozen=True)
class Left:
    """What is left of a grid; a step is a scoring model or a cell.

    Attributes:
        tasks: Scoring models to build.
        cells: Cells without a full set of records.
        built: How many scoring models are done already.
        finished: How many cells are.
    """

    tasks: list[TaskUnit]
    cells: list[Cell]
    built: int
    finished: int

    @property
    def done(self) -> int:
        """Steps that are done already."""
        return self.built + self.finished

    @property
    def total(self) -> int:
        """Steps in all, done or not."""
        return self.done + len(self.tasks) + len(self.cells)


def left_of(grid: Grid, settings: Settings, victims: dict[str, Victim]) -> Left:
    """Returns what is left of a grid, and how much is done.

    A scoring model that lies ready is done: as a step it would pass at once, and spoil every estimate by the others.
    """
    every = list(_cells(grid, settings, victims))
    cells = missing_cells(grid, settings, victims)
    tasks = _unbuilt(needed_tasks(cells, victims), settings, victims)
    return Left(tasks, cells, len(needed_tasks(every, victims)) - len(tasks), len(every) - len(cells))


def _unbuilt(units: Sequence[TaskUnit], settings: Settings, victims: dict[str, Victim]) -> list[TaskUnit]:
    """Returns the scoring models that are not there; without the protocol's data nothing tells, and none is."""
    twins = {name: open_diagnosis(victims[name]).twin for name in {one.victim for one in units if one.role == "twin"}}

    def built(unit: TaskUnit) -> bool:
        victim = victims[unit.victim]
        suspect = victim.suspect if unit.role == "victim" else twins[unit.victim]
        try:
            return suspect is None or is_built(suspect, settings.protocol_of(victim), unit.seed, settings.data)
        except DataError:
            return False

    return [unit for unit in units if not built(unit)]


def missing_cells(grid: Grid, settings: Settings, victims: dict[str, Victim]) -> list[Cell]:
    """Returns the cells without a full set of records, seed by seed, in the grid's order of methods."""
    have = {record.key for record in read_records(settings.out / RECORDS)}
    return [cell for cell, keys in _cells(grid, settings, victims).items() if keys - have]


def grid_records(grid: Grid, settings: Settings, victims: dict[str, Victim]) -> list[Record]:
    """Returns the grid's records in the order they were written, and nothing else that lies in the folder."""
    keys = frozenset().union(*_cells(grid, settings, victims).values())
    return [record for record in read_records(settings.out / RECORDS) if record.key in keys]


def _cells(grid: Grid, settings: Settings, victims: dict[str, Victim]) -> dict[Cell, frozenset[str]]:
    """Returns the grid's cells, each with the keys of its records."""
    groups = twin_groups(victims, settings)
    # A seed named twice, or a rate that is the protocol's own, gives the same records.
    distinct: dict[frozenset[str], Cell] = {}
    for seed, rate, method, group in product(grid.seeds, grid.learning_rates, grid.methods, groups):
        cell = Cell(group, method, seed, rate)
        distinct.setdefault(frozenset(cell_records(cell, settings, victims).values()), cell)
    return {cell: keys for keys, cell in distinct.items()}


def twin_groups(victims: dict[str, Victim], settings: Settings) -> list[tuple[str, ...]]:
    """Groups victims whose twins have the same files and are treated alike; a victim without a twin stands alone."""
    groups: dict[str, list[str]] = {}
    for name, victim in victims.items():
        twin = open_diagnosis(victim).twin
        treatment = [settings.protocol_of(victim).name, dict(settings.search_of(victim).constraint)]
        key = name if twin is None else json.dumps([twin.sha256, *treatment], sort_keys=True)
        groups.setdefault(key, []).append(name)
    return [tuple(group) for group in groups.values()]


def cell_records(cell: Cell, settings: Settings, victims: dict[str, Victim]) -> dict[tuple[str, str], str]:
    """Returns the keys of a cell's records, by victim and role."""
    keys: dict[tuple[str, str], str] = {}
    for name in cell.victims:
        roles = ("victim", "twin") if (victims[name].folder / "twin").is_dir() else ("victim",)
        keys |= {(name, role): plan(victims[name], role, cell, settings).key for role in roles}
    return keys


def needed_tasks(cells: Sequence[Cell], victims: dict[str, Victim]) -> list[TaskUnit]:
    """Returns the scoring models that these cells need: one for each shared twin and each victim, by seed."""
    units: dict[TaskUnit, None] = {}
    for cell in cells:
        if (victims[cell.victims[0]].folder / "twin").is_dir():
            units[TaskUnit(cell.victims[0], "twin", cell.seed)] = None
        units.update(dict.fromkeys(TaskUnit(name, "victim", cell.seed) for name in cell.victims))
    return list(units)
