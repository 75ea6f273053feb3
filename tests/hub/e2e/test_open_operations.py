"""An operation is known from its acceptance on, and has an end however it ends: nothing stays open for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from actors import ActorError
from backends import RemoteModule
from hub import (
    AsyncHub,
    Checkpoint,
    Deprovision,
    Hibernate,
    Hub,
    HubClosed,
    InvalidMessage,
    InvalidState,
    ListOperations,
    ModuleBusy,
    ModuleNotFound,
    Obliterate,
    OperationCancelled,
    OperationInfo,
    OperationNotFound,
    OperationTimeout,
    Provision,
    State,
    UnknownKind,
    Wake,
)
from hub.checkpoint import CheckpointActor
from hub.module import Module
from hub.operations.work import Work
from hub.requests import ASKED, REQUESTS
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.kinds.store_process import wait_for
from tests.hub.observer import Observer
from tests.hub.slow import slow_hydration
from tests.hub.tiny_client import put

pytestmark = pytest.mark.e2e

Message = Provision | Hibernate | Wake | Deprovision | Obliterate | Checkpoint


class Held:
    """A module whose hydration is held, so that what comes after it waits."""

    def __init__(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        begun, self.go_on = slow_hydration(monkeypatch)
        self.hub = hub
        self.first = Provision("m", asked_by="the first")
        self.running = hub.registry.ask(self.first, block=False)
        assert begun.wait(10)

    def status(self, message: Message) -> str:
        return self.hub.operation(message.op_id).status


@pytest.fixture
def held(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """A hub with one operation that is held; in the end nothing may be open."""
    held = Held(make_hub(), monkeypatch)
    yield held
    held.go_on.set()
    wait_for(lambda: not held.hub.operations())
    stats = held.hub.stats()
    assert (stats.operations_running, stats.operations_waiting) == (0, 0)


def ended(hub: Hub, message: Message) -> OperationInfo:
    """Wait until an operation has ended."""
    wait_for(lambda: hub.operation(message.op_id).status not in {"waiting", "running"})
    return hub.operation(message.op_id)


def test_an_operation_can_be_asked_for_at_once(held: Held) -> None:
    """Whoever does not wait for it finds it: waiting, then running, then done; listed while it is open, in order."""
    message = Hibernate("m", asked_by="ci")
    held.hub.registry.tell(message)
    waits = held.hub.operation(message.op_id)
    assert (waits.status, waits.operation, waits.module_id, waits.asked_by) == ("waiting", "hibernate", "m", "ci")
    listed = [(operation.op_id, operation.status) for operation in held.hub.operations()]
    assert listed == [(held.first.op_id, "running"), (message.op_id, "waiting")]
    stats = held.hub.stats()
    assert (stats.operations_running, stats.operations_waiting) == (1, 1)
    assert held.hub.module("m").op_id == held.first.op_id
    held.go_on.set()
    assert ended(held.hub, message).status == "done"
    assert held.status(held.first) == "done"
    assert held.hub.stats().operations == {"provision": {"done": 1}, "hibernate": {"done": 1}}
    assert held.hub.module("m").op_id is None


def test_only_those_with_a_transfer_are_listed_on_request(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who shows progress needs not look at thousands that wait."""
    begun, go_on = Event(), Event()
    commit = RemoteModule.dehydrate

    def held(self: RemoteModule, *args: Any, **options: Any) -> Any:
        done = commit(self, *args, **options)
        begun.set()
        assert go_on.wait(20)
        return done

    hub = make_hub()
    put(hub.provision("m"), "k", "v" * 1000)
    monkeypatch.setattr(RemoteModule, "dehydrate", held)
    sends, waits = Deprovision("m"), Provision("m")
    for message in (sends, waits):
        hub.registry.tell(message)
    try:
        assert begun.wait(20)
        assert [operation.op_id for operation in hub.operations()] == [sends.op_id, waits.op_id]
        (listed,) = hub.ask(ListOperations(transfers_only=True))
        assert listed.op_id == sends.op_id
    finally:
        go_on.set()
    assert ended(hub, waits).status == "done"


def test_where_there_is_nothing_to_do_it_is_done(make_hub: MakeHub) -> None:
    """A provision of what is up, a deprovision of what is not here: done, without a step."""
    hub = make_hub()
    hub.provision("m")
    for message in (Provision("m"), Wake("m"), Deprovision("other"), Obliterate("other")):
        hub.ask(message)
        assert hub.operation(message.op_id).status == "done"
    assert hub.operations() == ()


def test_what_is_refused_has_failed(make_hub: MakeHub, events: Observer) -> None:
    """The refusal's stable name is told; in the log it stands where it was said in whose name it was asked for."""
    hub = make_hub()
    quiet, named = Wake("m"), Wake("m", asked_by="ci")
    for message in (quiet, named):
        with pytest.raises(ModuleNotFound):
            hub.ask(message)
        told = hub.operation(message.op_id)
        assert (told.status, told.error_code, told.asked_by) == ("failed", "module-not-found", message.asked_by)
    requested = events.wait("operation.requested", op_id=named.op_id)
    assert (requested["operation"], requested["asked_by"], requested["module_id"]) == ("wake", "ci", "m")
    failed = events.wait("operation.failed", op_id=named.op_id)
    assert (failed["operation"], failed["asked_by"], failed["error_type"]) == ("wake", "ci", "ModuleNotFound")
    assert (
        events.all("operation.requested", op_id=quiet.op_id) == events.all("operation.failed", op_id=quiet.op_id) == []
    )
    assert hub.operations() == ()


def test_what_the_registry_refuses_was_never_accepted(make_hub: MakeHub, events: Observer) -> None:
    """An unknown kind is refused before anything is noted: there is no such operation, and no event of one."""
    hub = make_hub()
    message = Provision("m", kind="nonsense", asked_by="ci")
    with pytest.raises(UnknownKind):
        hub.ask(message)
    with pytest.raises(OperationNotFound):
        hub.operation(message.op_id)
    assert events.all("operation.requested") == []


def test_a_failure_is_told_with_who_asked(make_hub: MakeHub, events: Observer) -> None:
    """An operation that ran and failed: its code in the ledger, who asked in the event."""
    hub = make_hub(kinds=[tiny_kind("broken", "--broken")], default_kind="broken")
    message = Provision("m", asked_by="ci")
    with pytest.raises(Exception, match="broken"):
        hub.ask(message)
    told = hub.operation(message.op_id)
    assert (told.status, told.error_code) == ("failed", "provision-failed")
    assert told.output != ""
    assert told.error is not None
    assert told.error.endswith(told.output)
    failed = events.wait("operation.failed", op_id=message.op_id)
    assert (failed["asked_by"], failed["error_type"]) == ("ci", "ProvisionFailed")
    assert len(events.all("operation.failed", op_id=message.op_id)) == 1
    assert hub.operations() == ()


def test_a_deadline_withdraws_what_waits(held: Held) -> None:
    """Not started: it has failed by its time-out. Running: it goes on, and its end is told later."""
    message = Hibernate("m")
    with pytest.raises(OperationTimeout):
        held.hub.ask(message, timeout=0.05)
    told = ended(held.hub, message)
    assert (told.status, told.error_code, told.duration_s) == ("failed", "operation-timeout", 0.0)
    assert held.status(held.first) == "running"


def test_a_cancelled_caller_withdraws_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked has gone, so it is cancelled; what runs goes on to its end."""

    async def scenario() -> None:
        begun, go_on = slow_hydration(monkeypatch)
        async with AsyncHub(
            tmp_path / "data", f"file://{tmp_path / 'backend'}", kinds=[tiny_kind()], default_kind="tiny"
        ) as hub:
            first, second = Provision("m"), Hibernate("m")
            running = asyncio.create_task(hub.ask(first))
            await asyncio.to_thread(begun.wait, 10)
            waiting = asyncio.create_task(hub.ask(second))
            while len(await hub.operations()) < 2:  # noqa: ASYNC110 - nothing tells of it but what is asked here
                await asyncio.sleep(0.001)
            for task in (waiting, running):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            told = await hub.operation(second.op_id)
            assert (told.status, told.error_code) == ("cancelled", "operation-cancelled")
            assert (await hub.operation(first.op_id)).status == "running"
            go_on.set()
            async with asyncio.timeout(20):
                while await hub.operations():  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.001)
            assert (await hub.operation(first.op_id)).status == "done"

    asyncio.run(scenario())


def test_a_transfer_that_is_ended_is_cancelled(held: Held) -> None:
    """A deprovision that waits ends the hydration; both have an end."""
    message = Deprovision("m")
    held.hub.registry.tell(message)
    told = ended(held.hub, held.first)
    assert (told.status, told.error_code) == ("cancelled", "operation-cancelled")
    assert ended(held.hub, message).status == "done"
    with pytest.raises(OperationCancelled):
        held.running.get(timeout=20)


def test_a_full_mailbox_fails_it(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer) -> None:
    """A module that is busy says so in the ledger too, whether its caller waits or not."""
    monkeypatch.setattr(Module, "mailbox_capacity", 1)
    held = Held(make_hub(), monkeypatch)
    fits, asked, told = Provision("m"), Wake("m", asked_by="ci"), Wake("m")
    held.hub.registry.tell(fits)
    with pytest.raises(ModuleBusy):
        held.hub.ask(asked)
    held.hub.registry.tell(told)
    for message in (asked, told):
        end = held.hub.operation(message.op_id)
        assert (end.status, end.error_code) == ("failed", "module-busy")
    assert events.wait("operation.failed", op_id=asked.op_id)["error_type"] == "ModuleBusy"
    assert held.status(fits) == "waiting"
    held.go_on.set()
    assert ended(held.hub, fits).status == "done"


def test_the_end_of_the_hub_ends_what_waits(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was accepted and not begun when the hub closes has failed by that, and so have its callers."""
    hub = make_hub()
    held = Held(hub, monkeypatch)
    messages: list[Message] = [Hibernate("m"), Wake("m"), Deprovision("m")]
    replies = [hub.registry.ask(message, block=False) for message in messages]
    assert len(hub.operations()) == 4
    ledger = hub._hub._runtime._services.ledger  # pyright: ignore[reportPrivateUsage] # it can't be asked any more
    hub.close()
    for message, reply in zip(messages, replies, strict=True):
        with pytest.raises(HubClosed):
            reply.get(timeout=0)
        assert ledger.find(message.op_id).error_code == "hub-closed"
    assert not ledger.find(held.first.op_id).open
    assert (list(ledger.open()), ledger.waiting, ledger.running) == ([], 0, 0)


def test_a_defect_fails_what_it_interrupts_and_nothing_that_waits(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """The actor is restarted: what it did has failed by the defect, what waits is carried out."""
    stop = Work.stop_instance

    async def broken(self: Work, *, force: bool) -> bool:
        monkeypatch.setattr(Work, "stop_instance", stop)
        raise ZeroDivisionError("a secret of the defect")

    monkeypatch.setattr(Work, "stop_instance", broken)
    interrupted, after = Hibernate("m"), Provision("m")
    replies = [held.hub.registry.ask(message, block=False) for message in (interrupted, after)]
    held.go_on.set()
    assert replies[1].get(timeout=20).state is State.PROVISIONED
    told = held.hub.operation(interrupted.op_id)
    assert (told.status, told.error_code) == ("failed", "module-fault")
    assert "secret" not in str(told.error)
    assert held.status(after) == "done"


def test_an_actor_that_ends_for_good_fails_what_waits(held: Held, events: Observer) -> None:
    """Past its intensity the actor is gone: what it did and what waited have both failed."""
    message = Hibernate("m", asked_by="ci")
    held.hub.registry.tell(message)
    assert held.status(message) == "waiting"
    system = held.hub.registry.cell.system
    (name,) = (info.name for info in system.actors() if info.name.startswith("module/m#"))
    cell = system.get(name)
    assert cell is not None
    cell.kill(block=False)
    assert ended(held.hub, message).error_code == "hub-closed"
    assert ended(held.hub, held.first).error_code == "module-fault"
    assert events.wait("operation.failed", op_id=message.op_id)["asked_by"] == "ci"
    held.go_on.set()


def test_a_checkpoint_waits_for_the_one_before_it(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handed on by its module it waits again, runs in its turn, and both end: also where a defect ends the second."""
    hub = make_hub()
    hub.provision("m")
    hub.hibernate("m")
    messages = [Checkpoint("m"), Checkpoint("m"), Checkpoint("m")]
    for reply in [hub.registry.ask(message, block=False) for message in messages]:
        assert reply.get(timeout=20).checkpointed_at > 0
    assert [hub.operation(message.op_id).status for message in messages] == ["done"] * 3

    async def broken(self: CheckpointActor, operation: Any) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(CheckpointActor, "_take", broken)
    message, behind = Checkpoint("m"), Checkpoint("m")
    replies = [hub.registry.ask(one, block=False) for one in (message, behind)]
    for reply in replies:
        with pytest.raises(ActorError):
            reply.get(timeout=20)
    assert ended(hub, message).error_code == "module-fault"
    assert ended(hub, behind).status == "failed"
    assert hub.operations() == ()


def test_a_checkpoint_that_is_refused_has_failed(make_hub: MakeHub) -> None:
    """A running module of a kind without a hook is not copied, and that is its operation's end."""
    hub = make_hub()
    hub.provision("m")
    message = Checkpoint("m")
    with pytest.raises(InvalidState):
        hub.ask(message)
    assert hub.operation(message.op_id).error_code == "invalid-state"
    assert hub.operations() == ()


def test_an_id_is_used_once(held: Held) -> None:
    """A second operation under an id is refused, while the first waits or runs, and after its end: none is lost."""
    again = Provision("other", op_id=held.first.op_id)
    with pytest.raises(InvalidMessage, match="another operation"):
        held.hub.ask(again)
    assert held.hub.operation(held.first.op_id).module_id == "m"
    held.go_on.set()
    held.running.get(timeout=20)
    with pytest.raises(InvalidMessage, match="another operation"):
        held.hub.ask(held.first)
    assert held.status(held.first) == "done"


@pytest.mark.parametrize("field", ["op_id", "asked_by", "kind"])
@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31m", "x" * 201, 5, b"x"])
def test_texts_that_would_spoil_a_log_are_refused(field: str, text: Any, make_hub: MakeHub) -> None:
    """Whoever asks in somebody's name can't write lines of the log, nor fill it."""
    with pytest.raises(InvalidMessage, match=field):
        make_hub().ask(Provision("m", **{field: text}))


def test_an_empty_id_is_refused(make_hub: MakeHub) -> None:
    """It would be no id: in the journal it stands for no operation."""
    with pytest.raises(InvalidMessage, match="empty"):
        make_hub().ask(Provision("m", op_id=""))


def test_what_carries_who_asked_is_tracked() -> None:
    """Every message by which somebody asks for an operation is accepted as one; the hub's own orders are not."""
    assert {message for message in REQUESTS if "asked_by" in {f.name for f in fields(message)}} == set(ASKED)


@pytest.mark.parametrize("field", ["op_id", "asked_by"])
def test_what_has_to_be_a_text_may_not_be_none(field: str, make_hub: MakeHub) -> None:
    """An untyped sender's mistake would stand where everybody else expects a text."""
    none: dict[str, Any] = {field: None}
    with pytest.raises(InvalidMessage, match=f"{field} = None is no text"):
        make_hub().ask(Provision("m", **none))
