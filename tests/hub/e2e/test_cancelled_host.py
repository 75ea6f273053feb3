"""An `AsyncHub` whose host is cancelled while it starts or ends."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from hub import AsyncHub, Hub, State
from hub.journal import Journal
from hub.record import ModuleRecord
from tests.hub.conftest import tiny_kind
from tests.hub.marked import processes_of

pytestmark = pytest.mark.e2e


def test_a_host_that_is_cancelled_while_it_ends_still_ends_in_good_order(tmp_path: Path) -> None:
    """A second cancellation during the end does not cut it short: processes stop, modules are hibernated."""
    backend = f"file://{tmp_path}/backend"
    kind = tiny_kind("tiny", "--stubborn", stop_timeout=0.5)

    async def scenario() -> None:
        provisioned = asyncio.Event()

        async def host() -> None:
            async with AsyncHub(tmp_path / "data", backend, kinds=[kind], default_kind="tiny") as hub:
                await hub.provision("m")
                provisioned.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(host())
        await provisioned.wait()
        task.cancel()
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert processes_of(tmp_path / "data") == []
        async with AsyncHub(tmp_path / "data", backend, kinds=[kind], default_kind="tiny") as hub:
            assert (await hub.module("m")).state is State.HIBERNATED

    asyncio.run(scenario())


def test_a_host_that_is_cancelled_while_it_starts_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while the journal is being opened: its thread is joined and the data directory free again."""
    opening, go_on = threading.Event(), threading.Event()
    open_ = Journal.open

    def slow(self: Journal) -> list[ModuleRecord]:
        opening.set()
        go_on.wait(10)
        return open_(self)

    monkeypatch.setattr(Journal, "open", slow)
    before = set(threading.enumerate())
    hub = AsyncHub(tmp_path / "data", f"file://{tmp_path}/backend")

    async def scenario() -> None:
        task = asyncio.create_task(hub.__aenter__())
        await asyncio.to_thread(opening.wait, 10)
        task.cancel()
        await asyncio.sleep(0.02)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not any(name.startswith("modhub") for name in left)
    with Hub(tmp_path / "data", f"file://{tmp_path}/backend") as again:
        assert again.modules() == ()
