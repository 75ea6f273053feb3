"""A provision that waits for the lease of a hub that may be gone, and what ends the wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from backends import RemoteModule, open_store
from hub import Hub, ModuleInfo, OperationCancelled, OperationTimeout, State
from hub.operation import Operation, Phase
from tests.hub.conftest import MakeHub
from tests.hub.shared_backend import head

pytestmark = pytest.mark.e2e

LONG_S = 60.0


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when an operation begins to wait for a lease."""
    began = threading.Event()
    pause = Operation.pause

    async def noted(self: Operation, seconds: float, phase: Phase) -> None:
        began.set()
        await pause(self, seconds, phase)

    monkeypatch.setattr(Operation, "pause", noted)
    return began


@pytest.fixture
def caller() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def provision_of_a_held_module(
    hub: Hub, backend: Path, waiting: threading.Event, caller: ThreadPoolExecutor
) -> Future[ModuleInfo]:
    other = RemoteModule(open_store(f"file://{backend}"), "m", owner="another")
    other.claim(None, "tiny", lease_s=LONG_S)
    future = caller.submit(hub.provision, "m")
    assert waiting.wait(10)
    return future


@pytest.mark.parametrize("end", ["close", "deprovision", "obliterate"])
def test_the_wait_ends_at_once(
    make_hub: MakeHub, tmp_path: Path, waiting: threading.Event, caller: ThreadPoolExecutor, end: str
) -> None:
    """Where the hub closes, or a person does not want the module any more; nothing of it is left here."""
    hub = make_hub(lease=LONG_S)
    future = provision_of_a_held_module(hub, tmp_path / "backend", waiting, caller)
    began = time.monotonic()
    if end == "close":
        hub.close()
    else:
        getattr(hub, end)("m")
    with pytest.raises(OperationCancelled):
        future.result(10)
    assert time.monotonic() - began < LONG_S / 12 / 2
    if end == "obliterate":
        assert not (tmp_path / "backend" / "m").exists()
    else:
        assert head(tmp_path / "backend")["owner"] == "another"
    assert not (tmp_path / "data" / "modules" / "m" / "data").exists()
    if end != "close":
        assert hub.modules() == ()


def test_a_caller_that_gives_up_ends_no_wait(
    make_hub: MakeHub, tmp_path: Path, waiting: threading.Event, caller: ThreadPoolExecutor
) -> None:
    """Its deadline withdraws its own request, and the status can be read meanwhile."""
    hub = make_hub(lease=LONG_S)
    future = provision_of_a_held_module(hub, tmp_path / "backend", waiting, caller)
    with pytest.raises(OperationTimeout):
        hub.provision("m", timeout=0.1)
    assert hub.module("m").state is State.PROVISIONING
    hub.deprovision("m")
    with pytest.raises(OperationCancelled):
        future.result(10)
