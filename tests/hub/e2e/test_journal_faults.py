"""The journal refuses a write now and then; nothing is forgotten because of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from backends import BackendUnavailable
from hub import JournalError, ModuleFault, ModuleNotFound, State
from hub.instance import Instance
from hub.journal import Journal
from hub.operations import Work
from hub.record import ModuleRecord
from tests.hub.conftest import MakeHub
from tests.hub.faulty import faulty_backend
from tests.hub.observer import Observer
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e


def refuse(monkeypatch: pytest.MonkeyPatch, chosen: Callable[[ModuleRecord], bool], times: int = 1) -> None:
    """Let the journal refuse the next writes of records that are chosen, as a full disk does."""
    write = Journal.write
    left = times

    async def refusing(self: Journal, *records: ModuleRecord, **options: bool) -> None:
        nonlocal left
        if left and any(map(chosen, records)):
            left -= 1
            raise JournalError("the journal can't be written: database or disk is full")
        await write(self, *records, **options)

    monkeypatch.setattr(Journal, "write", refusing)


def test_a_recovery_whose_intent_was_not_journalled_is_tried_again(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """A disk that is full for a moment does not leave a crashed module crashed for good."""
    hub = make_hub()
    info = hub.provision("m")
    put(info, "k", "v")
    refuse(monkeypatch, lambda record: record.state is State.RECOVERING)
    assert info.pid is not None
    os.kill(info.pid, signal.SIGKILL)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned", timeout=10)
    assert get(hub.module("m"), "k") == "v"


def test_a_person_whose_operation_was_not_journalled_does_not_end_the_retries(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """The watchdog's next retry was decided on before that operation; it is decided anew, not dropped for good."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(retry_delay=0.3)
    hub.provision("m")
    faults.on("list", BackendUnavailable("down"))
    faults.on("remains", BackendUnavailable("down"))
    with pytest.raises(Exception, match="down"):
        hub.obliterate("m")
    refuse(monkeypatch, lambda record: record.state is State.OBLITERATING)
    with pytest.raises(JournalError):
        hub.obliterate("m")
    faults.clear()
    events.wait("module.obliterated", module_id="m", timeout=10)
    with pytest.raises(ModuleNotFound):
        hub.module("m")


def test_an_exit_that_can_not_be_journalled_waits_and_keeps_nobody(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """While the journal refuses one module its crash is not told; then it is recovered, and others never noticed."""
    hub = make_hub(restart_limit=2)
    other, info = hub.provision("other"), hub.provision("m")
    put(info, "k", "v")
    assert other.pid is not None
    assert info.pid is not None
    refuse(monkeypatch, lambda record: record.module_id == "m", times=6)
    os.kill(info.pid, signal.SIGKILL)
    events.wait("hub.journal_failed", module_id="m")
    os.kill(other.pid, signal.SIGKILL)
    events.wait("module.transition", module_id="other", from_state="recovering", to_state="provisioned")
    assert not events.all("module.transition", module_id="m", to_state="crashed")
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert get(hub.module("m"), "k") == "v"
    assert not events.all("module.parked")
    assert not events.all("hub.actor_failed")


def test_recoveries_that_are_not_begun_spend_no_budget(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """However often the journal refuses the intent, the module is recovered in the end and not given up."""
    hub = make_hub(restart_limit=2)
    info = hub.provision("m")
    assert info.pid is not None
    refuse(monkeypatch, lambda record: record.state is State.RECOVERING, times=5)
    os.kill(info.pid, signal.SIGKILL)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert not events.all("module.restart.exhausted")
    assert len(events.all("module.restart.scheduled", module_id="m")) == 6


def test_a_defect_that_can_not_be_resolved_in_the_journal_parks_no_module(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """It is resolved when the disk takes it: the actor has failed once, and not again because the disk was full."""
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    hub.hibernate("m")

    async def fail(_self: Work) -> Instance:
        refuse(monkeypatch, lambda record: record.module_id == "m", times=6)
        raise RuntimeError("defect")

    with monkeypatch.context() as patch:
        patch.setattr(Work, "start_instance", fail)
        with pytest.raises(ModuleFault):
            hub.wake("m")
    events.wait("module.resolved", module_id="m", to_state="hibernated")
    assert not events.all("module.parked")
    assert get(hub.wake("m"), "k") == "v"


def test_the_end_of_a_hub_does_not_wait_for_the_disk(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """What can't be journalled then is resolved by the next start, from the data that is still there."""
    hub = make_hub()
    info = hub.provision("m")
    put(info, "k", "v")
    assert info.pid is not None
    with monkeypatch.context() as full:
        refuse(full, lambda record: record.module_id == "m", times=-1)
        os.kill(info.pid, signal.SIGKILL)
        events.wait("hub.journal_failed", module_id="m")
        hub.close()
    assert get(make_hub().provision("m"), "k") == "v"


def test_text_that_is_no_unicode_does_not_end_the_journal(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure whose message holds a file name's raw bytes is refused or stored; the hub goes on either way."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(retry_delay=60.0)
    put(hub.provision("m"), "k", "v")
    faults.on("put", BackendUnavailable("can't read caf\udce9"))
    with pytest.raises(Exception, match="caf"):
        hub.deprovision("m", timeout=5)
    faults.clear()
    assert hub.provision("other", timeout=5).state is State.PROVISIONED
    hub.deprovision("m", timeout=5)
    assert get(hub.provision("m"), "k") == "v"
