"""Device and dtype names, checked before any work is done."""

from __future__ import annotations

import torch

from prune_env.errors import DeviceError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """Returns the device of this name.

    Args:
        name: "cpu", "cuda" or "cuda:N".

    Raises:
        DeviceError: Another name, or a CUDA device that is not there.
    """
    kind, _, index = name.partition(":")
    if kind not in {"cpu", "cuda"} or (index and not index.isdecimal()) or (kind == "cpu" and index):
        raise DeviceError(f"expected a device such as 'cpu', 'cuda' or 'cuda:0', got {name!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {name!r} was asked for, but torch sees no CUDA device here; use device='cpu'")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise DeviceError(f"device {name!r} was asked for, but there are {torch.cuda.device_count()}, counted from 0")
    return torch.device(name)


def resolve_dtype(name: str) -> torch.dtype:
    """Returns the dtype of this name.

    Args:
        name: "float32" or "bfloat16".

    Raises:
        DeviceError: Another name.
    """
    if name not in DTYPES:
        raise DeviceError(f"expected a dtype among {', '.join(DTYPES)}, got {name!r}; float32 is the default")
    return DTYPES[name]
