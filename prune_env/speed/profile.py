"""Where an evaluation's time goes: torch's profiler over one pass of the engine, summed by kind of work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich import box
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from prune_env.engine.transformer import TransformerEvaluator
from prune_env.speed.subject import Subject
from prune_env.types import full_mask

KINDS: dict[str, tuple[str, ...]] = {
    "matrix products": ("addmm", "aten::mm", "linear", "matmul", "gemm", "nvjet", "cutlass", "xmma"),
    "attention": ("attention", "flash", "fmha", "bmm", "softmax"),
    "activation": ("gelu", "tanh"),
    "normalisation": ("norm",),
    "additions": ("add",),
    "copies": ("copy", "cat", "index", "embedding", "clone", "contiguous", "Memcpy", "fill"),
}
"""Kind -> what occurs in the names of its operations; the first kind that fits takes an operation."""

REST = "everything else"


@dataclass(frozen=True)
class Share:
    """One kind of work: its share of the operations' time in [0, 1], and how many operations it was."""

    kind: str
    share: float
    calls: int


def kind_of(operation: str) -> str:
    """Returns the kind of work that an operation's name belongs to."""
    lowered = operation.lower()
    return next((kind for kind, parts in KINDS.items() if any(part.lower() in lowered for part in parts)), REST)


def profile_evaluation(subject: Subject, device: str, dtype: str) -> list[Share]:
    """Profiles one whole evaluation of the full mask, after a warm-up; largest share first.

    Time is an operation's own, without the operations it calls: on a processor of its calling thread, on a GPU of its
    kernels.
    """
    evaluator = TransformerEvaluator(subject.model, subject.tokens, device, dtype, prefix_bytes=0, cache=False)
    mask = full_mask(subject.layers, subject.heads)
    evaluator.logits(mask)
    on_gpu = device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.inference_mode(), profile(activities=activities) as profiler:
        evaluator.logits(mask)
    # On a GPU the kernels themselves; the operations that launched them carry the same time once more.
    kernels = [event for event in profiler.key_averages() if "CUDA" in str(event.device_type)]
    events = kernels if on_gpu else list(profiler.key_averages())
    attribute = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    return shares([(event.key, float(getattr(event, attribute)), int(event.count)) for event in events])


def shares(operations: Sequence[tuple[str, float, int]]) -> list[Share]:
    """Sums (name, own time, calls) by kind, largest share first."""
    total = sum(time for _, time, _ in operations) or 1.0
    summed: dict[str, tuple[float, int]] = {}
    for name, time, calls in operations:
        if time > 0.0:
            before = summed.get(kind_of(name), (0.0, 0))
            summed[kind_of(name)] = (before[0] + time, before[1] + calls)
    found = [Share(kind, time / total, calls) for kind, (time, calls) in summed.items()]
    return sorted(found, key=lambda one: -one.share)


def profile_table(rows: Sequence[Share]) -> Table:
    """Returns the shares for `rich.console.Console.print`."""
    table = Table("kind of work", "share of time", "operations", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(row.kind, f"{row.share:.1%}", str(row.calls))
    return table
