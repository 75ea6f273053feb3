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
from tests.hub.conftest import MakeHub

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
