"""Under which conditions a report was measured: machine, libraries, threads, and whether something else was running."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass

from prune_env.machine import versions
from prune_env.speed.plan import Settings
from prune_env.victims.training_config import native_bfloat16

BUSY = 0.25
"""Load a core, over the last minute, from which a machine counts as busy: what starts a program alone stays below."""


@dataclass(frozen=True)
class Conditions:
    """What a number depends on besides the code.

    Attributes:
        versions: Libraries, processor, device and the hash of the package's code.
        system: Operating system.
        cores: Processor cores this process may use.
        threads: Threads it computed with.
        device: As it was asked for.
        native_bfloat16: Whether the device computes bfloat16 matrix products in hardware.
        load: Mean number of running processes over 1, 5 and 15 minutes before the first measurement; empty if the
            system does not tell.
    """

    versions: dict[str, str]
    system: str
    cores: int
    threads: int
    device: str
    native_bfloat16: bool
    load: list[float]

    @property
    def busy(self) -> bool:
        """Whether something else was running, so that the numbers are worth little."""
        return bool(self.load) and self.load[0] > BUSY * self.cores


def observe(settings: Settings, cores: int) -> Conditions:
    """Notes the conditions; called before any measurement."""
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return Conditions(
        versions=versions(settings.device),
        system=f"{platform.system()} {platform.machine()}",
        cores=cores,
        threads=settings.threads,
        device=settings.device,
        native_bfloat16=native_bfloat16(settings.device),
        load=load,
    )


def warnings(conditions: Conditions, dtypes: tuple[str, ...]) -> list[str]:
    """Returns what a reader has to know before believing the numbers, one sentence each."""
    found = []
    if conditions.busy:
        found.append(
            f"The machine was busy: its load was {conditions.load[0]} on {conditions.cores} cores before anything was "
            "measured; measure again when it is idle."
        )
    if "bfloat16" in dtypes and not conditions.native_bfloat16:
        found.append("This device has no native bfloat16: its rows show an emulation.")
    return found


def peak_rss_bytes() -> float:
    """Returns the most memory this process ever held, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    # Kilobytes, but for macOS, which counts bytes.
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
