"""A disk without a single byte left: nothing is lost, nobody needs a person, and data still goes home."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hub import Hub, JournalError, State
from hub.journal import Journal
from tests.hub.conftest import MakeHub, as_root
from tests.hub.observer import Observer
from tests.hub.tiny_client import get, put

pytestmark = [pytest.mark.e2e, as_root]

NAMES = ("a", "b", "c", "d")


def furnish(make_hub: MakeHub, disk: Path) -> Hub:
    """A hub on a small disk with a few modules in use; without a reserve, so that all of the disk can be used up."""
    hub = make_hub(data=disk.name, disk_reserve=0, restart_delay_max=0.2)
    for name in NAMES:
        put(hub.provision(name), "k", name)
    return hub


def fill(disk: Path) -> Path:
    """Fill a disk to the last byte; a file whose deletion makes room."""
    file = disk / "filler"
    with file.open("ab", buffering=0) as opened:
        for size in (1024 * 1024, 4096, 1):
            try:
                while opened.write(bytes(size)):
                    pass
            except OSError:
                continue
    assert os.statvfs(disk).f_bavail == 0
    return file


def kill(hub: Hub, name: str) -> None:
    pid = hub.module(name).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_what_a_full_disk_needs_most_still_works(small_disk: Path, make_hub: MakeHub, events: Observer) -> None:
    """The journal has its space already: modules are hibernated, sent home, recovered and obliterated."""
    hub = furnish(make_hub, small_disk)
    fill(small_disk)
    assert hub.hibernate("a").state is State.HIBERNATED
    assert hub.deprovision("b").state is State.UNPROVISIONED
    fill(small_disk)
    kill(hub, "c")
    events.wait("module.transition", module_id="c", from_state="recovering", to_state="provisioned")
    assert hub.obliterate("d").remaining == 0
    assert not events.all("hub.journal_failed")
    (small_disk / "filler").unlink()
    assert [get(hub.provision(name), "k") for name in ("a", "b", "c", "d")] == ["a", "b", "c", None]


def test_the_journal_has_room_for_hundreds_of_steps(small_disk: Path, make_hub: MakeHub, events: Observer) -> None:
    """Going to sleep and waking up on a full disk for as long as one likes needs no more than the log has."""
    hub = furnish(make_hub, small_disk)
    fill(small_disk)
    for _ in range(40):
        hub.hibernate("a")
        hub.wake("a")
    assert not events.all("hub.journal_failed")


def unreserved(_journal: Journal) -> None:
    """Takes no space in advance."""


def test_crashes_on_a_full_disk_park_nobody(
    small_disk: Path, make_hub: MakeHub, events: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the journal has no space of its own, what happens waits for room; then every module is back."""
    monkeypatch.setattr(Journal, "_reserve", unreserved)
    hub = furnish(make_hub, small_disk)
    filler = fill(small_disk)
    with pytest.raises(JournalError, match="full"):
        hub.hibernate("a")
    for name in ("b", "c"):
        kill(hub, name)
        events.wait("hub.journal_failed", module_id=name)
    assert [info.state for info in hub.modules()] == [State.PROVISIONED] * 4
    filler.unlink()
    for name in ("b", "c"):
        events.wait("module.transition", module_id=name, from_state="recovering", to_state="provisioned")
    assert [get(hub.module(name), "k") for name in NAMES] == list(NAMES)
    assert not events.all("module.parked")
    assert not events.all("hub.actor_failed")


def test_a_hub_starts_on_a_full_disk(small_disk: Path, make_hub: MakeHub) -> None:
    """What sleeps there can be woken and sent home, which is how the disk gets room again."""
    furnish(make_hub, small_disk).close()
    fill(small_disk)
    hub = make_hub(data=small_disk.name, disk_reserve=0)
    assert hub.deprovision("a").state is State.UNPROVISIONED
    assert get(hub.provision("a"), "k") == "a"
