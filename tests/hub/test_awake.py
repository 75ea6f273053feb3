"""Bringing modules up for many who wait at one time."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from hub import AsyncHub, OperationTimeout, ProvisionFailed, State
from hub.awake import Awakener
from hub.errors import HubClosed, ModuleNotFound
from hub.messages import Describe
from tests.hub.conftest import tiny_kind
from tests.hub.observer import Observer

Scenario = Callable[[AsyncHub, Awakener], Coroutine[Any, Any, None]]


def run(tmp_path: Path, scenario: Scenario, *flags: str, **options: Any) -> None:
    async def main() -> None:
        kind = tiny_kind("tiny", *flags, **options)
        hub = AsyncHub(tmp_path / "data", f"file://{tmp_path}/backend", kinds=[kind], default_kind="tiny")
        async with hub:
            awakener = Awakener(hub.registry, asked_by="a test")
            try:
                await scenario(hub, awakener)
            finally:
                await awakener.aclose()

    asyncio.run(main())


async def asleep(hub: AsyncHub) -> Path:
    """Have the module sleep; returns its data directory."""
    await hub.provision("m")
    directory = (await hub.hibernate("m")).data_dir
    assert directory is not None
    return directory


def test_a_hundred_waiters_are_one_wake(tmp_path: Path, events: Observer) -> None:
    """All get the module that one wake brought up."""

    async def scenario(hub: AsyncHub, awakener: Awakener) -> None:
        await asleep(hub)
        infos = await asyncio.gather(*(awakener.up("m", 20) for _ in range(100)))
        assert {info.state for info in infos} == {State.PROVISIONED}
        assert len({info.pid for info in infos}) == 1

    run(tmp_path, scenario)
    assert len(events.all("module.transition", module_id="m", to_state="waking")) == 1
    # Not even queued: each further provision would have been answered, and none was asked for.
    assert len(events.all("instance.started", module_id="m")) == 2


def test_a_waiter_past_its_deadline_leaves_the_wake_to_the_others(tmp_path: Path) -> None:
    """It gets a typed error that says the operation goes on; the others get the module."""

    async def scenario(hub: AsyncHub, awakener: Awakener) -> None:
        await asleep(hub)
        patient = asyncio.create_task(awakener.up("m", 20))
        with pytest.raises(OperationTimeout, match="goes on as operation") as caught:
            await awakener.up("m", 0.001)
        assert caught.value.started
        assert (await patient).state is State.PROVISIONED
        assert (await hub.operation(caught.value.op_id)).status == "done"

    run(tmp_path, scenario)


def test_a_cancelled_waiter_leaves_a_wake_that_has_begun(tmp_path: Path, events: Observer) -> None:
    """It was the only one, and yet the module comes up."""

    async def scenario(hub: AsyncHub, awakener: Awakener) -> None:
        await asleep(hub)
        only = asyncio.create_task(awakener.up("m", 20))
        await asyncio.to_thread(events.wait, "module.transition", module_id="m", to_state="waking")
        only.cancel()
        with pytest.raises(asyncio.CancelledError):
            await only
        await asyncio.to_thread(events.wait, "module.transition", from_state="waking", to_state="provisioned")
        assert (await awakener.up("m", 1)).state is State.PROVISIONED

    run(tmp_path, scenario)


def test_a_wake_that_nobody_waits_for_any_more_never_begins(tmp_path: Path, events: Observer) -> None:
    """It waited behind another operation: past the last waiter's deadline it is withdrawn."""

    async def scenario(hub: AsyncHub, awakener: Awakener) -> None:
        await hub.provision("m")
        stopping = asyncio.create_task(hub.hibernate("m"))
        await asyncio.to_thread(events.wait, "module.transition", module_id="m", to_state="hibernating")
        with pytest.raises(OperationTimeout, match="never will be") as caught:
            await awakener.up("m", 0.05)
        assert not caught.value.started
        with pytest.raises(Exception, match="did not stop"):
            await stopping
        assert len(events.all("instance.started", module_id="m")) == 1

    run(tmp_path, scenario, "--stubborn", stop_timeout=0.5)


def test_a_failed_wake_is_told_to_all_and_tried_anew_by_the_next(tmp_path: Path, events: Observer) -> None:
    """Each waiter gets the typed error; it is not remembered."""

    async def scenario(hub: AsyncHub, awakener: Awakener) -> None:
        (await asleep(hub) / "used").touch()
        outcomes = await asyncio.gather(*(awakener.up("m", 20) for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ProvisionFailed] * 3
        with pytest.raises(ProvisionFailed):
            await awakener.up("m", 20)

    run(tmp_path, scenario, "--broken-once-used")
    assert len(events.all("module.transition", module_id="m", to_state="waking")) == 2


def test_who_waits_behind_an_obliteration_makes_no_new_module(tmp_path: Path, events: Observer) -> None:
    """It was there when it was asked for; obliterated, it is not found, and nothing of its name begins anew."""

    async def scenario(hub: AsyncHub, awakener: Awakener) -> None:
        await asleep(hub)
        going = asyncio.create_task(hub.obliterate("m"))
        await asyncio.to_thread(events.wait, "module.transition", module_id="m", to_state="obliterating")
        with pytest.raises(ModuleNotFound):
            await awakener.up("m", 20)
        await going
        with pytest.raises(ModuleNotFound):
            await awakener.up("m", 20)
        assert (await hub.provision("m")).kind == "tiny"

    run(tmp_path, scenario)
    assert len(events.all("module.transition", module_id="m", to_state="provisioning")) == 2


def test_its_end_ends_all_waits(tmp_path: Path, events: Observer) -> None:
    """Whoever waits gets `HubClosed` at once; what has begun goes on in the hub."""

    async def scenario(hub: AsyncHub, awakener: Awakener) -> None:
        await asleep(hub)
        waiting = asyncio.create_task(awakener.up("m", 20))
        await asyncio.to_thread(events.wait, "module.transition", module_id="m", to_state="waking")
        await awakener.aclose()
        with pytest.raises(HubClosed):
            await waiting
        assert (await hub.ask(Describe("m"))).state in {State.WAKING, State.PROVISIONED}

    run(tmp_path, scenario)


def test_a_crashed_module_is_left_to_the_watchdog(tmp_path: Path, events: Observer) -> None:
    """Who knocks neither hurries its restart nor spends its budget; once it is back, it is up."""

    async def main() -> None:
        options: dict[str, Any] = {"kinds": [tiny_kind("tiny")], "default_kind": "tiny", "restart_delay": 1.0}
        async with AsyncHub(tmp_path / "data", f"file://{tmp_path}/backend", **options) as hub:
            awakener = Awakener(hub.registry, asked_by="a test")
            first = await hub.provision("m")
            assert first.pid
            os.kill(first.pid, signal.SIGKILL)
            second = await awakener.up("m", 20)  # at once, the first time
            while second.pid in {first.pid, None}:
                await asyncio.sleep(0.01)
                second = await hub.module("m")
            os.kill(second.pid or 0, signal.SIGKILL)
            while (await hub.module("m")).state is not State.CRASHED:  # noqa: ASYNC110 - as a caller sees it
                await asyncio.sleep(0.01)
            with pytest.raises(OperationTimeout, match="never will be"):
                await awakener.up("m", 0.1)
            assert (await awakener.up("m", 20)).restarts == 2
            await awakener.aclose()

    asyncio.run(main())
    reasons = [e["reason"] for e in events.all("module.transition", module_id="m", to_state="recovering")]
    assert reasons == ["recover", "recover"]
