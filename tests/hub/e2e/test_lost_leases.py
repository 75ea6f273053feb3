"""A hub that lost its lease, or can't renew it: what becomes of the process, and of the data."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from hub import BackendError, DataConflict, State
from hub.instance.local import LocalInstance
from hub.orders import LEASE_LOST, Decided, SendHome
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.faulty import Faults, faulty_backend
from tests.hub.marked import processes_of
from tests.hub.observer import Observer
from tests.hub.remote_host import Refused, remote_host
from tests.hub.shared_backend import get_there, head, provision_when_free, put_there, take_away
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return faulty_backend(monkeypatch)


@pytest.fixture
def backend(tmp_path: Path) -> Path:
    return tmp_path / "backend"


def test_a_hub_that_was_stopped_past_its_lease_stops_serving_and_never_overwrites(
    make_hub: MakeHub, tmp_path: Path, backend: Path
) -> None:
    """SIGSTOP, and SIGCONT when another hub serves: the process ends, its data stays here; then a person decides."""
    two = make_hub(data="two", lease=1.0)
    with remote_host(tmp_path / "one", f"file://{backend}", lease=1.0, retry_delay=3600) as one:
        info = one.call("provision", "m")
        put_there(info, "k", "one")
        one.stop()
        taken = provision_when_free(two, "m")
        assert get(taken, "k") is None
        put(taken, "k", "two")
        put_there(info, "late", "one")  # its server runs on while nobody watches over it
        one.go_on()
        assert one.wait("module.lease_lost", module_id="m")["holder"] == head(backend)["owner"]
        one.wait("instance.stopped", module_id="m")
        one.wait("module.transition", module_id="m", to_state="crashed")
        there = one.call("module", "m")
        assert (there["state"], there["dirty"]) == ("crashed", True)
        assert processes_of(tmp_path / "one") == []
        for _ in range(2):
            with pytest.raises(Refused, match=r"DataConflict.*move .*one/modules/m/data away"):
                one.call("provision", "m")
            with pytest.raises(Refused, match="DataConflict"):
                one.call("deprovision", "m")
        assert (tmp_path / "one/modules/m/data/k").read_text() == "one"
        two.deprovision("m")
        assert get(two.provision("m"), "k") == "two"
        two.deprovision("m")
        # The way out: what is here is taken away, and with it this side of the conflict.
        (tmp_path / "one/modules/m/data").rename(tmp_path / "kept")
        assert one.call("deprovision", "m")["state"] == "unprovisioned"
        assert get_there(one.call("provision", "m"), "k") == "two"
    assert (tmp_path / "kept/late").read_text() == "one"


def test_a_lost_lease_stops_the_process_and_its_hook_is_not_asked(
    make_hub: MakeHub, events: Observer, monkeypatch: pytest.MonkeyPatch, backend: Path
) -> None:
    """Every moment that it serves on is another hub's, and a hook may take long. The data stays here, dirty."""
    asked: list[str] = []

    async def collect(self: LocalInstance) -> None:
        asked.append("gc")

    monkeypatch.setattr(LocalInstance, "collect_garbage", collect)
    hub = make_hub(lease=0.4, retry_delay=3600.0)
    info = hub.provision("m")
    put(info, "k", "v")
    take_away(backend)
    assert events.wait("module.lease_lost", module_id="m")["holder"] == "another"
    events.wait("instance.stopped", module_id="m", pid=info.pid)
    events.wait("module.transition", module_id="m", to_state="crashed")
    kept = hub.module("m")
    assert kept.dirty
    assert kept.data_dir is not None
    assert (kept.data_dir / "k").read_text() == "v"
    assert asked == []


def test_a_lost_lease_stops_the_process_also_in_an_outage(make_hub: MakeHub, faults: Faults, events: Observer) -> None:
    """A deprovision is refused while the backend is away; the end of what another hub may be serving is not."""
    hub = make_hub(breaker_delay=3600.0, breaker_delay_max=3600.0)
    info = hub.provision("m")
    faults.go_down()
    for number in range(3):
        with pytest.raises(BackendError):
            hub.provision(f"missing-{number}")
    with pytest.raises(BackendError):
        hub.deprovision("m")
    assert hub.module("m").pid == info.pid
    with pytest.raises(BackendError):
        hub.registry.ask(SendHome("m", Decided(1, None), "op", LEASE_LOST))
    events.wait("instance.stopped", module_id="m", pid=info.pid)
    assert (hub.module("m").state, hub.module("m").dirty) == (State.CRASHED, True)


def test_a_conflict_is_no_fast_loop(make_hub: MakeHub, events: Observer, backend: Path) -> None:
    """Sending home what can't be is tried ever more rarely, and nothing is started on it."""
    hub = make_hub(lease=0.4, retry_delay=0.05)
    hub.provision("m")
    taken = take_away(backend)
    events.wait("module.retry.scheduled", module_id="m", attempt=4)
    delays = [told["delay_ms"] for told in events.all("module.retry.scheduled", module_id="m")]
    assert delays == sorted(delays)
    assert delays[3] > 4 * delays[0]
    assert len(events.all("instance.started", module_id="m")) == 1
    assert len(events.all("module.lease_lost", module_id="m")) == 1
    with pytest.raises(DataConflict):
        hub.provision("m")
    assert head(backend) == taken


def test_sleepers_are_renewed_after_an_outage(make_hub: MakeHub, faults: Faults, events: Observer) -> None:
    """While it lasts nobody asks for them; then all of them come."""
    hub = make_hub(lease=0.3, hibernated_lease=0.6, breaker_delay=0.2, breaker_delay_max=0.2)
    for name in ("one", "two", "three"):
        hub.provision(name)
        hub.hibernate(name)
    faults.go_down()
    events.wait("backend.unavailable")
    asked = faults.calls["put"]
    faults.clear()
    events.wait("backend.available")
    deadline = time.monotonic() + 20
    while faults.calls["put"] < asked + 3:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("crashes", [False, True])
def test_a_module_serves_on_when_its_lease_runs_out_in_an_outage(
    make_hub: MakeHub, faults: Faults, events: Observer, crashes: bool
) -> None:
    """With "serve", said by one event; a crash is recovered all the same, and afterwards the lease is renewed."""
    hub = make_hub(lease=0.4, breaker_delay=0.2, breaker_delay_max=0.2)
    info = hub.provision("m")
    put(info, "k", "v")
    faults.go_down()
    told = events.wait("module.lease_lapsed", module_id="m")
    assert (told["action"], hub.module("m").pid) == ("serve", info.pid)
    if crashes:
        assert info.pid is not None
        os.kill(info.pid, signal.SIGKILL)
        events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert get(hub.module("m"), "k") == "v"
    asked = faults.calls["put"]
    faults.clear()
    events.wait("backend.available")
    deadline = time.monotonic() + 20
    while faults.calls["put"] == asked:
        assert time.monotonic() < deadline
    assert hub.deprovision("m").state is State.UNPROVISIONED
    assert events.all("module.lease_lost") == []


def test_a_module_is_stopped_when_its_lease_runs_out_in_an_outage_if_so_configured(
    make_hub: MakeHub, faults: Faults, events: Observer
) -> None:
    """With "stop" it is hibernated, by force if need be, and wakes when the lease can be renewed, not before."""
    stubborn = tiny_kind("tiny", "--stubborn", stop_timeout=0.2)
    hub = make_hub(lease=0.4, lease_lapse="stop", breaker_delay=0.2, breaker_delay_max=0.2, kinds=[stubborn])
    put(hub.provision("m"), "k", "v")
    faults.go_down()
    events.wait("module.transition", module_id="m", to_state="hibernated")
    assert len(events.all("module.lease_lapsed", module_id="m", action="stop")) == 1
    events.wait("backend.unavailable")
    for operation in (hub.wake, hub.provision):
        with pytest.raises(BackendError, match="lease") as refused:
            operation("m")
        assert refused.value.retry_after_s is not None
    faults.clear()
    events.wait("backend.available")
    assert get(hub.wake("m"), "k") == "v"
