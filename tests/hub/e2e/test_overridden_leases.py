"""An obliteration overrides the lease of another hub: nothing of that hub stays, whenever it arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import Erased, RemoteModule
from hub import ModuleNotFound
from hub.cli.doctor.journal import read_journal
from hub.layout import Layout
from tests.hub.conftest import MakeHub
from tests.hub.observer import Observer
from tests.hub.remote_host import Refused, remote_host
from tests.hub.shared_backend import put_there
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e


@pytest.fixture
def backend(tmp_path: Path) -> Path:
    return tmp_path / "backend"


def test_nothing_of_a_stopped_hub_appears_after_an_obliteration(
    make_hub: MakeHub, tmp_path: Path, backend: Path, events: Observer
) -> None:
    """Stopped in the midst of a dehydration, it goes on when all is gone: no blob of it stays, and no commit."""
    two = make_hub(data="two", lease=1.0)
    with remote_host(tmp_path / "one", f"file://{backend}", lease=1.0, retry_delay=3600) as one:
        put_there(one.call("provision", "m"), "k", "one")
        one.call("hold_puts", str(tmp_path / "go"))
        one.tell("deprovision", "m")
        one.wait("held")
        one.stop()
        assert two.obliterate("m").remaining == 0
        assert list(backend.glob("*")) == []
        (tmp_path / "go").touch()
        one.go_on()
        with pytest.raises(Refused, match="DataConflict"):
            one.reply()
        there = one.call("module", "m")
        assert (there["state"], there["dirty"]) == ("crashed", True)
        events.wait("module.relisted", module_id="m")
        assert list(backend.glob("*")) == []
        assert two.modules() == ()


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No listing is repeated before this is set, so that a slow test is not too late with what it looks for."""
    arrived = threading.Event()
    erase_stragglers = RemoteModule.erase_stragglers

    def held(self: RemoteModule) -> Erased:
        assert arrived.wait(40)
        return erase_stragglers(self)

    monkeypatch.setattr(RemoteModule, "erase_stragglers", held)
    yield arrived
    arrived.set()


def arrive_late(backend: Path) -> None:
    """What a store that checks no guard together with a write may still take from a hub that has lost the module."""
    (backend / "m" / "blobs").mkdir(parents=True)
    (backend / "m" / "blobs" / ("0" * 64)).write_bytes(b"late")


def test_what_arrives_after_an_obliteration_is_found_when_the_lease_has_run_out(
    make_hub: MakeHub, backend: Path, events: Observer, arrived: threading.Event
) -> None:
    """An obliteration that overrides another hub's lease is done at once, and its listing is repeated after that."""
    one, two = make_hub(data="one", lease=1.0, retry_delay=3600), make_hub(data="two", lease=1.0)
    one.provision("m")
    two.obliterate("m")
    with pytest.raises(ModuleNotFound):
        two.module("m")
    assert two.modules() == ()
    arrive_late(backend)
    arrived.set()
    assert events.wait("module.relisted", module_id="m")["blobs"] == 1
    assert list(backend.glob("*")) == []
    events.wait("module.lease_lost", module_id="m")
    events.wait("module.transition", module_id="m", to_state="crashed")
    assert two.modules() == ()


def test_a_listing_that_is_to_be_repeated_outlives_its_hub(make_hub: MakeHub, backend: Path, events: Observer) -> None:
    """It is journalled: the next hub waits for as long again, shows no such module, and lists."""
    one, two = make_hub(data="one", lease=3.0, retry_delay=3600), make_hub(data="two", lease=1.0)
    one.provision("m")
    two.obliterate("m")
    two.close()
    assert events.all("module.relisted") == []
    arrive_late(backend)
    again = make_hub(data="two", lease=1.0)
    assert again.modules() == ()
    with pytest.raises(ModuleNotFound):
        again.module("m")
    assert events.wait("module.relisted", module_id="m")["blobs"] == 1
    assert list(backend.glob("*")) == []
    again.close()
    make_hub(data="two", lease=1.0).close()
    assert len(events.all("module.relisted")) == 1


def test_a_hub_that_dies_when_all_is_gone_still_lists_again(
    make_hub: MakeHub, backend: Path, tmp_path: Path, events: Observer, arrived: threading.Event
) -> None:
    """Killed between the last deletion and its outcome, when nothing in the backend tells of the other's lease any more."""
    one = make_hub(data="one", lease=1.0, retry_delay=3600)
    one.provision("m")
    with remote_host(tmp_path / "two", f"file://{backend}", lease=1.0) as two:
        two.call("hold_end_of_erasure")
        two.tell("obliterate", "m")
        two.wait("held")
        assert list(backend.glob("*")) == []
    two_again = make_hub(data="two", lease=1.0)
    events.wait("module.obliterated", module_id="m")
    arrive_late(backend)
    arrived.set()
    assert events.wait("module.relisted", module_id="m")["blobs"] == 1
    assert two_again.modules() == ()


def test_a_module_that_is_made_anew_is_not_touched_by_the_repeated_listing(
    make_hub: MakeHub, tmp_path: Path, events: Observer
) -> None:
    """Obliterated and provisioned again here before the other's lease has run out, it is served, and comes back whole."""
    one, two = make_hub(data="one", lease=1.0, retry_delay=3600), make_hub(data="two", lease=1.0)
    one.provision("m")
    two.obliterate("m")
    put(two.provision("m"), "k", "v")
    two.deprovision("m")
    two.provision("m")
    deadline = time.monotonic() + 20
    while any(record.relist_s for record in read_journal(Layout(tmp_path / "two"), live=True) or ()):
        assert time.monotonic() < deadline
    two.deprovision("m")
    assert get(two.provision("m"), "k") == "v"
    assert events.all("module.relisted") == []
