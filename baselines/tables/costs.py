"""What a method costs, in sentence-passes: one sentence through the forward of the whole model is one pass.

A training step's sentence counts as three: one forward, and a backward worth two. What a search asks for is in every
record. The final fine-tuning's sentences are in records that have `recovery_sentences`; of older ones they are known
where the recovery is plain and the protocol's size is a number. The scoring model, on which every search is done, is
the task's and not a method's: it costs as much as `ft` at the protocol's own rate, and no row counts it.
"""

from __future__ import annotations

from prune_env.baselines.summary import members_in
from prune_env.records import Record
from prune_env.recovered import PASSES_A_STEP

_ENSEMBLE = "Members"


def recovery_passes(record: Record) -> int | None:
    """Returns the sentence-passes of a record's final fine-tuning; None where nothing tells."""
    sentences = record.recovery_sentences
    if sentences is None:
        sentences = _plain_sentences(record)
    return None if sentences is None else PASSES_A_STEP * sentences


def _plain_sentences(record: Record) -> int | None:
    """Returns train size * epochs * members for plain recoveries of a protocol of known size."""
    recovery = record.config.get("recovery", {}).get("name")
    size, epochs = record.config["protocol"].get("train_size"), record.config["training"].get("epochs")
    if recovery not in (None, _ENSEMBLE) or size is None or epochs is None:
        return None
    # An ensemble without a valid member recovers the full mask alone.
    members = max(1, len(members_in(record))) if recovery == _ENSEMBLE else 1
    return int(size * epochs * members)
