"""What waits for a module ends the transfers that it makes pointless."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from hub import Obliterate, OperationCancelled
from hub.instance.local import LocalInstance
from tests.hub.conftest import MakeHub
from tests.hub.observer import Observer
from tests.hub.tiny_client import put

pytestmark = pytest.mark.e2e


def test_a_dehydration_does_not_start_while_an_obliterate_waits(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """An obliterate that arrives before a deprovision's transfer began: nothing is sent home any more."""
    collecting, go_on = threading.Event(), threading.Event()

    async def held(self: LocalInstance) -> None:
        collecting.set()
        while not go_on.is_set():  # noqa: ASYNC110 - set by the thread of the test
            await anyio.sleep(0.005)

    monkeypatch.setattr(LocalInstance, "collect_garbage", held)
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    with ThreadPoolExecutor() as pool:
        try:
            going_home = pool.submit(hub.deprovision, "m", timeout=20)
            assert collecting.wait(10)
            erased = hub.registry.ask(Obliterate("m"), block=False, timeout=20)
            hub.modules()  # the registry has forwarded what came before this
        finally:
            go_on.set()
        with pytest.raises(OperationCancelled):
            going_home.result()
    assert erased.get(timeout=20).remaining == 0
    assert events.all("dehydration.completed") == []
