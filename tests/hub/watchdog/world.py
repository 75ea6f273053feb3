"""A hub's part around leases, on a virtual clock, against a backend that is a dictionary."""

# It gives modules leases that nobody asked for.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from actors import ActorSystem, OneForOne
from actors.testing import Recorder, run_virtual
from backends import BackendUnavailable, Head, HeadConflict
from hub.availability import Availability
from hub.breaker import BreakerPolicy
from hub.config import configure
from hub.directory import Directory, Entry
from hub.events import Event, EventBus
from hub.instance import Instance
from hub.layout import Layout
from hub.lease_keeper import LeaseKeeper
from hub.lifecycle import State
from hub.record import ModuleRecord
from hub.services import Services
from hub.transfers import Transfers
from hub.watchdog.leases import LeaseWatch
from hub.watchdog.relisting import Relisting
from hub.workers import Workers

LEASE_S, SLEEPERS_S = 120.0, 3600.0


def a_head(owner: str = "me") -> Head:
    return Head(1, owner, 1, "store", None, None, tombstone=False, etag="e")


class World:
    """A hub's part around leases: everything real but the backend, the threads and the modules' actors."""

    def __init__(self, **options: Any) -> None:
        self.loop = asyncio.get_running_loop()
        config = configure(
            data_dir="/nowhere", backend="file:///nowhere", lease=LEASE_S, hibernated_lease=SLEEPERS_S, **options
        )
        self.heard: list[Event] = []
        self.asked: list[tuple[float, str, float]] = []
        self.first_asked = asyncio.Event()
        self.given_back: list[str] = []
        self.holders: dict[str, str] = {}
        self.fault: Exception | None = None
        self.takes_s = 0.01
        self.passed_s = self.passes_s = 0.0
        self.hanging: set[str] = set()
        self.running = Counter[str]()
        self.most = 0
        bus = EventBus()
        bus.subscribe(self.heard.append)
        layout = Layout(Path("/nowhere"))
        self.directory = Directory(layout, self.loop.time)
        self.availability = Availability(BreakerPolicy(3, 3600.0, 3600.0), bus, self.loop.time)
        transfers = cast(
            "Transfers", SimpleNamespace(availability=self.availability, remote=self._remote, release=self._release)
        )
        workers = cast("Workers", SimpleNamespace(renew=self._on_thread, request=self._on_thread))
        self.leases = LeaseKeeper(
            config,
            layout=layout,
            directory=self.directory,
            transfers=transfers,
            workers=workers,
            bus=bus,
            clock=lambda: self.loop.time() + self.passed_s,
            chance=lambda: 0.0,
        )
        self.services = cast(
            "Services",
            SimpleNamespace(
                config=config,
                directory=self.directory,
                bus=bus,
                transfers=transfers,
                leases=self.leases,
                clock=self.loop.time,
                closing=False,
            ),
        )

    def _remote(self, module_id: str) -> Any:
        def renew(claim: str, *, lease_s: float) -> Head:
            self.asked.append((self.loop.time(), module_id, lease_s))
            self.first_asked.set()
            self.passed_s += self.passes_s
            if self.fault is not None:
                raise self.fault
            if (holder := self.holders.get(module_id, claim)) != claim:
                raise HeadConflict("taken", current=a_head(holder))
            return a_head()

        def release(head: Head) -> bool:
            del head
            self.given_back.append(module_id)
            return True

        return SimpleNamespace(renew=renew, release=release, module_id=module_id)

    async def _release(self, module_id: str, claim: str) -> None:
        assert claim == f"me/{module_id}"
        self.given_back.append(module_id)

    async def _on_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        self.running["all"] += 1
        self.most = max(self.most, self.running["all"])
        try:
            before = len(self.asked)
            result: Any = None
            error: Exception | None = None
            try:
                result = function(*args)
            except Exception as raised:
                error = raised
            asked = self.asked[before:]
            await asyncio.sleep(600 if asked and asked[0][1] in self.hanging else self.takes_s)
            if error is not None:
                raise error
            return result
        finally:
            self.running["all"] -= 1

    def module(self, module_id: str, state: State = State.PROVISIONED, **fields: Any) -> Entry:
        """A module that this hub holds, its lease just renewed."""
        given: dict[str, Any] = {"dirty": True, "base": f"me/{module_id}"} | fields
        entry = self.directory.put(ModuleRecord(module_id, "store", state, **given))
        if state is State.PROVISIONED:
            entry.instance = cast("Instance", SimpleNamespace())
        return entry

    def held(self, module_id: str, state: State = State.PROVISIONED) -> Entry:
        entry = self.module(module_id, state)
        self.leases._hold(entry, f"me/{module_id}", self.loop.time(), self.leases.policy.wanted_s(state))
        return entry

    def enter(self, entry: Entry, **changes: Any) -> None:
        self.directory.put(msgspec.structs.replace(entry.record, **changes))

    def told(self, name: str) -> list[Event]:
        return [event for event in self.heard if event.name == name]

    def times(self, module_id: str) -> list[float]:
        return [at for at, name, _ in self.asked if name == module_id]

    def go_down(self) -> None:
        self.fault = BackendUnavailable("down")

    def notice(self) -> None:
        for _ in range(3):
            with pytest.raises(BackendUnavailable), self.availability.learning():
                raise BackendUnavailable("down")

    def come_back(self) -> None:
        self.fault = None
        with self.availability.attempting():
            pass


Start = Callable[..., Any]
Scenario = Callable[[World, list[Any], Start], Awaitable[None]]


def virtual(**options: Any) -> Callable[[Scenario], Callable[[], None]]:
    """Run a test with a world, the orders that its registry got, and a function that starts the watch."""

    def decorate(test: Scenario) -> Callable[[], None]:
        async def scenario() -> None:
            world = World(**options)
            orders: list[Any] = []
            async with ActorSystem("test", on_failure=lambda _: None) as system:
                system.spawn(Recorder, orders.append, name="registry")

                def start(watch: type[LeaseWatch | Relisting] = LeaseWatch) -> Any:
                    return system.spawn(watch, world.services, name="watch", supervision=OneForOne())

                await test(world, orders, start)

        def run() -> None:
            run_virtual(scenario)

        # Not functools.wraps: pytest would take the world for a fixture.
        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate
