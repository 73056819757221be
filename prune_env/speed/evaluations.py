"""W1 to W4: the same masks, asked of every contestant in turn."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from prune_env.engine.device import resolve_device
from prune_env.engine.transformer import TransformerEvaluator
from prune_env.seeds import derive
from prune_env.speed.ceiling import synchronise, useful_flop
from prune_env.speed.contestants import OURS
from prune_env.speed.lineup import Contender
from prune_env.speed.measure import Measured, Turn, Waiter, alternate
from prune_env.speed.plan import Settings
from prune_env.speed.requests import (
    Requests,
    ablation_sweep,
    epsilon_greedy_steps,
    gradient_episode,
    random_masks,
)
from prune_env.speed.rows import SECONDS, Row, make_row
from prune_env.speed.subject import Subject
from prune_env.types import full_mask

Case = tuple[str, str, Requests]
"""(workload, case, its questions)."""


def cases(subject: Subject, settings: Settings) -> list[Case]:
    """Draws, lists and records the questions of the workloads asked for among W1 to W4."""
    layers, heads, seed, sizes = subject.layers, subject.heads, settings.seed, settings.sizes
    found: list[Case] = []
    if "W1" in settings.workloads:
        masks = random_masks(sizes.random_masks, layers, heads, derive(seed, "speed-masks"))
        found.append(("W1", "random masks", Requests(masks)))
        found.append(("W1", "full mask", Requests(full_mask(layers, heads)[None])))
    if "W2" in settings.workloads:
        found.append(("W2", "ablation sweep", ablation_sweep(layers, heads)))
    if "W3" in settings.workloads:
        found.append(("W3", "gradient episode", gradient_episode(subject, seed)))
    if "W4" in settings.workloads:
        requests = epsilon_greedy_steps(subject, seed, sizes.steps)
        found.append(("W4", f"{sizes.steps} epsilon-greedy steps", requests))
    return found


def run_case(
    case: Case, subject: Subject, contenders: Sequence[Contender], settings: Settings, waiter: Waiter
) -> list[Row]:
    """Asks every contestant in turn."""
    workload, title, requests = case
    flop = useful_flop(subject)
    turns = {one.key: evaluation_turn(one, requests, workload, settings) for one in contenders}
    measured = alternate(turns, settings.rounds, settings.patience, waiter)
    return [
        make_row(
            workload,
            title,
            (one.name, one.dtype),
            SECONDS,
            measured[one.key],
            (len(requests), timed(one, requests)),
            flop,
        )
        for one in contenders
    ]


def timed(contender: Contender, requests: Requests) -> int:
    """Returns how many of the requests a contestant is timed on in a turn."""
    return len(requests) if contender.sample is None else min(contender.sample, len(requests))


def evaluation_turn(contender: Contender, requests: Requests, workload: str, settings: Settings) -> Turn:
    """Returns the turn of one contestant: seconds per evaluation, over all requests or a fresh sample each round."""
    device = resolve_device(settings.device)

    def turn(number: int) -> Measured:
        chosen = requests.sampled(contender.sample, derive(settings.seed, f"speed-sample-{workload}-{number}"))
        contestant = contender.make()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        synchronise(device)
        started = time.perf_counter()
        chosen.ask(contestant)
        synchronise(device)
        seconds = time.perf_counter() - started
        details = _details(contestant) if contender.name == OURS else {}
        if device.type == "cuda":
            details["device_bytes_peak"] = float(torch.cuda.max_memory_allocated(device))
        return Measured(seconds / len(chosen), details)

    return turn


def _details(contestant: object) -> dict[str, float]:
    """Returns what the evaluator's own counters say of a turn."""
    if not isinstance(contestant, TransformerEvaluator):
        return {}
    counters = contestant.counters
    return {
        "hit_rate": counters.hit_rate,
        "layers_saved": counters.layers_saved,
        "prefix_bytes_peak": float(counters.prefix_bytes_peak),
    }
