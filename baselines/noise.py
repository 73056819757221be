"""How far a rate may be off because these sentences, and not others, happen to be in the test set."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune_env.errors import RecordError
from prune_env.metrics import Interval, paired_bootstrap
from prune_env.records import Record, bits_from_text

NORMAL = 1.959964
"""Standard errors on either side of a 95 % interval of a normal distribution."""


@dataclass(frozen=True)
class Spread:
    """Mean over seeds and their standard deviation (n - 1); None for a single seed."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarises at least one value."""
        found = list(values)
        return cls(statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else None)


@dataclass(frozen=True)
class Noise:
    """Noise over sentences of a mean over seeds: its standard error and its 95 % interval, in the rate's unit."""

    error: float
    interval: Interval


def noises(records: Sequence[Record], floors: Sequence[Record], bootstrap_seed: int = 0) -> dict[str, Noise]:
    """Returns the noise of "acc", "lfr", "auc" and, with a twin, "floor".

    ACC, LFR and floor: each sentence's bit is averaged over the seeds, then sentences are resampled (plain bootstrap).
    AUC: the mean of the seeds' standard errors (DeLong et al. 1988), as if their errors over the shared sentences were
    one error: never too small; the interval is the normal one.

    Args:
        records: One method's in one setting, a seed each.
        floors: The twins' records of these.
        bootstrap_seed: Seeds the resamples.

    Raises:
        RecordError: Records judged on different sentences.
    """
    found = {
        "acc": _of_bits(_bits(records, "correct"), bootstrap_seed),
        "lfr": _of_bits(_bits(records, "flipped"), bootstrap_seed),
        "auc": _of_auc(records),
    }
    return {**found, "floor": _of_bits(_bits(floors, "flipped"), bootstrap_seed)} if floors else found


def _bits(records: Sequence[Record], name: str) -> NDArray[np.float64]:
    """Averages each sentence's bit over seeds, (N,)."""
    rows = [bits_from_text(getattr(record, name)) for record in records]
    sizes = {len(row) for row in rows}
    if len(sizes) > 1 or 0 in sizes:
        raise RecordError(
            f"expected every record of {records[0].victim} to judge the same sentences, got {sorted(sizes)} of them; "
            "report records of one version of the victim at a time"
        )
    mean: NDArray[np.float64] = np.mean(rows, axis=0, dtype=np.float64)
    return mean


def _of_bits(values: NDArray[np.float64], bootstrap_seed: int) -> Noise:
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Noise(error, paired_bootstrap(values, np.zeros_like(values), np.random.default_rng(bootstrap_seed)))


def _of_auc(records: Sequence[Record]) -> Noise:
    value = statistics.fmean(record.auc for record in records)
    error = statistics.fmean(record.auc_sd for record in records)
    low, high = max(0.0, value - NORMAL * error), min(1.0, value + NORMAL * error)
    return Noise(error, Interval(value, low, high))
