"""One run from start to end: check that all compute the same, then the workloads one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import torch

from prune_env.engine.device import resolve_device
from prune_env.engine.prefix import DEFAULT_BYTES
from prune_env.seeds import derive
from prune_env.speed import environments, evaluations, processes
from prune_env.speed.ceiling import Ceiling, measure_ceiling
from prune_env.speed.conditions import observe, peak_rss_bytes
from prune_env.speed.growth import growth, growth_weights
from prune_env.speed.lineup import Contender, Lineup, agreement, assemble
from prune_env.speed.measure import Waiter
from prune_env.speed.plan import Settings
from prune_env.speed.report import Report, Shape
from prune_env.speed.requests import random_masks
from prune_env.speed.rows import Row
from prune_env.speed.subject import Source, Subject, open_subject

Progress = Callable[[str, float, float], None]
"""Called with what is running now, and how much is done of how much, in units of about one evaluation."""

AGREEMENT_MASKS = 3


@dataclass
class Meter:
    """Adds up the work that is done, for the time to go."""

    progress: Progress
    total: float = 0.0
    done: float = 0.0
    title: str = field(default="")

    def start(self, title: str) -> None:
        """Names what runs from now on."""
        self.title = title
        self.progress(title, self.done, self.total)

    def waiter(self, title: str, weights: Mapping[str, float]) -> Waiter:
        """Starts a case and returns what learns of its contestants' turns, each of its own weight."""
        self.start(title)

        def wait(name: str) -> None:
            self.done += weights[name]
            self.progress(f"{title}: {name}", self.done, self.total)

        return wait


def measure(source: Source, settings: Settings, cores: int, progress: Progress = lambda *_: None) -> Report:
    """Measures the workloads of the settings.

    Args:
        source: What is evaluated.
        settings: How.
        cores: Processor cores this process may use; W7 fills them.
        progress: Learns of every step.

    Raises:
        ContestantMismatchError: The contestants do not compute the same.
        PruneEnvError: As `open_subject` says.
    """
    started, conditions, meter = time.perf_counter(), observe(settings, cores), Meter(progress)
    with threads(settings.threads):
        meter.start("opening the model")
        subject = open_subject(source)
        meter.start("checking that all compute the same")
        deviations = _agreement(subject, settings)
        ceilings = _ceilings(settings)
        measured = _Workloads(source, subject, settings, cores, meter)
        measured.run()
        # Once more at the end: the machine may have been slower at the start, and the ceiling is what it can do.
        ceilings = {name: max(one, _ceilings(settings)[name], key=lambda c: c.flops) for name, one in ceilings.items()}
    return Report(
        shape=Shape.of(subject),
        conditions=conditions,
        settings={**_plain(asdict(settings)), "source": asdict(source)},
        rows=measured.rows,
        agreement=deviations,
        batches=measured.batches,
        ceiling={name: one.flops for name, one in ceilings.items()},
        ceiling_size=next(iter(ceilings.values())).size,
        exponents=measured.exponents,
        distinct=measured.distinct,
        prefix_budget_bytes=DEFAULT_BYTES[resolve_device(settings.device).type],
        rss_peak_bytes=peak_rss_bytes(),
        seconds=time.perf_counter() - started,
    )


class _Workloads:
    """The workloads of one run, in order, and what they gave."""

    def __init__(self, source: Source, subject: Subject, settings: Settings, cores: int, meter: Meter) -> None:
        self._source, self._subject, self._settings = source, subject, settings
        self._cores, self._meter = cores, meter
        self.rows: list[Row] = []
        self.batches: dict[str, int] = {}
        self.exponents: dict[str, float] = {}
        self.distinct: dict[str, int] = {}

    def run(self) -> None:
        """Records the questions first, so that the time to go is known, then runs one workload after the other."""
        wanted = self._settings.workloads
        self._meter.start("recording the episodes")
        cases = evaluations.cases(self._subject, self._settings)
        lineup = self._assemble() if cases else Lineup((), {})
        self.batches = lineup.batches
        weights = _Weights(self._settings, self._subject)
        plans = [weights.case(case, lineup.contenders) for case in cases]
        later = {name: weights.of(name) for name in ("growth", "W5", "W6", "W7") if name in wanted}
        self._meter.total = self._settings.rounds * sum(sum(one.values()) for one in (*plans, *later.values()))
        for case, plan in zip(cases, plans, strict=True):
            waiter = self._meter.waiter(f"{case[0]} {case[1]}", plan)
            self.rows += evaluations.run_case(case, self._subject, lineup.contenders, self._settings, waiter)
            self.distinct[f"{case[0]} {case[1]}"] = case[2].distinct
        for name, plan in later.items():
            self._later(name, self._meter.waiter(name, plan))

    def _assemble(self) -> Lineup:
        self._meter.start("warming up")
        settings = self._settings
        return assemble(self._subject, settings.dtypes, settings.device, settings.sizes.samples)

    def _later(self, name: str, waiter: Waiter) -> None:
        """Runs a workload that brings its own contestants."""
        if name == "growth":
            rows, self.exponents = growth(self._subject, self._settings, waiter)
            self.rows += rows
        elif name == "W5":
            self.rows += environments.parallel(self._subject, self._settings, waiter)
        elif name == "W6":
            self.rows += environments.overhead(self._settings, waiter)
        else:
            self.rows += processes.fine_tuning(self._source, self._settings, self._cores, waiter)


class _Weights:
    """About how long each turn takes, in evaluations by this project: only the time to go depends on it."""

    def __init__(self, settings: Settings, subject: Subject) -> None:
        self._settings, self._subject = settings, subject

    def case(self, case: evaluations.Case, contenders: Sequence[Contender]) -> dict[str, float]:
        """Returns each contestant's weight in one of W1 to W4."""
        return {one.key: one.weight * evaluations.timed(one, case[2]) for one in contenders}

    def of(self, name: str) -> dict[str, float]:
        """Returns each contestant's weight in another workload; those of several cases are averaged."""
        sizes = self._settings.sizes
        if name == "growth":
            return growth_weights(self._subject, self._settings)
        if name == "W5":
            share = min(1.0, (sizes.parallel_sentences or len(self._subject.tokens)) / len(self._subject.tokens))
            steps = share * sizes.parallel_steps * sum(sizes.environments)
            return {environments.SINGLE: 0.6 * steps, environments.VECTOR: 0.6 * steps}
        if name == "W6":
            return {environments.SINGLE: 1.0, environments.VECTOR: 1.0}
        return {f"{job.contestant} {job.dtype}": 8.0 for job in processes.make_jobs(self._settings, True)}


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Computes with so many threads, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _agreement(subject: Subject, settings: Settings) -> dict[str, float]:
    """Checks the contestants of W1 to W4, where any of these is wanted; other workloads bring their own."""
    if not set(settings.workloads) & {"W1", "W2", "W3", "W4"}:
        return {}
    masks = random_masks(AGREEMENT_MASKS, subject.layers, subject.heads, derive(settings.seed, "speed-agreement"))
    return agreement(subject, settings.dtypes, settings.device, masks)


def _ceilings(settings: Settings) -> dict[str, Ceiling]:
    return {dtype: measure_ceiling(dtype, settings.device, settings.quick) for dtype in settings.dtypes}


def _plain(content: dict[str, object]) -> dict[str, object]:
    """Turns tuples into lists, as JSON has them, so that a report equals itself when it is read back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}
