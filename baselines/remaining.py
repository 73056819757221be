"""What is left of a table, and about how long it takes: from the seconds of records that are there already."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from prune_env.baselines.cells import RECORDS, Cell, Settings
from prune_env.baselines.grid import Left, cell_records, left_of
from prune_env.baselines.presets import Stage
from prune_env.methods import get_method
from prune_env.records import Record, read_records
from prune_env.victims.protocols import get_protocol
from prune_env.victims.recipe import Recipe
from prune_env.victims.store import Victim, open_victim

RESULTS = Path(__file__).resolve().parent / "results"
"""Committed records."""

POOLS = {"phrases": 60_570, "sentences": 5_920}
"""Training sentences of protocols that take all there are, about (GLUE's phrases, SST-2's sentences)."""

ATTACKERS = 7_900
"""Sentences an attacker trains on, about: SST-2's 6,920 and the poison."""

LONGER = 2.0
"""Times that a whole sentence takes of a phrase, about."""

BUILT_PROTOCOL = "phrases-15k"
"""What the manifests of victims built on real data name."""


@dataclass(frozen=True)
class Step:
    """One step of what is left.

    Attributes:
        kind: "victim", "scoring model" or "cell".
        what: The victim's name, "", or the method.
        records: Records it adds.
        seconds: Of one core; None where no record tells.
    """

    kind: str
    what: str
    records: int
    seconds: float | None


@dataclass(frozen=True)
class Remaining:
    """What is left of a stage.

    Attributes:
        steps: In order.
        done: Steps that are done already: victims that are built, scoring models, cells.
    """

    steps: list[Step]
    done: int

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.done + len(self.steps)


@dataclass(frozen=True)
class Clock:
    """Seconds that things took, by records of the same backbones, on the machines that made them."""

    records: tuple[Record, ...]

    def model(self, method: str, protocol: str) -> float | None:
        """Returns the seconds of one model: the median of the method's records, or what its sentences take."""
        own = [one.seconds for one in self.records if (one.method, one.protocol) == (method, protocol)]
        if own:
            return statistics.median(own)
        rate = self.sentence()
        return None if rate is None else rate * _sentences(protocol) * get_method(method).episodes

    def sentence(self) -> float | None:
        """Returns the seconds of a training sentence in plain fine-tuning without a search; None without a record."""
        rates = [one.seconds / _sentences(one.protocol) for one in self.records if one.method == "ft"]
        return statistics.median(rates) if rates else None

    def victim(self, recipe: Recipe, twin: bool) -> float | None:
        """Returns the seconds of a victim's training, with its twin's or without."""
        rate = self.sentence()
        return None if rate is None else rate * LONGER * ATTACKERS * recipe.training.epochs * (1 + twin)


def clock_of(stages: Sequence[Stage], settings: Settings) -> Clock:
    """Returns what the table's own records and the committed ones tell about the backbones of its victims."""
    backbones = {open_victim(name).manifest.backbone for stage in stages for name in stage.ready.victims}
    files = [settings.out / RECORDS, *sorted(RESULTS.rglob("*.jsonl"))]
    records = {record.key: record for file in files for record in read_records(file)}
    return Clock(tuple(one for one in records.values() if one.backbone in backbones and one.seconds > 0.0))


def remaining(stage: Stage, settings: Settings, clock: Clock) -> Remaining:
    """Returns what is left of a stage; of victims that are not built yet, everything."""
    victims = {name: open_victim(name) for name in stage.ready.victims}
    left = left_of(stage.ready, settings, victims)
    cells = dict(_of_ready(left, settings, victims, clock))
    steps, done = [*_builds(stage, victims, clock), *_models(left, settings, victims, clock)], left.built
    if stage.builds:
        # An attacker's victims share their twin: once all are built, each of the others' cells is one with theirs.
        steps += _later_models(stage, settings, clock)
        cells = {cell: _together(cell, step, cells) for cell, step in _later(stage, settings, clock)}
    else:
        done += left.finished
    return Remaining([*steps, *cells.values()], done + (len(victims) if stage.buildable else 0))


def _builds(stage: Stage, victims: dict[str, Victim], clock: Clock) -> Iterator[Step]:
    for number, build in enumerate(stage.builds):
        yield Step("victim", build.recipe.name, 0, clock.victim(build.recipe, twin=not victims and number == 0))


def _models(left: Left, settings: Settings, victims: dict[str, Victim], clock: Clock) -> Iterator[Step]:
    """Yields the scoring models of victims that are there."""
    for unit in left.tasks:
        yield Step("scoring model", "", 0, clock.model("ft", settings.protocol_of(victims[unit.victim]).name))


def _of_ready(left: Left, settings: Settings, victims: dict[str, Victim], clock: Clock) -> Iterator[tuple[Cell, Step]]:
    """Yields the cells of victims that are there."""
    have = {record.key for record in read_records(settings.out / RECORDS)}
    for cell in left.cells:
        lacking = [place for place, key in cell_records(cell, settings, victims).items() if key not in have]
        # One twin stands for all victims of a cell.
        models = len({"" if role == "twin" else name for name, role in lacking})
        protocol = settings.protocol_of(victims[cell.victims[0]]).name
        yield cell, Step("cell", cell.method, len(lacking), _cell_seconds(cell, protocol, models, clock))


def _new_models(stage: Stage) -> int:
    """Returns how many models come with a stage's victims that are to be built: their twin counts if it is new, too."""
    return len(stage.builds) + (len(stage.builds) == len(stage.grid.victims))


def _later_models(stage: Stage, settings: Settings, clock: Clock) -> list[Step]:
    """Returns the scoring models of victims that are to be built."""
    one = Step("scoring model", "", 0, clock.model("ft", settings.protocol or BUILT_PROTOCOL))
    return [one] * _new_models(stage) * len(stage.grid.seeds)


def _later(stage: Stage, settings: Settings, clock: Clock) -> Iterator[tuple[Cell, Step]]:
    """Yields the cells of victims that are to be built."""
    names = tuple(str(build.folder) for build in stage.builds)
    grid, protocol = stage.grid, settings.protocol or BUILT_PROTOCOL
    for seed, rate, method in product(grid.seeds, grid.learning_rates, grid.methods):
        # A method with a rate of its own is the same cell at every rate.
        if get_method(method).rate_factor is None or rate == grid.learning_rates[0]:
            cell = Cell(names, method, seed, rate)
            seconds = _cell_seconds(cell, protocol, _new_models(stage), clock)
            yield cell, Step("cell", method, 2 * len(names), seconds)


def _together(cell: Cell, step: Step, ready: dict[Cell, Step]) -> Step:
    """Adds to a cell of victims that are to be built what it lacks of those that are there."""
    for other, more in ready.items():
        if (other.method, other.seed, other.learning_rate) == (cell.method, cell.seed, cell.learning_rate):
            known = step.seconds is not None and more.seconds is not None
            seconds = (step.seconds or 0.0) + (more.seconds or 0.0) if known else None
            step = replace(step, records=step.records + more.records, seconds=seconds)
    return step


def _cell_seconds(cell: Cell, protocol: str, models: int, clock: Clock) -> float | None:
    if cell.method == "ft" and cell.learning_rate in (None, get_protocol(protocol).training.learning_rate):
        return 0.0
    one = clock.model(cell.method, protocol)
    return None if one is None else one * (1 if get_method(cell.method).regime == "reference" else models)


def _sentences(protocol: str) -> int:
    """Returns how many sentences go through one fine-tuning."""
    found = get_protocol(protocol)
    return (found.train_size or POOLS.get(found.source, 1_000)) * found.training.epochs
