"""Large modules and small ones side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backends import Head, Progress, RemoteModule, TransferCancelled
from hub import State
from hub.lanes import LONG_BYTES
from hub.transfer_queue import TransferQueue, Turn
from tests.hub.conftest import MakeHub
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e

_TRANSFERS = 4


def test_a_small_module_is_up_while_huge_ones_transfer(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more huge, slow hydrations under way than transfers may run, a small module's provision completes.

    And its data goes home, and every huge one arrives in the end.
    """
    go_on = threading.Event()
    hydrate = RemoteModule.hydrate

    def slow(
        self: RemoteModule,
        head: Head,
        destination: Path,
        *,
        progress: Callable[[Progress], None],
        cancelled: threading.Event,
        **options: Any,
    ) -> Any:
        if self.module_id.startswith("huge"):
            progress(Progress("download", 0, LONG_BYTES + 1, 0, 1))
            while not go_on.wait(0.005):
                if cancelled.is_set():
                    raise TransferCancelled("cancelled")
        return hydrate(self, head, destination, progress=progress, cancelled=cancelled, **options)

    monkeypatch.setattr(RemoteModule, "hydrate", slow)
    hub = make_hub(max_transfers=_TRANSFERS)
    huge = [f"huge-{number}" for number in range(2 * _TRANSFERS)]
    with ThreadPoolExecutor(len(huge)) as pool:
        try:
            arriving = [pool.submit(hub.provision, name) for name in huge]
            while sum(info.state is State.PROVISIONING for info in hub.modules()) < len(huge):
                pass
            assert hub.provision("small", timeout=20).state is State.PROVISIONED
            assert hub.deprovision("small", timeout=20).state is State.UNPROVISIONED
            assert not any(provisioned.done() for provisioned in arriving)
        finally:
            go_on.set()
        assert {provisioned.result().state for provisioned in arriving} == {State.PROVISIONED}


def test_a_transfer_is_known_to_be_long_by_its_own_progress(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real transfers in both directions tell their size, yield where too many are long, and all data is there after."""
    monkeypatch.setattr("hub.lanes.LONG_BYTES", 10_000)
    long: list[tuple[str, bool]] = []
    take_long = TransferQueue.take_long

    def watched(self: TransferQueue, turn: Turn) -> None:
        take_long(self, turn)
        long.append((turn.module_id, turn.yielding))

    monkeypatch.setattr(TransferQueue, "take_long", watched)
    hub = make_hub(max_transfers=2)
    names = [f"m{number}" for number in range(6)]
    for name in names:
        put(hub.provision(name), "k", name * 10_000)
    assert long == []
    with ThreadPoolExecutor(len(names)) as pool:
        for operation in (hub.deprovision, hub.provision):
            long.clear()
            assert len(list(pool.map(operation, names))) == len(names)
            assert {module_id for module_id, _ in long} == set(names)
    for name in names:
        assert get(hub.module(name), "k") == name * 10_000
