"""Trials: one contestant with one budget and one seed on one victim, a line of JSON each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import MaskError, RecordError
from prune_env.record_form import fits
from prune_env.records import append_line, read_lines
from prune_env.types import HeadMask, mask_from_text
from prune_env.victims.training_config import PRECISIONS

SCHEMA = 2
LIVE = "real"
"""The experiment whose masks are evaluated as they are asked for."""

RATES = {"accuracy", "oracle_lfr", "unpruned_lfr"}
"""What `Trial.defended` holds beside `precision`; in [0, 1], as `unpruned_accuracy`, which older lines lack."""

OPTIONAL = {"defended"}
"""Fields that a line may lack: trials were written before there were any."""

EXPERIMENTS = ("tabular", "family", LIVE)


@dataclass(frozen=True)
class Trial:
    """What a contestant made of its evaluations.

    Values are those of `prune_env.agents.objective` and, on `certify`, of `prune_env.tabular.certified`.

    Attributes:
        experiment: One of `EXPERIMENTS`.
        victim: Its name.
        identity: SHA-256 of what was evaluated.
        contestant: Registered name.
        kind: What it is.
        settings: All that decides what it does: its own, the environment's, and how it was trained before.
        budget: Evaluations that were allowed.
        per_episode: Whether that is what one episode may use, one evaluation a head and one more.
        seed: Of all its chance.
        evaluations: Distinct masks it asked for.
        improvements: Each mask that was better on `search` than all before: [evaluation, mask, value on `search`, value
            on `certify`]; the last one is the mask that it found.
        regret: Normalised, of the found mask's value on `search`; None where not every mask is known.
        certified_regret: The same on `certify`.
        oracle_lfr: A diagnosis: label flip rate of the masked model under the found mask.
        policy: One episode of the policy it leaves behind, without chance and beyond the budget: `mask`, `return`,
            `evaluations`, `certified`, `regret`, `certified_regret`, `oracle_lfr`; None for a search of masks. For a
            script the episode that it played.
        steps: Environment steps of training on this victim.
        scales: What regret is measured by: "search" and "certify" -> [optimum, mean of random play]; None where not
            every mask is known.
        seconds: Processor time of the contestant, preparation left out.
        wall_seconds: The same by the clock.
        versions: Libraries.
        defended: A diagnosis: what `prune_env.comparison.defended.Defences` says of the found mask; None where nobody
            asked for it.
        schema: Of this format.
    """

    experiment: str
    victim: str
    identity: str
    contestant: str
    kind: str
    settings: dict[str, Any]
    budget: int
    per_episode: bool
    seed: int
    evaluations: int
    improvements: list[list[Any]]
    regret: float | None
    certified_regret: float | None
    oracle_lfr: float | None
    policy: dict[str, Any] | None
    steps: int
    scales: dict[str, list[float]] | None
    seconds: float
    wall_seconds: float
    versions: dict[str, str]
    defended: dict[str, Any] | None = None
    schema: int = SCHEMA

    @property
    def key(self) -> str:
        """What makes a second trial the same."""
        return trial_key(self.experiment, self.identity, self.contestant, self.settings, self.budget, self.seed)

    @property
    def allowance(self) -> int | None:
        """The budget; None for what one episode may use, whatever the model's size."""
        return None if self.per_episode else self.budget

    @property
    def certified(self) -> float:
        """The found mask's value on `certify`."""
        return float(self.improvements[-1][3])

    @property
    def value(self) -> float:
        """The found mask's value on `search`."""
        return float(self.improvements[-1][2])

    @property
    def mask(self) -> HeadMask:
        """The found mask, (layers, heads), True = kept."""
        return mask_from_text(self.improvements[-1][1])

    @property
    def optimum(self) -> float | None:
        """Largest value of any mask on `certify`; None where not every mask is known."""
        return None if self.scales is None else self.scales["certify"][0]

    def certified_after(self, evaluations: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns the value on `certify` of the mask that was best on `search` after so many evaluations, (K,)."""
        starts = np.array([one[0] for one in self.improvements])
        values = np.array([one[3] for one in self.improvements], dtype=np.float64)
        return values[np.searchsorted(starts, evaluations, side="right") - 1]


def trial_key(experiment: str, identity: str, contestant: str, settings: dict[str, Any], budget: int, seed: int) -> str:
    """Returns the identity of a trial as canonical JSON text."""
    return json.dumps([experiment, identity, contestant, settings, budget, seed], sort_keys=True)


def append_trial(path: Path, trial: Trial) -> None:
    """Appends a trial, flushed to the disk.

    Raises:
        OutputError: The file cannot be written.
    """
    append_line(path, asdict(trial))


def read_trials(path: Path) -> list[Trial]:
    """Reads every whole trial; a line that a kill has cut off is left out.

    Raises:
        RecordError: A line that is JSON but no trial of this schema; the message names file and line.
    """
    return [_from_json(content, where) for where, content in read_lines(path)]


def by_key(trials: Iterable[Trial]) -> dict[str, Trial]:
    """Returns trials by their keys: of the same trial the one that was defended, else the last."""
    found: dict[str, Trial] = {}
    for trial in trials:
        known = found.get(trial.key)
        if known is None or known.defended is None or trial.defended is not None:
            found[trial.key] = trial
    return found


def load(paths: Iterable[Path]) -> list[Trial]:
    """Reads trials from files, and from every .jsonl file of folders; the same trial once.

    Raises:
        RecordError: No trials in a path, or malformed ones.
    """
    found: list[Trial] = []
    for path in paths:
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        trials = [trial for file in files for trial in read_trials(file)]
        if not trials:
            raise RecordError(f"expected trials in {path}, found none; give the trials.jsonl of `prune-env compare`")
        found += trials
    return list(by_key(found).values())


def _from_json(content: Any, where: str) -> Trial:
    names = {field.name for field in fields(Trial)}
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or set(content) | OPTIONAL != names:
        raise RecordError(f"{where}: expected a trial of schema {SCHEMA}; run the comparison again")
    content = {**dict.fromkeys(OPTIONAL), **content}
    wrong = [name for name, kind in _kinds().items() if not fits(content[name], kind)]
    wrong += ["defended"] * (not wrong and not _is_defended(content["defended"]))
    if wrong or not _improves(content["improvements"]):
        raise RecordError(f"{where}: {(wrong or ['improvements'])[0]} is none of a trial's; run the comparison again")
    return Trial(**content)


def _is_defended(content: dict[str, Any] | None) -> bool:
    if content is None:
        return True
    rates = {name: rate for name, rate in content.items() if name != "precision"}
    named = set(rates) - {"unpruned_accuracy"} == RATES and content.get("precision") in set(PRECISIONS) - {"auto"}
    return named and all(fits(rate, float) and 0.0 <= rate <= 1.0 for rate in rates.values())


def _improves(rows: list[Any]) -> bool:
    kinds = (int, str, float, float)
    try:
        for row in rows:
            mask_from_text(row[1])
    except (MaskError, IndexError, TypeError, AttributeError):
        return False
    whole = all(len(row) == 4 and all(map(fits, row, kinds)) for row in rows)
    return whole and bool(rows) and rows[0][0] == 1


@cache
def _kinds() -> dict[str, Any]:
    """Returns each field's type."""
    return get_type_hints(Trial)
