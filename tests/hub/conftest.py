from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub import Hub, Kind
from tests.hub.marked import processes_of
from tests.hub.observer import Observer, observed

MakeHub = Callable[..., Hub]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")

# The smallest real server that starts fast: it serves what is in its data directory, and does as it is told.
TINY_SERVER = Path(__file__).with_name("tiny_server.py")


@pytest.fixture
def tiny() -> Kind:
    """A kind whose start takes little more than the interpreter's own."""
    return tiny_kind()


def tiny_kind(name: str = "tiny", *flags: str, **options: Any) -> Kind:
    command = [sys.executable, "-I", "-S", "-E", str(TINY_SERVER), "{port}", "{data_dir}", *flags]
    defaults: dict[str, Any] = {"stop_timeout": 5.0, "start_timeout": 20.0}
    return Kind(name, command, **defaults | options)


@pytest.fixture
def make_hub(tmp_path: Path) -> Iterator[MakeHub]:
    """Make hubs on `tmp_path`; when the test ends they are closed and nothing of them may be left."""
    hubs: list[Hub] = []

    def make(*, data: str = "data", backend: str = "backend", backend_uri: str | None = None, **options: Any) -> Hub:
        defaults: dict[str, Any] = {
            "kinds": [tiny_kind()],
            "default_kind": "tiny",
            "retry_delay": 0.02,
            "restart_delay": 0.02,
        }
        options = defaults | options
        hub = Hub(tmp_path / data, backend_uri or f"file://{tmp_path / backend}", **options).start()
        hubs.append(hub)
        return hub

    threads = set(threading.enumerate())
    yield make
    for hub in hubs:
        hub.close()
    for directory in {path.parent for path in tmp_path.glob("*/journal.sqlite3")}:
        assert processes_of(directory) == []
    assert set(threading.enumerate()) <= threads


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB that is really full when it is full. Ask for it before `make_hub`, which ends its hubs first."""
    disk = tmp_path / "small-disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)  # also when a test failed and left a hub


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A temporary directory that other users get through to, as they don't to `tmp_path`."""
    with tempfile.TemporaryDirectory(prefix="modhub-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def events() -> Iterator[Observer]:
    """The hub's log records as events, from the logger that a host would listen to."""
    with observed() as observer:
        yield observer


__all__ = ["MakeHub", "as_root", "make_hub", "tiny_kind"]
