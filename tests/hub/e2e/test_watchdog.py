"""The watchdog on real processes: crashes, budgets, hangs, idleness, retries, defects."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pykka
import pytest

from actors import Actor
from backends import BackendUnavailable
from hub import Event, ModuleFault, ModuleNotFound, Provision, State, Subscribe
from hub.operations.work import Work
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.faulty import faulty_backend
from tests.hub.observer import Observer
from tests.hub.tiny_client import get, put, tell

pytestmark = pytest.mark.e2e


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_a_crashed_module_comes_back_and_its_neighbours_notice_nothing(make_hub: MakeHub, events: Observer) -> None:
    """The first restart is immediate; another module's process is the same one as before."""
    hub = make_hub()
    info, neighbour = hub.provision("m"), hub.provision("neighbour")
    put(info, "k", "v")
    kill(info.pid)
    events.wait("module.crashed", module_id="m", exit_status=-9)
    scheduled = events.wait("module.restart.scheduled", module_id="m")
    assert scheduled["delay_ms"] == 0
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert get(hub.module("m"), "k") == "v"
    assert hub.module("neighbour").pid == neighbour.pid


def test_restarts_back_off_and_a_spent_budget_sends_the_data_home(make_hub: MakeHub, events: Observer) -> None:
    """Past the budget the module is unprovisioned, its data at home, and provision starts from that."""
    hub = make_hub(restart_limit=3, restart_period=60.0)
    info = hub.provision("m")
    put(info, "k", "v")
    for crash in range(1, 5):
        kill(hub.module("m").pid)
        if crash < 4:
            events.wait(
                "module.transition", module_id="m", from_state="recovering", to_state="provisioned", count=crash
            )
    events.wait("module.restart.exhausted", module_id="m")
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="unprovisioned")
    delays = [r["delay_ms"] for r in events.all("module.restart.scheduled", module_id="m")]
    assert delays[0] == 0
    assert 0 < delays[1] < delays[2]
    assert get(hub.provision("m"), "k") == "v"


def test_a_module_that_cannot_start_again_keeps_its_data(make_hub: MakeHub, events: Observer) -> None:
    """Recovery attempts that fail are counted against the budget; then the data goes home."""
    hub = make_hub(kinds=[tiny_kind("tiny", "--broken-once-used")], restart_limit=2)
    info = hub.provision("m")
    put(info, "used", "v")
    kill(info.pid)
    events.wait("module.transition", module_id="m", to_state="unprovisioned")
    assert len(events.all("module.transition", module_id="m", to_state="recovering")) == 3
    attempts = events.all("operation.failed", module_id="m", operation="recover")
    assert [a["error_type"] for a in attempts] == ["RecoverFailed", "RecoverFailed"]


def test_with_the_backend_down_a_spent_budget_leaves_dirty_data_that_goes_home_later(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """Unprovisioned and dirty: the watchdog keeps trying to send it home, and loses nothing meanwhile."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(restart_limit=0)
    info = hub.provision("m")
    put(info, "k", "v")
    faults.on("put", BackendUnavailable("down"))
    kill(info.pid)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="unprovisioned")
    events.wait("module.retry.scheduled", module_id="m", operation="deprovision", count=2)
    assert hub.module("m").dirty
    faults.clear()
    events.wait("dehydration.completed", module_id="m")
    events.wait("module.transition", module_id="m", from_state="deprovisioning", to_state="unprovisioned")
    assert get(hub.provision("m"), "k") == "v"


def test_a_process_that_ends_by_itself_is_a_crash_like_any_other(make_hub: MakeHub, events: Observer) -> None:
    """An exit that nobody asked for is seen at once, with its status, and recovered."""
    hub = make_hub()
    tell(hub.provision("m"), "QUIT")
    events.wait("module.crashed", module_id="m", exit_status=7)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")


def test_a_hung_process_is_killed_and_recovered(make_hub: MakeHub, events: Observer) -> None:
    """A stopped process still has its port open, but misses its probes; after N misses it counts as crashed."""
    hub = make_hub(kinds=[tiny_kind(live="http:/health")], live_interval=0.05, live_timeout=0.1, live_misses=2)
    info = hub.provision("m")
    assert info.pid is not None
    os.kill(info.pid, signal.SIGSTOP)
    events.wait("module.hung", module_id="m", misses=2)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert hub.module("m").pid != info.pid


def test_an_unused_module_is_sent_home(make_hub: MakeHub, events: Observer) -> None:
    """Idle for its timeout it is deprovisioned, not hibernated, and comes back with its data."""
    hub = make_hub(idle_timeout=0.2, sweep_interval=0.05)
    put(hub.provision("m"), "k", "v")
    events.wait("module.idle", module_id="m")
    events.wait("module.transition", module_id="m", to_state="unprovisioned", reason="done")
    assert events.all("module.transition", module_id="m", to_state="hibernating") == []
    assert get(hub.provision("m"), "k") == "v"


def test_a_hibernated_module_is_sent_home_after_its_own_timeout(make_hub: MakeHub, events: Observer) -> None:
    """Hibernated longer than `hibernated_timeout`, its data goes home."""
    hub = make_hub(hibernated_timeout=0.2, sweep_interval=0.05)
    hub.provision("m")
    hub.hibernate("m")
    events.wait("module.transition", module_id="m", from_state="deprovisioning", to_state="unprovisioned")


def test_connections_and_touch_keep_a_module(make_hub: MakeHub, events: Observer) -> None:
    """An open connection on its port, or being touched, is activity; the hub's own probes are not."""
    hub = make_hub(idle_timeout=0.5, sweep_interval=0.05, live_interval=0.05)
    connected, touched, probed = (hub.provision(module_id) for module_id in ("connected", "touched", "probed"))
    del touched
    assert connected.port is not None
    with socket.create_connection(("127.0.0.1", connected.port)):
        while not events.all("module.transition", module_id=probed.module_id, to_state="unprovisioned"):
            hub.touch("touched")
        assert events.all("module.idle", module_id="connected") == []
        assert events.all("module.idle", module_id="touched") == []
    events.wait("module.idle", module_id="connected")


def test_nobody_is_sent_home_while_the_backend_is_down(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """An idle module goes on serving while it could not be sent home."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(idle_timeout=0.1, sweep_interval=0.05, breaker_failures=5, breaker_delay=0.05)
    info = hub.provision("m")
    faults.on("check", BackendUnavailable("down"))
    events.wait("backend.failed", count=5)
    events.wait("backend.unavailable")
    assert hub.module("m").pid == info.pid
    faults.clear()
    events.wait("backend.available")
    events.wait("module.transition", module_id="m", to_state="unprovisioned")


def test_a_defect_is_logged_answered_and_resolved(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """An unexpected exception in a module's actor: its caller gets `ModuleFault`, the module is resolved, data kept."""
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    neighbour = hub.provision("neighbour")
    stop = Work.stop_instance

    async def broken(self: Work, *, force: bool) -> bool:
        monkeypatch.setattr(Work, "stop_instance", stop)
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Work, "stop_instance", broken)
    with pytest.raises(ModuleFault, match="a defect"):
        hub.hibernate("m")
    failed = events.wait("hub.actor_failed")
    assert "ZeroDivisionError: a defect" in failed["traceback"]
    events.wait("module.resolved", module_id="m", from_state="hibernating", to_state="hibernated")
    assert get(hub.provision("m"), "k") == "v"
    assert hub.module("neighbour").pid == neighbour.pid


def test_a_commit_that_was_not_journalled_is_no_conflict(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """Interrupted between the commit and its own journal, a deprovision is finished: the head moved by our own hand."""
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    note = Work.note

    async def broken(self: Work, step: str, **changes: object) -> None:
        monkeypatch.setattr(Work, "note", note)
        assert step == "committed"
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Work, "note", broken)
    with pytest.raises(ModuleFault):
        hub.deprovision("m")
    events.wait("module.resolved", module_id="m", from_state="deprovisioning", to_state="crashed")
    events.wait("module.transition", module_id="m", from_state="deprovisioning", to_state="unprovisioned")
    assert get(hub.provision("m"), "k") == "v"


def test_a_module_with_a_defect_that_stays_is_parked_until_a_person_acts(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """Past the intensity it is `crashed` and left alone; once the defect is gone, provision brings it back."""
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    stop = Work.stop_instance

    async def broken(self: Work, *, force: bool) -> bool:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Work, "stop_instance", broken)
    for _ in range(3):
        with pytest.raises(ModuleFault):
            hub.hibernate("m")
        hub.provision("m")
    with pytest.raises(ModuleFault):
        hub.hibernate("m")
    events.wait("module.parked", module_id="m")
    parked = hub.module("m")
    assert (parked.state, parked.dirty) == (State.CRASHED, True)
    assert "a defect" in str(parked.last_error)
    assert events.all("module.restart.scheduled", module_id="m") == []
    monkeypatch.setattr(Work, "stop_instance", stop)
    assert get(hub.provision("m"), "k") == "v"


def test_many_crashes_at_once_are_all_recovered(make_hub: MakeHub, events: Observer) -> None:
    """A mass crash is recovered within the fleet's budget of starts, none forgotten."""
    hub = make_hub()
    names = [f"m{number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        infos = list(pool.map(hub.provision, names))
    for info in infos:
        kill(info.pid)
    for name in names:
        events.wait("module.transition", module_id=name, from_state="recovering", to_state="provisioned")
    assert {info.state for info in hub.modules()} == {State.PROVISIONED}


def test_the_log_alone_tells_every_state(make_hub: MakeHub, events: Observer) -> None:
    """Replaying the transitions in the log gives the state of every module that the hub shows."""
    hub = make_hub()
    for module_id in ("a", "b", "c"):
        hub.provision(module_id)
    hub.hibernate("a")
    hub.deprovision("b")
    kill(hub.module("c").pid)
    events.wait("module.transition", module_id="c", from_state="recovering", to_state="provisioned")
    states: dict[str, str] = {}
    for record in events.all("module.transition"):
        assert states.get(record["module_id"], "unprovisioned") == record["from_state"]
        states[record["module_id"]] = record["to_state"]
    shown = {info.module_id: info.state.value for info in hub.modules()}
    assert {m: s for m, s in states.items() if s != "unprovisioned"} == shown


class Collector(pykka.ThreadingActor):
    """A plain pykka actor that is sent the hub's events."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Event] = []

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Event):
            self.seen.append(message)
            return None
        return list(self.seen)


def test_a_pykka_actor_subscribes_to_events(make_hub: MakeHub) -> None:
    """Every event reaches a subscriber in order; one that has ended is forgotten."""
    hub = make_hub()
    collector = Collector.start()
    try:
        hub.registry.ask(Subscribe(collector))
        hub.provision("m")
        hub.hibernate("m")
        seen: list[Event] = collector.ask("seen", block=True)
        states = [e.fields["to_state"] for e in seen if e.name == "module.transition"]
        assert states == ["provisioning", "provisioned", "hibernating", "hibernated"]
    finally:
        collector.stop()
    hub.wake("m")
    assert hub.module("m").state == State.PROVISIONED


class Mirror(Actor):
    """A plugin that provisions a twin for each module that appears; and fails on one it does not like."""

    def __init__(self, registry: Any) -> None:
        super().__init__()
        self._registry = registry

    async def on_start(self) -> None:
        await self._registry.ask_async(Subscribe(self.actor_ref))

    async def on_receive(self, message: Any) -> None:
        match message:
            case Event("module.transition", "poison"):
                raise ZeroDivisionError
            case Event("module.transition", "m", _, {"to_state": "provisioned"}):
                await self._registry.ask_async(Provision("twin"))
            case _:
                pass


def test_a_plugin_works_the_hub_and_cannot_take_it_down(make_hub: MakeHub, events: Observer) -> None:
    """A plugin subscribes and sends operations; one that crashes is restarted and harms nobody."""
    hub = make_hub(plugins=[Mirror])
    hub.provision("poison")
    events.wait("hub.actor_failed", actor="plugin/Mirror-0")
    hub.provision("m")
    events.wait("module.transition", module_id="twin", to_state="provisioned")


class Hearer(Actor):
    """A plugin that subscribes whenever it is started, fails on one event, and keeps the others."""

    heard: ClassVar[list[Event]] = []

    def __init__(self, registry: Any) -> None:
        super().__init__()
        self._registry = registry

    async def on_start(self) -> None:
        await self._registry.ask_async(Subscribe(self.actor_ref))

    def on_receive(self, message: Any) -> None:
        match message:
            case Event("module.transition", "poison", _, {"to_state": "provisioned"}):
                raise ZeroDivisionError
            case _:
                Hearer.heard.append(message)


def test_a_plugin_that_was_restarted_hears_each_event_once(make_hub: MakeHub, events: Observer) -> None:
    """An actor has one subscription, however often it asks for it: it does so again at each restart."""
    Hearer.heard.clear()
    hub = make_hub(plugins=[Hearer])
    hub.provision("poison")
    events.wait("hub.actor_failed", actor="plugin/Hearer-0")
    hub.provision("m")
    hub.hibernate("m")
    deadline = time.monotonic() + 5
    while not any(e.module_id == "m" and e.fields.get("to_state") == "hibernated" for e in Hearer.heard):
        assert time.monotonic() < deadline, "the restarted plugin does not hear"
        time.sleep(0.01)
    hub.modules()  # what was told twice has arrived by then
    numbers = [e.number for e in Hearer.heard]
    assert numbers == sorted(set(numbers))


def test_many_refusals_leave_no_actor_behind(make_hub: MakeHub) -> None:
    """The cell of a module that holds nothing is dropped once it is idle."""
    hub = make_hub()
    for number in range(50):
        with pytest.raises(ModuleNotFound):
            hub.wake(f"m{number}")
        hub.obliterate(f"m{number}")
    system = hub.registry.cell.system
    deadline = time.monotonic() + 5
    while any(info.class_name == "Module" for info in system.actors()):
        assert time.monotonic() < deadline, "cells of modules that hold nothing are still there"
