"""A disk that deletes slowly."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hub import State
from hub.layout import Layout
from tests.hub.conftest import MakeHub, tiny_kind

pytestmark = pytest.mark.e2e


def test_deleting_large_modules_holds_up_no_start(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """While many modules' local data is being deleted, for minutes perhaps, another module starts as ever."""
    go_on = threading.Event()
    erase = Layout.erase

    def slow(self: Layout, module_id: str) -> int:
        go_on.wait(20)
        return erase(self, module_id)

    hub = make_hub(kinds=[tiny_kind(start_timeout=3.0)])
    names = [f"m{number}" for number in range(6)]
    for name in names:
        hub.provision(name)
    monkeypatch.setattr(Layout, "erase", slow)
    with ThreadPoolExecutor() as pool:
        try:
            going = [pool.submit(hub.deprovision, name) for name in names]
            while any(info.state is not State.UNPROVISIONED for info in hub.modules()):
                pass
            assert hub.provision("other", timeout=10).state is State.PROVISIONED
        finally:
            go_on.set()
        for done in going:
            done.result()
