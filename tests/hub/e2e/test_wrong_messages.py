"""Messages that make no sense, and what must not follow from them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from actors import Actor
from hub import ModuleFault, Provision, State, Subscribe
from hub.messages import DescribeOperation
from hub.registry import Registry
from tests.hub.conftest import MakeHub
from tests.hub.observer import Observer
from tests.hub.slow import slow_hydration

pytestmark = pytest.mark.e2e

NONSENSE: dict[str, Any] = {
    "no message": "hello",
    "a kind that is no text": Provision("m", kind=["tiny"]),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # nonsense is the point
    "an operation id that is no text": DescribeOperation(["x"]),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # as above
    "a subscriber that is no actor": Subscribe("nobody"),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # as above
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_never_leads_to_two_operations_on_one_module(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer, case: str
) -> None:
    """After any message at all, what arrives for a busy module still waits behind the operation that runs on it."""
    begun, go_on = slow_hydration(monkeypatch)
    hub = make_hub()
    with ThreadPoolExecutor() as pool:
        try:
            first = pool.submit(hub.provision, "m")
            assert begun.wait(10)
            with pytest.raises(TypeError):
                hub.registry.ask(NONSENSE[case], timeout=10)
            second = pool.submit(hub.provision, "m", timeout=20)
            third = pool.submit(hub.provision, "other", timeout=20)
        finally:
            go_on.set()
        assert first.result(20).pid == second.result(20).pid
        assert third.result(20).state is State.PROVISIONED
    entered = events.all("module.transition", module_id="m", to_state="provisioning")
    assert len(entered) == 1
    assert events.all("hub.actor_failed") == []


def test_a_defect_in_the_registry_does_not_make_a_second_actor_for_a_module(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """Restarted after an unexpected exception, it still knows every cell: operations on one module stay in line."""
    begun, go_on = slow_hydration(monkeypatch)
    hub = make_hub()
    touch = Registry._touch  # pyright: ignore[reportPrivateUsage] # where the defect is put

    def broken(self: Registry, module_id: str) -> Any:
        monkeypatch.setattr(Registry, "_touch", touch)
        raise ZeroDivisionError("a defect")

    with ThreadPoolExecutor() as pool:
        try:
            first = pool.submit(hub.provision, "m")
            assert begun.wait(10)
            monkeypatch.setattr(Registry, "_touch", broken)
            with pytest.raises(ModuleFault):
                hub.touch("m")
            second = pool.submit(hub.provision, "m", timeout=20)
            hub.modules()  # answered by the restarted registry, after what was sent to it before
        finally:
            go_on.set()
        assert first.result(20).pid == second.result(20).pid
    assert len(events.all("module.transition", module_id="m", to_state="provisioning")) == 1


class Slow(Actor):
    """A plugin that takes its time for each event."""

    mailbox_capacity = 1

    def __init__(self, registry: Any) -> None:
        super().__init__()
        self._registry = registry

    async def on_start(self) -> None:
        await self._registry.ask_async(Subscribe(self.actor_ref))

    async def on_receive(self, message: Any) -> None:
        await anyio.sleep(1)


def test_a_subscriber_that_cannot_keep_up_costs_events_and_nothing_else(make_hub: MakeHub, events: Observer) -> None:
    """A plugin whose mailbox is full does not fail the operations that it would hear of."""
    hub = make_hub(plugins=[Slow])
    for _ in range(3):
        hub.provision("m")
        hub.hibernate("m")
    assert events.all("hub.actor_failed") == []
