"""Whoever forwards a message learns if nobody will ever begin it: by whom it is dropped, once, and never otherwise."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from actors import (
    Actor,
    ActorCrashed,
    ActorDead,
    ActorError,
    ActorSystem,
    Backoff,
    DeadlineExceeded,
    DropReason,
    Forwarded,
    MailboxFull,
    OneForOne,
    Ref,
    mailbox,
)
from actors.message import Envelope, Reply
from actors.testing import settle
from tests.actors.harness import Add, Declared, Raise, Start, Work, Worker, ignore_failure, virtual


class Front(Actor):
    """Forwards everything, and notes what was dropped."""

    def __init__(self, target: Ref[Any], dropped: list[DropReason], *, after_s: float = 0.0) -> None:
        super().__init__()
        self.target = target
        self.dropped = dropped
        self.after_s = after_s

    def on_receive(self, message: Any) -> Any:
        return self.later() if self.after_s else self.pass_on()

    def pass_on(self) -> Forwarded:
        return self.forward(self.target, on_dropped=self.dropped.append)

    async def later(self) -> Forwarded:
        await asyncio.sleep(self.after_s)
        return self.pass_on()


class Middle(Actor):
    """Forwards everything, and asks for nothing."""

    def __init__(self, target: Ref[Any]) -> None:
        super().__init__()
        self.target = target

    def on_receive(self, message: Any) -> Forwarded:
        return self.forward(self.target)


@virtual
async def test_what_was_begun_is_not_dropped() -> None:
    """Answered, failed as declared, or crashed: a handler had it, and what became of it is told by its reply."""
    dropped: list[DropReason] = []
    async with ActorSystem(on_failure=ignore_failure) as system:
        front = system.spawn(Front, system.spawn(Worker, supervision=OneForOne()), dropped)
        assert await front.ask_async(Add(1)) == 1
        front.tell(Add(1))
        with pytest.raises(Declared):
            await front.ask_async(Raise(Declared()))
        with pytest.raises(ActorCrashed):
            await front.ask_async(Raise(RuntimeError("a defect")))
        with pytest.raises(DeadlineExceeded) as late:
            await front.ask_async(Work(5), timeout=1)
        assert late.value.started
        await asyncio.sleep(5)
    assert dropped == []


@virtual
async def test_a_deadline_that_passes_while_it_waits_drops_it() -> None:
    """Withdrawn before anybody began it."""
    dropped: list[DropReason] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        front = system.spawn(Front, worker, dropped)
        worker.tell(Work(10))
        with pytest.raises(DeadlineExceeded) as late:
            await front.ask_async(Add(1), timeout=3)
        assert not late.value.started
        assert dropped == ["deadline"]


@virtual
async def test_a_deadline_that_passed_before_it_was_forwarded_drops_it() -> None:
    """It never reaches the other actor, and whoever forwards it is told all the same."""
    dropped: list[DropReason] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        front = system.spawn(Front, worker, dropped, after_s=5)
        with pytest.raises(DeadlineExceeded):
            await front.ask_async(Add(1), timeout=3)
        await asyncio.sleep(5)
        assert dropped == ["deadline"]
        assert await worker.ask_async(Add(0)) == 0


@virtual
async def test_a_waiter_that_is_cancelled_drops_it() -> None:
    """Who asked has gone, and takes along what was not begun."""
    dropped: list[DropReason] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        front = system.spawn(Front, worker, dropped)
        worker.tell(Work(10))
        waiter = asyncio.create_task(front.ask_async(Add(1)))
        await settle()
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert dropped == ["cancelled"]


@virtual
async def test_a_waiter_that_is_cancelled_as_its_turn_comes_drops_it() -> None:
    """Its reply is done in the same turn of the loop in which it would be begun."""
    dropped: list[DropReason] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        front = system.spawn(Front, worker, dropped)
        waiter = asyncio.create_task(front.ask_async(Add(1)))
        await asyncio.sleep(0)
        while not worker.inspect().queued:  # noqa: ASYNC110 - to the very turn of the loop
            await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        await settle()
        assert dropped == ["cancelled"]


@virtual
async def test_a_full_mailbox_drops_it() -> None:
    """Asked or told: the other actor had no room."""
    dropped: list[DropReason] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        front = system.spawn(Front, worker, dropped)
        worker.tell(Work(5))
        await settle()
        for _ in range(Worker.mailbox_capacity):
            worker.tell(Add(1))
        with pytest.raises(MailboxFull):
            await front.ask_async(Add(1))
        front.tell(Add(1))
        await settle()
        assert dropped == ["full", "full"]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_an_actor_that_ends_drops_what_waits(how: str) -> None:
    """Behind the end of an actor nothing is begun: not what waits there, nor what comes later, asked or told."""

    @virtual
    async def scenario() -> None:
        dropped: list[DropReason] = []
        async with ActorSystem() as system:
            worker = system.spawn(Worker)
            front = system.spawn(Front, worker, dropped)
            worker.tell(Work(5))
            waiter = asyncio.create_task(front.ask_async(Add(1)))
            front.tell(Add(1))
            await settle()
            await getattr(worker, how)(block=False)
            with pytest.raises(ActorDead):
                await waiter
            assert dropped == ["dead", "dead"]
            with pytest.raises(ActorDead):
                await front.ask_async(Add(1))
            front.tell(Add(1))
            await settle()
            assert dropped == ["dead"] * 4

    scenario()


@virtual
async def test_an_actor_that_crashes_for_good_drops_what_waits() -> None:
    """Without supervision a defect is the end; with it, what waits is kept and begun after the restart."""
    dropped: list[DropReason] = []
    async with ActorSystem(on_failure=ignore_failure) as system:
        for supervision in (None, OneForOne(backoff=Backoff(first_s=5))):
            worker = system.spawn(Worker, supervision=supervision)
            front = system.spawn(Front, worker, dropped)
            worker.tell(Work(5))
            worker.tell(Raise(RuntimeError("a defect")))
            waiter = asyncio.create_task(front.ask_async(Add(1)))
            await asyncio.sleep(20)
            assert dropped == ["dead"]
            if supervision is None:
                with pytest.raises(ActorDead):
                    await waiter
            else:
                assert await waiter == 1


@virtual
async def test_it_is_told_wherever_the_message_was_forwarded_next() -> None:
    """The word belongs to the message: dropped behind a second forward, the first one's actor learns it."""
    dropped: list[DropReason] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        middle = system.spawn(Middle, worker)
        front = system.spawn(Front, middle, dropped)
        assert await front.ask_async(Add(1)) == 1
        worker.tell(Work(10))
        with pytest.raises(DeadlineExceeded):
            await front.ask_async(Add(1), timeout=3)
        assert dropped == ["deadline"]
        await worker.kill(block=False)
        front.tell(Add(1))
        await settle()
        assert dropped == ["deadline", "dead"]


def test_who_gives_up_in_another_thread_is_told_on_the_loop() -> None:
    """A blocking ask that times out on its thread drops the message there; the word comes on the loop, once."""
    dropped: list[tuple[DropReason, int]] = []
    with ActorSystem.in_thread() as system:
        loop_thread: list[int] = []
        released = threading.Event()

        class Telling(Middle):
            def on_receive(self, message: Any) -> Forwarded:
                def note(reason: DropReason) -> None:
                    dropped.append((reason, threading.get_ident()))
                    released.set()

                loop_thread.append(threading.get_ident())
                return self.forward(self.target, on_dropped=note)

        worker = system.spawn(Worker)
        front = system.spawn(Telling, worker)
        hold = threading.Event()

        async def wait(_: Worker) -> None:
            await asyncio.to_thread(hold.wait, 20)

        worker.tell(Start(wait))
        try:
            with pytest.raises(DeadlineExceeded):
                front.ask(Add(1), timeout=0.05)
            assert released.wait(10)
        finally:
            hold.set()
        assert dropped == [("deadline", loop_thread[0])]


def test_who_gives_up_in_another_thread_on_the_way_drops_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Withdrawn while it is in neither mailbox, by a thread that has not told its waiter yet when its turn comes."""
    dropped: list[DropReason] = []
    given_up, told = threading.Event(), threading.Event()
    original_deliver, original_fail = mailbox.Mailbox.deliver, mailbox.fail

    def deliver(self: mailbox.Mailbox, envelope: Envelope) -> ActorError | None:
        if envelope.on_dropped is not None:
            assert given_up.wait(20)
        return original_deliver(self, envelope)

    def fail(reply: Reply, error: Exception) -> None:
        if threading.current_thread() is asker:
            given_up.set()
            assert told.wait(20)
        original_fail(reply, error)

    monkeypatch.setattr(mailbox.Mailbox, "deliver", deliver)
    monkeypatch.setattr(mailbox, "fail", fail)
    with ActorSystem.in_thread() as system:
        worker = system.spawn(Worker)
        front = system.spawn(Front, worker, dropped)
        late: list[BaseException] = []

        def ask() -> None:
            try:
                front.ask(Add(1), timeout=0.05)
            except DeadlineExceeded as error:
                late.append(error)

        asker = threading.Thread(target=ask)
        asker.start()
        assert given_up.wait(20)
        assert worker.ask(Add(0)) == 0
        told.set()
        asker.join()
        assert len(late) == 1
    assert dropped == ["deadline"]
