"""Hubs that share a backend: who may serve a module is decided by the lease in its head."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backends import BackendUnavailable, Head, RemoteModule
from backends.file import FileStore
from hub import BackendError, LeaseHeld, ProvisionFailed
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.faulty import Faults, faulty_backend
from tests.hub.marked import processes_of
from tests.hub.observer import Observer
from tests.hub.remote_host import Refused, remote_host
from tests.hub.shared_backend import head, provision_when_free, put_there
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e


HOURS = 3600.0


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return faulty_backend(monkeypatch)


@pytest.fixture
def backend(tmp_path: Path) -> Path:
    return tmp_path / "backend"


def held_and_handed_over(make_hub: MakeHub, uri: str) -> None:
    one, two = (make_hub(data=name, backend_uri=uri, lease=1.5) for name in ("one", "two"))
    put(one.provision("m"), "k", "v")
    with pytest.raises(LeaseHeld, match="holds it") as held:
        two.provision("m")
    assert 1.0 < held.value.retry_after_s <= 1.5
    assert two.modules() == ()
    one.hibernate("m")
    with pytest.raises(LeaseHeld):
        two.provision("m")
    one.deprovision("m")
    assert get(two.provision("m"), "k") == "v"
    with pytest.raises(LeaseHeld):
        one.provision("m")


def test_a_module_is_refused_while_another_hub_holds_it_and_free_at_once_when_sent_home(
    make_hub: MakeHub, backend: Path
) -> None:
    """The refusal says when to try again and leaves nothing behind; a deprovision gives the lease back."""
    held_and_handed_over(make_hub, f"file://{backend}")


def test_it_is_the_same_on_s3(make_hub: MakeHub, s3_uri: str) -> None:
    """Leases are conditional writes, which SeaweedFS has as well."""
    held_and_handed_over(make_hub, s3_uri)


def test_a_provision_that_fails_gives_the_lease_back(make_hub: MakeHub, backend: Path) -> None:
    """A module that does not start here can be tried elsewhere at once, with and without data in the backend."""
    one, two = make_hub(data="one"), make_hub(data="two")
    put(one.provision("m"), "k", "v")
    one.deprovision("m")
    broken = make_hub(data="broken", kinds=[tiny_kind("tiny", "--broken")])
    for module_id in ("m", "new"):
        with pytest.raises(ProvisionFailed):
            broken.provision(module_id)
    assert not (backend / "new").exists()
    assert get(two.provision("m"), "k") == "v"


def test_a_deprovision_whose_commit_may_have_given_the_lease_back_trusts_it_no_more(
    make_hub: MakeHub, backend: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit happened, its answer was lost: any hub may take the module, so no process starts before a renewal."""
    one, two = (make_hub(data=name, lease=20.0, retry_delay=HOURS) for name in ("one", "two"))
    put(one.provision("m"), "k", "v")
    write, committed = FileStore.put, threading.Event()

    def lose_the_answer(self: FileStore, key: str, data: Any, **options: Any) -> str:
        etag = "" if committed.is_set() else write(self, key, data, **options)
        if key == "m/head" and b'"lease_ms":0' in bytes(data):
            committed.set()
        if committed.is_set():
            raise BackendUnavailable("the answer was lost")
        return etag

    monkeypatch.setattr(FileStore, "put", lose_the_answer)
    with pytest.raises(BackendError):
        one.deprovision("m")
    monkeypatch.undo()
    assert head(backend)["lease_ms"] == 0
    info = one.provision("m")
    assert head(backend)["lease_ms"] > 0
    with pytest.raises(LeaseHeld):
        two.provision("m")
    assert get(info, "k") == "v"


@pytest.mark.parametrize("clock_offset_s", [0.0, -5 * HOURS, 5 * HOURS])
def test_another_hub_takes_over_when_the_lease_of_a_killed_one_has_run_out(
    make_hub: MakeHub, tmp_path: Path, backend: Path, clock_offset_s: float
) -> None:
    """Not before that, whatever the wall clocks say; what was not sent home is a conflict there, and both are kept."""
    with remote_host(tmp_path / "one", f"file://{backend}", lease=1.0, clock_offset_s=clock_offset_s) as one:
        put_there(one.call("provision", "m"), "k", "old")
        one.call("deprovision", "m")
        info = one.call("provision", "m")
        put_there(info, "k", "unsent")
        one.kill()
        killed_at = time.monotonic()
        two = make_hub(data="two", lease=1.0)
        taken = provision_when_free(two, "m")
        assert time.monotonic() - killed_at >= 1.0 - 1.0 / 3
        assert get(taken, "k") == "old"
    put(taken, "k", "new")
    # Here the start of the process finds it out, before any renewal is due; it is not tried again and again.
    with remote_host(tmp_path / "one", f"file://{backend}", clock_offset_s=clock_offset_s, restart_delay=0.02) as one:
        one.wait("module.lease_lost", module_id="m")
        one.wait("module.retry.scheduled", module_id="m", operation="deprovision")
        assert one.all("module.restart.exhausted") == []
        with pytest.raises(Refused, match="DataConflict"):
            one.call("provision", "m")
        assert processes_of(tmp_path / "one") == []
        assert (tmp_path / "one/modules/m/data/k").read_text() == "unsent"
    two.deprovision("m")
    assert get(two.provision("m"), "k") == "new"


def test_a_long_transfer_holds_its_lease_and_is_not_disturbed_by_its_renewals(
    make_hub: MakeHub, backend: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dehydration that takes several leases: the head is renewed beneath it, another hub waits, and it commits."""
    sending, go_on = threading.Event(), threading.Event()
    send = FileStore.put

    def held(self: FileStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if "/blobs/" in key:
            sending.set()
            assert go_on.wait(40)
        return send(self, key, *args, **kwargs)

    monkeypatch.setattr(FileStore, "put", held)
    one, two = make_hub(data="one", lease=0.6), make_hub(data="two", lease=0.6)
    put(one.provision("m"), "k", "v")
    with ThreadPoolExecutor() as pool:
        going_home = pool.submit(one.deprovision, "m")
        try:
            assert sending.wait(20)
            seen = {head(backend)["nonce"]}
            while len(seen) < 5:  # more than a lease
                seen.add(head(backend)["nonce"])
            with pytest.raises(LeaseHeld):
                two.provision("m")
        finally:
            go_on.set()
        going_home.result()
    assert get(two.provision("m"), "k") == "v"


def test_a_renewal_that_was_under_way_does_not_keep_what_was_sent_home(
    make_hub: MakeHub, backend: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the commit that gave the lease back, and takes it again; when the deprovision is done it is free."""
    asked, go_on = threading.Event(), threading.Event()
    renew = RemoteModule.renew

    def held(self: RemoteModule, claim: str, *, lease_s: float) -> Head:
        asked.set()
        assert go_on.wait(40)
        return renew(self, claim, lease_s=lease_s)

    monkeypatch.setattr(RemoteModule, "renew", held)
    one, two = make_hub(data="one", lease=1.0), make_hub(data="two")
    put(one.provision("m"), "k", "v")
    assert asked.wait(20)
    with ThreadPoolExecutor() as pool:
        going_home = pool.submit(one.deprovision, "m")
        try:
            deadline = time.monotonic() + 20
            while head(backend)["lease_ms"]:
                assert time.monotonic() < deadline
        finally:
            go_on.set()
        going_home.result()
    assert head(backend)["lease_ms"] == 0
    assert get(two.provision("m"), "k") == "v"


def test_a_sleeper_is_held_by_a_longer_lease(make_hub: MakeHub, backend: Path) -> None:
    """Hibernated, its lease is the longer one as soon as it is renewed; woken, it is the shorter one again."""
    hub = make_hub(lease=0.3, hibernated_lease=50.0)
    hub.provision("m")
    assert head(backend)["lease_ms"] == 300
    hub.hibernate("m")
    deadline = time.monotonic() + 20
    while head(backend)["lease_ms"] != 50_000:
        assert time.monotonic() < deadline
    hub.wake("m")
    while head(backend)["lease_ms"] != 300:
        assert time.monotonic() < deadline


def test_neither_wake_nor_recovery_asks_the_backend_while_the_lease_runs(
    make_hub: MakeHub, faults: Faults, events: Observer
) -> None:
    """What sleeps here and what crashed here is started without a request."""
    hub = make_hub()
    info = hub.provision("m")
    asked = faults.calls.total()
    hub.hibernate("m")
    info = hub.wake("m")
    assert info.pid is not None
    os.kill(info.pid, signal.SIGKILL)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert faults.calls.total() == asked


def test_the_first_start_of_a_new_hub_makes_sure_of_the_lease(make_hub: MakeHub, faults: Faults) -> None:
    """How long the lease of the hub before still runs nobody knows: one renewal, and from then on nothing."""
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    hub.close()
    again = make_hub(hibernated_lease=100_000.0)
    asked = faults.calls["put"]
    assert get(again.wake("m"), "k") == "v"
    assert faults.calls["put"] - asked <= 2  # its own, and the one that every sleeper gets after a start
    assert faults.calls["put"] > asked


def test_a_hub_that_ends_writes_no_long_lease_for_what_it_puts_to_sleep(make_hub: MakeHub, backend: Path) -> None:
    """However long its end takes: nobody is there who would give the module back, and another hub may want it."""
    slow = tiny_kind("slow", "--stubborn", stop_timeout=1.0)
    hub = make_hub(kinds=[tiny_kind(), slow], lease=0.3)
    hub.provision("m")
    hub.provision("slow", kind="slow")
    hub.close()
    assert head(backend)["lease_ms"] == 300
