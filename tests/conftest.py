"""What every test gets: one thread, no model hub, a cache folder of its own, and skips that say why."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before anything imports torch or transformers, which read these once; child processes inherit them.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
_CACHE = tempfile.TemporaryDirectory(prefix="prune-env-tests-", ignore_cleanup_errors=True)
os.environ["PRUNE_ENV_CACHE"] = _CACHE.name

_NO_REAL_DATA = "set PRUNE_ENV_DATA to the folder that `prune-env data fetch` filled"


def _real_data_folder() -> Path | None:
    folder = os.environ.get("PRUNE_ENV_DATA")
    return Path(folder).resolve() if folder else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests that need what this machine does not have, and says what that is."""
    if item.get_closest_marker("real") and _real_data_folder() is None:
        pytest.skip(_NO_REAL_DATA)
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device, and torch sees none")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets."""
    folder = _real_data_folder()
    if folder is None:
        pytest.skip(_NO_REAL_DATA)
    if not folder.is_dir():
        pytest.fail(f"PRUNE_ENV_DATA names {folder}, which is not a folder")
    return folder


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user cache folder for one test; the other tests share one for the session."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuses connections that leave this machine, so that no test comes to depend on one."""
    connect = socket.socket.connect

    def local_only(sock: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "local"
        if host not in {"local", "localhost", "127.0.0.1", "::1"}:
            raise OSError(f"tests use no network, and this one connects to {host}")
        connect(sock, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_only)
        yield
