"""One class per failure. Every message names what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns the question for the known names that are nearest to another, with a space behind it; "" for none."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.4)
    return f"did you mean {' or '.join(map(repr, near))}? " if near else ""


class PruneEnvError(Exception):
    """Base of every error a user can cause; the command line prints it as one sentence and exits with 2."""


class UnknownNameError(PruneEnvError):
    """A victim, method, metric, reward, attack or protocol that is not registered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], listed: str | None = None) -> None:
        """Builds the message from what was asked for and what exists.

        Args:
            kind: What was looked up, in the singular ("victim", "method", ...).
            name: The name that came.
            known: Every registered name.
            listed: What the message says in place of all of them, where they are too many to read.
        """
        names = sorted(known)
        there = ", ".join(names) if listed is None else listed
        super().__init__(f"unknown {kind} {name!r}: {nearest(name, names)}known are {there}")
        self._asked = (kind, name, tuple(names), listed)

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, tuple[str, ...], str | None]]:
        """Lets the error travel between processes, which make it again from its arguments."""
        return type(self), self._asked


class ConfigError(PruneEnvError):
    """A setting outside its range or of the wrong kind."""


class MaskError(PruneEnvError):
    """A head mask of the wrong shape or dtype, or one that empties a layer."""


class ThresholdError(PruneEnvError):
    """A threshold or accuracy drop outside (0, 1]."""


class UnsupportedModelError(PruneEnvError):
    """A model whose architecture the engine does not know."""


class CheckpointError(PruneEnvError):
    """A checkpoint that is refused: pickled, damaged, NaN weights, wrong shapes, or of no known architecture."""


class TokenizerError(PruneEnvError):
    """A tokenizer that does not fit its model."""


class DataError(PruneEnvError):
    """A data file that cannot be read as labelled sentences; the message names file and line."""


class ManifestError(PruneEnvError):
    """A manifest or task file of another schema, or one that is incomplete."""


class IntegrityError(PruneEnvError):
    """A file whose SHA-256 is not the one its manifest records."""


class DownloadError(PruneEnvError):
    """A download that failed: not found, cut off, or with the wrong hash."""


class OutputError(PruneEnvError):
    """An output folder or file that cannot be written."""


class DeviceError(PruneEnvError):
    """A device or dtype that this machine does not have."""


class RecordError(PruneEnvError):
    """A record that is malformed or of another schema."""


class ReplayMismatchError(PruneEnvError):
    """A record whose accuracies are not those of its masks."""


class InterruptedRunError(PruneEnvError):
    """Ctrl-C during long work; the message says how to resume."""


class WorkerError(PruneEnvError):
    """A process of a benchmark that was killed from outside, for want of memory perhaps."""


class ContestantMismatchError(PruneEnvError):
    """Contestants of a speed comparison that do not compute the same."""


class BudgetSpentError(PruneEnvError):
    """A mask asked for after a budget's last evaluation, or too many in a row that were known: what ends a search."""


class FigureError(PruneEnvError):
    """A figure that the given records cannot be drawn from; the message says what to run."""
