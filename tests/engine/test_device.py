"""Names of devices and dtypes."""

from __future__ import annotations

import pytest
import torch

from prune_env.engine.device import resolve_device, resolve_dtype
from prune_env.errors import DeviceError


def test_known_names() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_dtype("float32") is torch.float32
    assert resolve_dtype("bfloat16") is torch.bfloat16


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cpu:0", "CUDA"])
def test_unknown_device_names_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="expected a device"):
        resolve_device(name)


def test_a_missing_cuda_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="sees no CUDA device"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1").index == 1
    with pytest.raises(DeviceError, match="there are 2"):
        resolve_device("cuda:2")


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(DeviceError, match="float32, bfloat16"):
        resolve_dtype("float16")
