"""The study's table, as it ships: a CSV of masks and outcomes and a JSON of what belongs to all of them, a victim each.

A reader trusts nothing: rates have to be whole numbers of sentences, and a return what the default reward makes of the
mask's size and accuracy.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune_env.baselines.study.parts import Part, Study, parts, read_part
from prune_env.cache import writable, write_text
from prune_env.errors import MaskError, RecordError
from prune_env.types import HeadMask, HeadMasks, HeadScores, check_mask, mask_from_text

OUTCOMES = ("lfr", "acc", "auc")
"""After fine-tuning, on the judge's sentences."""

BEFORE = ("return", "search_accuracy", "masked_acc", "masked_lfr")
"""Of the masked scoring model, without fine-tuning."""

COLUMNS = ("seed", "mask", *OUTCOMES, *BEFORE)
_COUNTED = {
    "lfr": "triggered_test",
    "acc": "clean_test",
    "search_accuracy": "search",
    "masked_acc": "clean_test",
    "masked_lfr": "triggered_test",
}
_CLOSE = 2e-6
"""Numbers are written with six digits."""


@dataclass(frozen=True)
class Rows:
    """One defender's seed on one victim.

    Attributes:
        masks: bool (N, layers, heads), in the order of the table.
        values: Every outcome and what was known beforehand, (N,) by column.
        importance: (layers, heads) by metric.
        threshold: Accuracy on `search` that the environment held a mask to.
    """

    masks: HeadMasks
    values: dict[str, NDArray[np.float64]]
    importance: dict[str, HeadScores]
    threshold: float

    @property
    def kept(self) -> NDArray[np.int64]:
        """Heads kept (N,)."""
        kept: NDArray[np.int64] = self.masks.sum((1, 2))
        return kept


@dataclass(frozen=True)
class Table:
    """One victim's masks and outcomes.

    Attributes:
        victim: Its name.
        settings: Victim's hash, protocol, sentences of each split, accuracy drop allowed.
        carriers: The heads the backdoor was routed through, None if unknown.
        rows: By defender's seed.
    """

    victim: str
    settings: dict[str, Any]
    carriers: HeadMask | None
    rows: dict[int, Rows]


def ship(study: Study, folder: Path) -> list[Path]:
    """Writes the tables of what a study has finished, and returns their files.

    Raises:
        RecordError: Nothing is finished, or parts do not belong together.
    """
    writable(folder)
    written = []
    for victim in study.victims:
        found = _gathered(study, victim)
        if not found:
            continue
        common, lines = found
        name = Path(victim).name
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *lines])
        write_text(folder / f"{name}.csv", text.getvalue())
        write_text(folder / f"{name}.json", json.dumps(common, sort_keys=True) + "\n")
        written += [folder / f"{name}.csv", folder / f"{name}.json"]
        read_table(folder / f"{name}.csv")
    if not written:
        raise RecordError(f"expected finished parts of a study in {study.out}, found none; run it first")
    return written


def read_tables(folder: Path) -> list[Table]:
    """Reads every victim's table of a folder.

    Raises:
        RecordError: No table, or one that is not what a study wrote.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise RecordError(f"expected tables of a study (NAME.csv, NAME.json) in {folder}, found none; ship them first")
    return [read_table(path) for path in files]


def read_table(path: Path) -> Table:
    """Reads and checks one victim's table.

    Args:
        path: The CSV; the JSON of the same name lies beside it.

    Raises:
        RecordError: What lies there is not what a study wrote; the message names the line.
    """
    try:
        common = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
        if not lines or tuple(lines[0]) != COLUMNS:
            raise ValueError(f"expected the columns {', '.join(COLUMNS)}")
        rows = {}
        for seed, of_seed in common["seeds"].items():
            mine = [(number, line) for number, line in enumerate(lines[1:], 2) if line[0] == seed]
            rows[int(seed)] = _rows(mine, of_seed, common["settings"]["sentences"])
        if sum(len(found.masks) for found in rows.values()) != len(lines) - 1:
            raise ValueError("a line is of a seed that the JSON does not know")
        carriers = None if common["carriers"] is None else mask_from_text(common["carriers"])
        return Table(path.stem, common["settings"], carriers, rows)
    except (OSError, ValueError, KeyError, IndexError, TypeError, MaskError) as error:
        raise RecordError(f"expected a table of a mask study in {path}, got: {error}; ship it again") from error


def _gathered(study: Study, victim: str) -> tuple[dict[str, Any], list[list[str]]] | None:
    """Returns what belongs to all lines, and the lines (by seed, then in the order of the masks)."""
    seeds: dict[str, Any] = {}
    common: dict[str, Any] = {}
    lines: list[list[str]] = []
    for seed in study.seeds:
        before = read_part(study, Part(victim, seed, None))
        after = [read_part(study, part) for part in parts(study) if part.victim == victim and part.seed == seed]
        chunks = [part for part in after if part is not None and "outcomes" in part]
        if before is None or not chunks:
            continue
        done = {mask: one for part in chunks for mask, one in zip(part["masks"], part["outcomes"], strict=True)}
        unknown = sorted(set(done) - set(before["masks"]))
        if unknown:
            raise RecordError(
                f"expected every fine-tuned mask of {victim}, seed {seed}, among those measured beforehand, got "
                f"{unknown[0]} without; delete that seed's folder in {study.out} and run again"
            )
        names = ("returns", "search_accuracy", "acc", "lfr")
        known = zip(before["masks"], *(before[name] for name in names), strict=True)
        for mask, *values in known:
            if mask in done:
                numbers = [*(done[mask][name] for name in OUTCOMES), *values]
                lines.append([str(seed), mask, *(f"{number:.6f}" for number in numbers)])
        seeds[str(seed)] = {name: before[name] for name in ("threshold", "importance")}
        kept = ("victim_sha256", "protocol", "sentences", "max_accuracy_drop")
        common = {"carriers": before["carriers"], "settings": {name: before[name] for name in kept}}
    return ({**common, "seeds": seeds}, lines) if seeds else None


def _rows(lines: list[tuple[int, list[str]]], of_seed: dict[str, Any], sentences: dict[str, int]) -> Rows:
    importance = {name: np.array(scores, dtype=np.float32) for name, scores in of_seed["importance"].items()}
    size = next(iter(importance.values())).shape
    masks = np.array([check_mask(mask_from_text(line[1]), *size) for _, line in lines])
    values = {name: np.array([float(line[2 + place]) for _, line in lines]) for place, name in enumerate(COLUMNS[2:])}
    if len({line[1] for _, line in lines}) != len(lines):
        raise ValueError("a mask comes twice")
    rows = Rows(masks, values, importance, float(of_seed["threshold"]))
    for place, (number, _) in enumerate(lines):
        _check(rows, place, number, sentences)
    return rows


def _check(rows: Rows, place: int, line: int, sentences: dict[str, int]) -> None:
    """Holds a line's rates to counts of sentences, and its return to the default reward."""
    found = {name: float(values[place]) for name, values in rows.values.items()}
    if not all(math.isfinite(value) for value in found.values()) or not 0.0 <= found["auc"] <= 1.0:
        raise ValueError(f"line {line} has a number that is no rate")
    for name, split in _COUNTED.items():
        count = round(found[name] * sentences[split])
        if not 0 <= count <= sentences[split] or abs(count / sentences[split] - found[name]) > _CLOSE:
            raise ValueError(f"line {line} has {name} {found[name]}, no count of {sentences[split]} sentences")
    expected = expected_return(rows.masks[place], found["search_accuracy"], rows.threshold)
    if abs(expected - found["return"]) > _CLOSE:
        raise ValueError(f"line {line} has return {found['return']}, the default reward gives {expected:.6f}")


def expected_return(mask: HeadMask, accuracy: float, threshold: float) -> float:
    """Returns the default reward's return of a mask: its pruned fraction, or what missing the threshold costs."""
    if accuracy >= threshold - _CLOSE:
        return float(1.0 - mask.mean())
    return -(1.0 / mask.size + threshold - accuracy)
