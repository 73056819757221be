"""Units of work one after the other or in processes side by side; a unit that fails does not stop the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import TypeVar

import torch

from prune_env.errors import PruneEnvError

_Unit = TypeVar("_Unit", bound=Hashable)


@contextmanager
def worker_pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """Opens one-thread processes, ended with what they are doing when this one is interrupted or killed."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(count, context, _start_worker, (os.getpid(), stop))
    try:
        yield pool
    except BaseException:
        # Ctrl-C: what is under way would take minutes to end by itself, and its records are not written yet.
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def one_by_one(
    units: Sequence[_Unit], work: Callable[[_Unit], str], failed: dict[_Unit, BaseException]
) -> Iterator[str]:
    """Runs units in this process and notes those that fail."""
    for unit in units:
        try:
            label = work(unit)
        except PruneEnvError as error:
            failed[unit] = error
        else:
            yield label


def side_by_side(
    pool: ProcessPoolExecutor, units: Sequence[_Unit], work: Callable[[_Unit], str], failed: dict[_Unit, BaseException]
) -> Iterator[str]:
    """Runs units in the pool and notes those that fail; a broken pool is raised at once."""
    with _interrupts_held():
        futures = {pool.submit(work, unit): unit for unit in units}
    for future in as_completed(futures):
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            raise error
        if error is None:
            yield future.result()
        else:
            failed[futures[future]] = error


def _start_worker(parent: int, stop: Event) -> None:
    """One thread a process, and no orphan that goes on writing after the parent was stopped or killed."""
    torch.set_num_threads(1)

    def watch() -> None:
        while not stop.wait(1.0) and os.getppid() == parent:
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Holds Ctrl-C back until the end; processes started in between inherit this and leave it to their parent."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
