"""Operations on real processes, through the public API."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hub import (
    AsyncHub,
    HibernateFailed,
    Hub,
    HubClosed,
    InvalidModuleId,
    KindMismatch,
    ModuleNotFound,
    Obliterate,
    OperationCancelled,
    OperationTimeout,
    ProvisionFailed,
    State,
    UnknownKind,
)
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.marked import processes_of
from tests.hub.observer import Observer
from tests.hub.resp import command
from tests.hub.slow import slow_hydration
from tests.hub.tiny_client import get, put, tell

pytestmark = pytest.mark.e2e


def files_below(path: Path) -> list[str]:
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def test_a_redis_module_goes_through_its_whole_life(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """Data written to redis survives hibernation, kill -9, and the way home and back; obliteration leaves nothing."""
    hub = make_hub()
    info = hub.provision("t-1", kind="redis")
    assert (info.state, info.kind, info.dirty, info.url) == (
        "provisioned",
        "redis",
        True,
        f"http://127.0.0.1:{info.port}",
    )
    assert info.port is not None
    assert info.pid is not None
    assert command(info.port, "SET", "k", "v1") == "OK"

    asleep = hub.hibernate("t-1")
    assert (asleep.state, asleep.pid, asleep.port) == (State.HIBERNATED, None, info.port)
    awake = hub.wake("t-1")
    assert awake.port == info.port
    assert command(info.port, "GET", "k") == "v1"

    assert awake.pid is not None
    os.kill(awake.pid, signal.SIGKILL)
    events.wait("module.transition", module_id="t-1", from_state="recovering", to_state="provisioned")
    recovered = hub.module("t-1")
    assert recovered.restarts == 1
    assert recovered.port is not None
    assert command(recovered.port, "GET", "k") == "v1"

    gone = hub.deprovision("t-1")
    assert (gone.state, gone.dirty, gone.data_dir) == (State.UNPROVISIONED, False, None)
    assert files_below(tmp_path / "data" / "modules") == []
    assert hub.modules() == ()
    back = hub.provision("t-1")
    assert back.kind == "redis"
    assert back.port is not None
    assert command(back.port, "GET", "k") == "v1"

    report = hub.obliterate("t-1")
    assert report.blobs > 0
    assert report.local_bytes > 0
    assert report.remaining == 0
    assert files_below(tmp_path / "backend") == []
    assert not [f for f in files_below(tmp_path / "data") if "t-1" in f]
    with pytest.raises(ModuleNotFound):
        hub.module("t-1")


def test_what_is_so_already_is_success_without_a_transition(make_hub: MakeHub, events: Observer) -> None:
    """Repeating an operation on a module that is where it leads does nothing and succeeds."""
    hub = make_hub()
    first = hub.provision("m")
    count = len(events.all("module.transition"))
    assert hub.provision("m").pid == hub.wake("m").pid == first.pid
    assert len(events.all("module.transition")) == count
    hub.hibernate("m")
    count = len(events.all("module.transition"))
    assert hub.hibernate("m").state == State.HIBERNATED
    assert len(events.all("module.transition")) == count
    hub.obliterate("m")
    assert hub.deprovision("m").state == State.UNPROVISIONED


def test_what_was_deleted_can_be_asked_for_afterwards(make_hub: MakeHub) -> None:
    """Who does not wait for an obliteration learns from the operation what its reply told."""
    hub = make_hub()
    hub.provision("m")
    message = Obliterate("m")
    report = hub.ask(message)
    assert hub.operation(message.op_id).obliterated == report
    assert report.local_bytes > 0


def test_an_obliterated_name_stands_nowhere(make_hub: MakeHub, tmp_path: Path) -> None:
    """While the hub still runs, no byte of a file of its names the module, and no file is named after it."""
    name = "a-tenant-of-old"
    hub = make_hub()
    for _ in range(2):
        put(hub.provision(name), "k", "v")
        hub.hibernate(name)
        hub.deprovision(name)
    hub.provision("neighbour")
    hub.provision(name)
    hub.obliterate(name)
    left = [
        path
        for path in tmp_path.rglob("*")
        if name in path.name or (path.is_file() and name.encode() in path.read_bytes())
    ]
    assert left == []


def test_obliterating_what_never_existed_deletes_nothing_and_succeeds(make_hub: MakeHub, tmp_path: Path) -> None:
    """An id that nothing holds is obliterated already, and the backend folder is not even made."""
    report = make_hub().obliterate("never")
    assert (report.blobs, report.bytes, report.local_bytes, report.remaining) == (0, 0, 0, 0)
    assert not (tmp_path / "backend").exists()


def test_obliterate_reaches_a_module_that_only_the_backend_holds(make_hub: MakeHub, tmp_path: Path) -> None:
    """A module that was sent home is not tracked, and obliterate deletes it all the same."""
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    hub.deprovision("m")
    assert hub.modules() == ()
    assert hub.registry.ask(Obliterate("m")).blobs >= 2
    assert files_below(tmp_path / "backend") == []


def test_refusals_name_state_and_operation(make_hub: MakeHub) -> None:
    """Hibernate and wake of an untracked module, another kind, an unknown kind and a bad id are typed refusals."""
    hub = make_hub()
    for operation in (hub.hibernate, hub.wake):
        with pytest.raises(ModuleNotFound, match="'m'"):
            operation("m")
    hub.provision("m")
    with pytest.raises(KindMismatch, match=r"tiny.*store.*leave the kind out"):
        hub.provision("m", kind="store")
    with pytest.raises(UnknownKind, match="tiny"):
        hub.provision("other", kind="nonesuch")
    for module_id in ("", "-a", "a_b", "a/b", "..", "x" * 64, "ä"):
        with pytest.raises(InvalidModuleId):
            hub.provision(module_id)


def test_kind_of_data_at_home_is_recorded_with_it(make_hub: MakeHub) -> None:
    """A module that was sent home comes back as its own kind, and as no other."""
    hub = make_hub(kinds=[tiny_kind(), tiny_kind("other")])
    put(hub.provision("m", kind="other"), "k", "v")
    hub.deprovision("m")
    with pytest.raises(KindMismatch):
        hub.provision("m", kind="tiny")
    assert get(hub.provision("m"), "k") == "v"
    assert hub.module("m").kind == "other"


def test_ids_that_differ_in_case_are_two_modules(make_hub: MakeHub) -> None:
    """`a` and `A` hold different data, here and at home."""
    hub = make_hub()
    for module_id in ("a", "A"):
        put(hub.provision(module_id), "k", f"of-{module_id}")
    for module_id in ("a", "A"):
        hub.deprovision(module_id)
    hub.obliterate("a")
    assert get(hub.provision("A"), "k") == "of-A"
    assert get(hub.provision("a"), "k") is None


def test_operations_on_one_module_run_one_at_a_time(make_hub: MakeHub, events: Observer) -> None:
    """Many callers at once: each operation begins in a stable state, and one start serves all who provision."""
    hub = make_hub()
    with ThreadPoolExecutor(8) as pool:
        pids = {info.pid for info in pool.map(hub.provision, ["m"] * 8)}
    assert len(pids) == 1
    with ThreadPoolExecutor(8) as pool:
        for number in range(16):
            pool.submit(hub.hibernate if number % 2 else hub.wake, "m")
    state = "unprovisioned"
    for record in events.all("module.transition", module_id="m"):
        assert record["from_state"] == state
        state = record["to_state"]


def test_status_never_waits_behind_an_operation(make_hub: MakeHub, events: Observer) -> None:
    """While a provision takes its time, its module is described at once, as it is."""
    hub = make_hub(kinds=[tiny_kind("deaf", "--deaf", start_timeout=3.0)], default_kind="deaf")
    pool = ThreadPoolExecutor(1)
    provision = pool.submit(hub.provision, "m")
    events.wait("module.transition", module_id="m", to_state="provisioning")
    began = time.monotonic()
    assert hub.module("m").state == State.PROVISIONING
    assert time.monotonic() - began < 1.0
    assert [info.module_id for info in hub.modules()] == ["m"]
    assert isinstance(provision.exception(), ProvisionFailed)
    pool.shutdown()


def test_a_deadline_withdraws_what_has_not_started(make_hub: MakeHub, events: Observer) -> None:
    """Past its deadline a waiting operation never runs; a running one goes on and can be asked for by its id."""
    hub = make_hub(kinds=[tiny_kind("stubborn", "--stubborn", stop_timeout=1.5)], default_kind="stubborn")
    hub.provision("m")
    with pytest.raises(OperationTimeout) as running:
        hub.deprovision("m", timeout=0.2)
    assert running.value.started
    assert hub.operation(running.value.op_id).status == "running"
    with pytest.raises(OperationTimeout) as waiting:
        hub.obliterate("m", timeout=0.1)
    assert not waiting.value.started
    events.wait("module.transition", module_id="m", to_state="unprovisioned")
    assert hub.provision("m").state == State.PROVISIONED
    assert hub.operation(running.value.op_id).status == "done"
    assert events.all("module.transition", to_state="obliterating") == []


def test_a_process_that_ignores_its_stop_signal_stays_provisioned(make_hub: MakeHub) -> None:
    """Hibernate needs a clean stop; deprovision stops it by force, and its data goes home."""
    hub = make_hub(kinds=[tiny_kind("stubborn", "--stubborn", stop_timeout=0.2)], default_kind="stubborn")
    info = hub.provision("m")
    put(info, "k", "v")
    with pytest.raises(HibernateFailed):
        hub.hibernate("m")
    still = hub.module("m")
    assert (still.state, still.pid) == (State.PROVISIONED, info.pid)
    assert get(info, "k") == "v"
    assert hub.deprovision("m").state == State.UNPROVISIONED
    assert get(hub.provision("m"), "k") == "v"


def test_what_a_server_leaves_behind_is_killed_with_it(make_hub: MakeHub, tmp_path: Path) -> None:
    """A grandchild that ignores SIGTERM does not outlive a hibernation."""
    hub = make_hub(kinds=[tiny_kind("forking", "--fork")], default_kind="forking")
    hub.provision("m")
    assert len(processes_of(tmp_path / "data")) == 2
    hub.hibernate("m")
    assert processes_of(tmp_path / "data") == []


def test_a_childs_environment_holds_no_secret_of_the_host(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the host's environment does not reach a child; what its kind says does."""
    monkeypatch.setenv("HOST_SECRET", "hunter2")
    hub = make_hub(kinds=[tiny_kind(env={"GREETING": "{module_id}"})])
    info = hub.provision("m")
    assert tell(info, "ENV HOST_SECRET") == "="
    assert tell(info, "ENV GREETING") == "=m"


def test_a_module_is_served_in_the_configured_range_and_skips_taken_ports(make_hub: MakeHub) -> None:
    """A port of the range that somebody else has is skipped."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        low = taken.getsockname()[1]
        hub = make_hub(ports=(low, low + 5))
        port = hub.provision("m").port
        assert port is not None
        assert low < port <= low + 5


@pytest.mark.parametrize("phase", ["deprovision", "obliterate"])
def test_a_waiting_end_cancels_a_hydration(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    """A hydration ends for a deprovision or an obliterate that waits; its caller gets `OperationCancelled`."""
    begun, _ = slow_hydration(monkeypatch)
    hub = make_hub()
    with ThreadPoolExecutor(2) as pool:
        provision = pool.submit(hub.provision, "m")
        assert begun.wait(10)
        getattr(hub, phase)("m")
        with pytest.raises(OperationCancelled, match=phase):
            provision.result(10)
    assert hub.modules() == ()


@pytest.mark.parametrize("on_exit", ["hibernate", "deprovision", "leave"])
def test_closing_cancels_hydrations_and_refuses_new_operations(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer, on_exit: str
) -> None:
    """A hub that closes ends its hydrations, answers what waits, and takes nothing new."""
    begun, _ = slow_hydration(monkeypatch)
    hub = make_hub(on_exit=on_exit)
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(hub.provision, "m")
        assert begun.wait(10)
        waiting = pool.submit(hub.provision, "m")
        closing = pool.submit(hub.close)
        with pytest.raises(OperationCancelled, match="closes"):
            running.result(10)
        with pytest.raises(HubClosed):
            waiting.result(10)
        closing.result(10)
    with pytest.raises(HubClosed):
        hub.provision("m")
    assert events.all("module.transition", to_state="provisioned") == []


def test_modules_hibernate_when_the_hub_ends_also_by_an_exception(make_hub: MakeHub, tmp_path: Path) -> None:
    """After the end, however it came, a new hub finds its modules hibernated with their data."""

    def work_and_fail() -> None:
        with Hub(tmp_path / "data", f"file://{tmp_path}/backend", kinds=[tiny_kind()], default_kind="tiny") as hub:
            put(hub.provision("m"), "k", "v")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work_and_fail()
    hub = make_hub()
    assert [(i.module_id, i.state, i.dirty) for i in hub.modules()] == [("m", State.HIBERNATED, True)]
    assert get(hub.provision("m"), "k") == "v"


def test_on_exit_deprovision_sends_everything_home(make_hub: MakeHub, tmp_path: Path) -> None:
    """With `on_exit="deprovision"` nothing stays here, whatever state it was in."""
    hub = make_hub(on_exit="deprovision")
    for module_id in ("awake", "asleep"):
        put(hub.provision(module_id), "k", module_id)
    hub.hibernate("asleep")
    hub.close()
    assert files_below(tmp_path / "data" / "modules") == []
    again = make_hub()
    assert again.modules() == ()
    assert get(again.provision("asleep"), "k") == "asleep"


async def run_async(tmp_path: Path) -> None:
    options: dict[str, Any] = {"kinds": [tiny_kind()], "default_kind": "tiny"}
    async with AsyncHub(tmp_path / "data", f"file://{tmp_path}/backend", **options) as hub:
        info = await hub.provision("m")
        assert info.state is State.PROVISIONED
        assert (await hub.hibernate("m")).state is State.HIBERNATED
        assert (await hub.wake("m")).port == info.port
        assert (await hub.touch("m")).idle_s < 1
        assert (await hub.obliterate("m")).remaining == 0
        assert await hub.modules() == ()


def test_async_hub_runs_on_the_hosts_own_loop(tmp_path: Path) -> None:
    """`AsyncHub` does the same inside the host's event loop."""
    asyncio.run(run_async(tmp_path))
