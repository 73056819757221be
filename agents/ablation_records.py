"""What came of each ablation: one variant with one seed on one victim, a line of JSON each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from prune_env.errors import RecordError
from prune_env.record_form import fits
from prune_env.records import append_line, read_lines

SCHEMA = 1

NEAR = 0.01
"""Normalised regret up to which an agent counts as one that found the optimum."""


@dataclass(frozen=True)
class Ablation:
    """What a variant of a training came to, in regret on the default environment's scale.

    A judgement's numbers are means over its episodes: `return`, `length`, `violations` (sets that missed the
    threshold), `accuracy`, `pruned_fraction`, `evaluations`, `regret`, `certified_regret`.

    Attributes:
        variant: Its name.
        victim: The twin's name.
        seed: Of the training.
        training: All that decides it but for victim and seed: agent, policy, settings, environment, steps and so on.
        identity: SHA-256 of the training.
        twins_sha256: Of what the victim's table was made of.
        scale: What regret is measured by: [optimum, mean of random play] of the default environment.
        steps: Environment steps taken.
        best_step: After how many the best agent was saved.
        best: Its judgement without chance, by which it was chosen.
        best_by_chance: The same agent's with chance.
        curve: [steps, regret, certified regret] of every judgement without chance; the last one is of the last agent.
        seconds: Processor time, judgements included; None where an earlier run had begun the training.
        wall_seconds: Time by the clock, earlier runs included.
        versions: Libraries.
        schema: Of this format.
    """

    variant: str
    victim: str
    seed: int
    training: dict[str, Any]
    identity: str
    twins_sha256: str
    scale: list[float]
    steps: int
    best_step: int
    best: dict[str, float]
    best_by_chance: dict[str, float]
    curve: list[list[float]]
    seconds: float | None
    wall_seconds: float
    versions: dict[str, str]
    schema: int = SCHEMA

    @property
    def regret(self) -> float:
        """Of the best agent's return."""
        return self.best["regret"]

    @property
    def last_regret(self) -> float:
        """Of the return of the agent as it was at the end."""
        return self.curve[-1][1]

    @property
    def near_after(self) -> float | None:
        """Steps of the first judgement with a regret of `NEAR` at most; None if there is none."""
        return next((steps for steps, regret, _ in self.curve if regret <= NEAR), None)


def append_ablation(path: Path, record: Ablation) -> None:
    """Appends a record, flushed to the disk.

    Raises:
        OutputError: The file cannot be written.
    """
    append_line(path, asdict(record))


def read_ablations(path: Path) -> list[Ablation]:
    """Reads every whole record; a line that a kill has cut off is left out.

    Raises:
        RecordError: A line that is JSON but no record of this schema; the message names file and line.
    """
    return [_from_json(content, where) for where, content in read_lines(path)]


def load(paths: Iterable[Path]) -> list[Ablation]:
    """Reads records from files; the same training once.

    Raises:
        RecordError: No records in a file, or malformed ones.
    """
    found: dict[str, Ablation] = {}
    for path in paths:
        records = read_ablations(path)
        if not records:
            raise RecordError(f"expected ablations in {path}, found none; give the ablations.jsonl of prune-env ablate")
        found |= {record.identity: record for record in records}
    return list(found.values())


def _from_json(content: Any, where: str) -> Ablation:
    names = {field.name for field in fields(Ablation)}
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or set(content) != names:
        raise RecordError(f"{where}: expected an ablation of schema {SCHEMA}; run it again")
    wrong = [name for name, kind in _kinds().items() if not fits(content[name], kind)]
    for name in ("best", "best_by_chance"):
        if not wrong and not {"regret", "certified_regret", "violations"} <= set(content[name]):
            wrong = [name]
    if not wrong and not (content["curve"] and all(len(row) == 3 for row in content["curve"])):
        wrong = ["curve"]
    if wrong:
        raise RecordError(f"{where}: {wrong[0]} is none of an ablation's; run it again")
    return Ablation(**content)


@cache
def _kinds() -> dict[str, Any]:
    """Returns each field's type."""
    return get_type_hints(Ablation)
