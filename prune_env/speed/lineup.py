"""The contestants of one run, in every dtype asked for, and how many masks each of them is given in a turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from prune_env.engine.device import resolve_device
from prune_env.errors import ContestantMismatchError
from prune_env.speed.ceiling import synchronise
from prune_env.speed.contestants import OURS, PLAIN, RELEASED, TUNED, AsReleased, Contestant, TunedTransformers, ours
from prune_env.speed.subject import Subject
from prune_env.types import HeadMask, HeadMasks, full_mask

BATCHES = (32, 64, 128, 256)
"""Batch sizes of which tuned transformers takes the fastest, found in a warm-up."""

ATTEMPTS = 2
"""Evaluations with each batch size after its warm-up; the faster one counts."""

TOLERANCE = {"float32": 1e-5, "bfloat16": 0.1}
"""How far logits may lie from those of the model as released, as a share of the largest of them (of 1 if it is less).

bfloat16 has eight bits: what it is off by is reported, and this only tells rounding from another computation.
"""


@dataclass(frozen=True)
class Contender:
    """A contestant as it enters workloads.

    Attributes:
        name: One of the names in `contestants`.
        dtype: "float32" or "bfloat16".
        make: Returns it ready for a turn, its memory empty; not timed.
        sample: Masks it is timed on in a turn of a long workload; None for all of them.
        weight: About how long one evaluation takes, against the others; for the time to go.
    """

    name: str
    dtype: str
    make: Callable[[], Contestant]
    sample: int | None
    weight: float

    @property
    def key(self) -> str:
        """The name with its dtype, which is unique."""
        return f"{self.name} {self.dtype}"


@dataclass(frozen=True)
class Lineup:
    """Who competes.

    Attributes:
        contenders: In the report's order.
        batches: The batch size that tuned transformers took, by dtype.
    """

    contenders: tuple[Contender, ...]
    batches: dict[str, int]


def assemble(subject: Subject, dtypes: tuple[str, ...], device: str, samples: tuple[int, int, int]) -> Lineup:
    """Builds every contestant and runs each once, so that no first round pays for what a process does only once.

    Args:
        subject: The model and its sentences.
        dtypes: Each gets rows of its own; as released is float32 alone.
        device: "cpu", "cuda" or "cuda:N".
        samples: Masks a turn of a long workload times: as released, tuned transformers, ours without reuse.
    """
    model, tokens = subject.model, subject.tokens
    mask = full_mask(subject.layers, subject.heads)
    released = AsReleased(model, tokens.subset(range(min(len(tokens), 32))), device)
    released.logits(mask)
    released = AsReleased(model, tokens, device)
    contenders, batches = [Contender(RELEASED, "float32", lambda: released, samples[0], 12.0)], {}
    for dtype in dtypes:
        tuned, batches[dtype] = _fastest(subject, dtype, device, mask)
        plain = ours(model, tokens, device, dtype, reuse=False)
        plain.logits(mask)
        contenders += [
            Contender(TUNED, dtype, _always(tuned), samples[1], 2.0),
            Contender(PLAIN, dtype, _always(plain), samples[2], 1.0),
            Contender(OURS, dtype, _fresh(subject, device, dtype), None, 0.6),
        ]
    return Lineup(tuple(contenders), batches)


def agreement(subject: Subject, dtypes: tuple[str, ...], device: str, masks: HeadMasks) -> dict[str, float]:
    """Checks that all contestants compute the same, on the first sentences: else comparing their speed says nothing.

    Returns:
        The largest deviation of each contender's logits from those of the model as released, by its key.

    Raises:
        ContestantMismatchError: One computes something else.
    """
    tokens = subject.tokens.subset(range(min(len(subject.tokens), 64)))
    few = replace(subject, tokens=tokens)
    reference = AsReleased(few.model, tokens, device)
    expected = [reference.logits(mask) for mask in masks]
    found = {}
    for dtype in dtypes:
        others: dict[str, Contestant] = {
            TUNED: TunedTransformers(few.model, tokens, device, dtype, 32),
            PLAIN: ours(few.model, tokens, device, dtype, reuse=False),
            OURS: ours(few.model, tokens, device, dtype, reuse=True),
        }
        for name, other in others.items():
            pairs = [(other.logits(mask), logits) for mask, logits in zip(masks, expected, strict=True)]
            scale = max(1.0, *(float(abs(logits).max()) for logits in expected))
            found[f"{name} {dtype}"] = off = max(float(abs(one - two).max()) for one, two in pairs)
            # Written so that NaN fails, too.
            if not off <= TOLERANCE[dtype] * scale:
                raise ContestantMismatchError(
                    f"expected {name} ({dtype}) to give the logits of the model {RELEASED} within "
                    f"{TOLERANCE[dtype] * scale:.1g}, they differ by {off:.3g}; a speed comparison of different "
                    "computations says nothing: report the model"
                )
    return found


def _fastest(subject: Subject, dtype: str, device: str, mask: HeadMask) -> tuple[Contestant, int]:
    """Returns tuned transformers with the batch size that evaluates one mask soonest."""
    seconds: dict[int, float] = {}
    made: dict[int, Contestant] = {}
    for size in (size for size in BATCHES if size == BATCHES[0] or size < 2 * len(subject.tokens)):
        made[size] = TunedTransformers(subject.model, subject.tokens, device, dtype, size)
        for attempt in range(1 + ATTEMPTS):
            synchronise(resolve_device(device))
            started = time.perf_counter()
            made[size].logits(mask)
            # The first attempt of each size warms it up.
            if attempt:
                seconds[size] = min(time.perf_counter() - started, seconds.get(size, float("inf")))
    best = min(seconds, key=lambda size: seconds[size])
    return made[best], best


def _always(contestant: Contestant) -> Callable[[], Contestant]:
    """For a contestant that remembers nothing."""
    return lambda: contestant


def _fresh(subject: Subject, device: str, dtype: str) -> Callable[[], Contestant]:
    return lambda: ours(subject.model, subject.tokens, device, dtype, reuse=True)
