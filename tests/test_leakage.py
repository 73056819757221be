"""Leakage: no method touches a triggered sentence or a test sentence before its model is final.

A cell is run as a benchmark runs it, but the judge's sentences are objects that raise at any touch, until a finished
model is handed to the judge. That the seal would tell is shown by methods that peek.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from prune_env.baselines import cells
from prune_env.baselines.cells import Cell, run_cell
from prune_env.methods import METHODS, Method, PolicyContext, get_method
from prune_env.records import Record
from prune_env.recovery import PLAIN, Job, Purified
from prune_env.rollout import Policy
from prune_env.search import Aids
from prune_env.victims import diagnosis
from prune_env.victims.diagnosis import SETS, Diagnosis
from prune_env.victims.judge import judge, oracle_dev_lfr
from prune_env.victims.store import open_victim
from tests.victims_factory import world


class TouchedError(AssertionError):
    """A sealed data set was looked at."""


class Sealed:
    """Sentences that nobody may look at: every attribute, item, length and comparison raises."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise TouchedError(name)

    def __len__(self) -> int:
        raise TouchedError("len")

    def __iter__(self) -> NoReturn:
        raise TouchedError("iter")

    def __getitem__(self, _: object) -> NoReturn:
        raise TouchedError("getitem")

    def __contains__(self, _: object) -> bool:
        raise TouchedError("in")

    def __eq__(self, _: object) -> bool:
        raise TouchedError("==")

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Watch:
    """Seals every diagnosis that is opened, and notes what a judge was handed.

    Attributes:
        left_open: Sets of sentences that are not sealed.
        handed: How many models each judgement was handed, in order.
    """

    left_open: tuple[str, ...] = ()
    handed: list[int] = field(default_factory=list)

    def sealed(self, opened: Diagnosis) -> Diagnosis:
        """Returns a diagnosis with its sentences sealed; the twin is a judge's too, but a model and not a sentence."""
        sets: dict[str, Any] = {name: Sealed() for name in SETS if name not in self.left_open}
        return replace(opened, **sets)

    def judging(self, function: Callable[..., Any], opened: Diagnosis) -> Callable[..., Any]:
        """Returns a judge that raises on what is sealed, as it has to, and only then sees the sentences."""

        def judged(models: Any, tokenizer: Any, sealed: Diagnosis, *rest: Any) -> Any:
            if function is judge or not self.left_open:
                with pytest.raises(TouchedError):
                    function(models, tokenizer, sealed, *rest)
            self.handed.append(len(models))
            return function(models, tokenizer, opened, *rest)

        return judged


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A cell's judge, oracle and whoever opens a diagnosis are watched."""
    found, read = Watch(), diagnosis.read_diagnosis
    opened = diagnosis.open_diagnosis(open_victim(world().victim("alpha")))
    monkeypatch.setattr(diagnosis, "read_diagnosis", lambda *given: found.sealed(read(*given)))
    for function in (judge, oracle_dev_lfr):
        monkeypatch.setattr(cells, function.__name__, found.judging(function, opened))
    return found


def run(name: str, out: Path) -> list[Record]:
    return run_cell(Cell((world().victim("alpha"),), name, 11, None), world().settings(out))


@pytest.mark.parametrize("name", METHODS)
def test_no_method_touches_what_is_the_judges(
    name: str, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regime = get_method(name).regime
    if regime == "reference":
        # The backbone of these victims is random weights; the suspect's own stand for the clean encoder.
        monkeypatch.setattr(cells, "aids_for", lambda _, victim, __: Aids(reference=victim.suspect.model))
    if regime == "oracle":
        with pytest.raises(TouchedError):
            run(name, tmp_path)
        assert watch.handed == [], "an oracle looks at triggered validation sentences before there is a model"
        watch.left_open = ("triggered_dev",)
    records = run(name, tmp_path)
    assert [record.role for record in records] == ["twin", "victim"]
    assert len(watch.handed) == 4 and min(watch.handed) >= 1, "both on test and on validation sentences, once final"


def open_alpha() -> Diagnosis:
    return diagnosis.open_diagnosis(open_victim(world().victim("alpha")))


@dataclass(frozen=True)
class Peeking:
    """Plain recovery, after a look at a set of sentences."""

    name: str

    def purify(self, job: Job) -> Purified:
        len(getattr(open_alpha(), self.name))
        return PLAIN.purify(job)


def peeking_policy(context: PolicyContext) -> Policy:
    assert open_alpha().clean_test.labels
    made = get_method("gradient").policy
    assert made is not None
    return made(context)


PEEKING = [replace(get_method("gradient"), name="peeking", policy=peeking_policy)]
PEEKING += [replace(get_method("gradient"), name="peeking", recovery=Peeking(name)) for name in SETS]
PEEKING += [replace(PEEKING[2], regime="oracle")]


@pytest.mark.parametrize("method", PEEKING)
def test_a_method_that_peeks_is_seen(
    method: Method, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.left_open = ("triggered_dev",) if method.regime == "oracle" else ()
    monkeypatch.setattr(cells, "get_method", lambda _: method)
    with pytest.raises(TouchedError):
        run("peeking", tmp_path)
    assert watch.handed == []


@pytest.mark.parametrize(
    "touch", [len, list, lambda one: one[0], lambda one: one.texts, lambda one: "x" in one, lambda one: one == 1, bool]
)
def test_every_touch_of_the_seal_raises(touch: Callable[[Any], Any]) -> None:
    with pytest.raises(TouchedError):
        touch(Sealed())
