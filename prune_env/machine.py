"""On what a number was computed: libraries, processor, device, threads. They decide the last bits of a sum."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from prune_env.victims.manifest import library_versions

_CPUINFO = Path("/proc/cpuinfo")


def versions(device: str = "cpu") -> dict[str, str]:
    """Returns the libraries' versions, the processor and the device by name: equal ones compute equal bits."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    return {**library_versions(), "processor": processor(), "device": name}


def processor() -> str:
    """Returns the processor's name, family and model, as far as the system tells them; a name alone may be generic."""
    fields: dict[str, str] = {}
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    known = [fields[name] for name in ("model name", "cpu family", "model") if fields.get(name)]
    return "/".join(known) or platform.processor() or platform.machine()


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes with one thread, as the processes of a benchmark do; another number sums in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
