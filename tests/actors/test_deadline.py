import asyncio
from typing import Any

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ActorSystem, Backoff, DeadlineExceeded, Forwarded, OneForOne
from actors.deadline import DeadlineHeap
from actors.message import ANSWERED, WITHDRAWN, Envelope
from actors.testing import settle, virtual_loop
from tests.actors.harness import Add, Raise, Start, Urgent, Work, Worker, ignore_failure, virtual


@virtual
async def test_queued_ask_is_withdrawn_at_its_deadline() -> None:
    """An ask that still waits at its deadline gets DeadlineExceeded(started=False) then, and never runs."""
    log: list[Any] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker, log)
        worker.tell(Work(10))
        with pytest.raises(DeadlineExceeded, match="repeated safely") as caught:
            await worker.ask_async(Add(1), timeout=3)
        assert system.clock() == 3
        assert not caught.value.started
        assert worker.inspect().queued == 0
        await worker.ask_async(Add(2))
        assert 1 not in log


@virtual
async def test_running_ask_goes_on_past_its_deadline() -> None:
    """A handler that runs at the deadline ends as usual; its asker has DeadlineExceeded(started=True) already."""
    log: list[Any] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker, log)
        for ask in (
            lambda: worker.ask_async(Work(10), timeout=3),
            lambda: worker.ask(Work(10), block=False, timeout=3),
        ):
            begun = system.clock()
            with pytest.raises(DeadlineExceeded) as caught:
                await ask()
            assert caught.value.started
            assert system.clock() - begun == 3
            await worker.ask_async(Add(0))
        assert log == ["start", "work begins", "work ends", 0, "work begins", "work ends", 0]
        assert system.counters().expired == 2
        assert system.counters().late_replies == 2


@virtual
async def test_deadline_of_a_system_message() -> None:
    """The system lane's messages are withdrawn at their deadline too."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        worker.tell(Work(10))
        await settle()
        with pytest.raises(DeadlineExceeded):
            await worker.ask_async(Urgent("late"), timeout=3)
        assert worker.inspect().system_queued == 0


@virtual
async def test_deadline_that_has_passed_refuses_at_once() -> None:
    """A timeout of 0 is not sent at all; the error is also pykka's Timeout and the built-in TimeoutError."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        for kind in (pykka.Timeout, TimeoutError):
            with pytest.raises(kind):
                await worker.ask_async(Add(1), timeout=0)
        assert await worker.ask_async(Add(1)) == 1


@virtual
async def test_deadline_holds_while_the_loop_is_late() -> None:
    """A message whose deadline passed while a synchronous handler blocked the loop is not started."""
    log: list[Any] = []

    async with ActorSystem() as system:
        worker = system.spawn(Worker, log)
        await settle()
        now = system.loop.time

        def block(_: Worker) -> None:
            # Time passes, and no timer can fire: what a blocking handler does to a real loop.
            system.loop.time = lambda: now() + 60  # type: ignore[method-assign]

        asks = [
            asyncio.ensure_future(worker.ask_async(message, timeout=timeout))
            for message, timeout in ((Start(block), 100.0), (Add(1), 30.0))
        ]
        done, late = await asyncio.gather(*asks, return_exceptions=True)
        assert done is None
        assert isinstance(late, DeadlineExceeded)
        assert not late.started
        assert log == ["start"]


@virtual
async def test_deadline_moves_with_a_forwarded_message() -> None:
    """A forwarded ask is withdrawn from the mailbox it is in at the deadline."""

    async def pass_on(actor: Worker) -> Forwarded:
        return actor.forward(target, Add(1))

    async with ActorSystem() as system:
        front, target = system.spawn(Worker), system.spawn(Worker, name="target")
        target.tell(Work(10))
        with pytest.raises(DeadlineExceeded) as caught:
            await front.ask_async(Start(pass_on), timeout=3)
        assert caught.value.actor == "target"
        assert not caught.value.started
        assert target.inspect().queued == 0


@virtual
async def test_forward_after_the_deadline_is_dropped() -> None:
    """What is forwarded after its asker's deadline goes nowhere: nobody waits for it."""

    async def pass_on_late(actor: Worker) -> Forwarded:
        await asyncio.sleep(5)
        return actor.forward(target, Add(1))

    async with ActorSystem() as system:
        front, target = system.spawn(Worker), system.spawn(Worker)
        with pytest.raises(DeadlineExceeded):
            await front.ask_async(Start(pass_on_late), timeout=3)
        await front.ask_async(Add(0))
        assert await target.ask_async(Add(0)) == 0


@virtual
async def test_ask_waiting_for_a_restart_keeps_its_deadline() -> None:
    """An ask queued while the actor waits out its backoff is withdrawn at its deadline."""
    slow = OneForOne(backoff=Backoff(first_s=10))
    async with ActorSystem(on_failure=ignore_failure) as system:
        worker = system.spawn(Worker, supervision=slow)
        worker.tell(Raise(RuntimeError("bug")))
        with pytest.raises(DeadlineExceeded) as caught:
            await worker.ask_async(Add(1), timeout=3)
        assert not caught.value.started


def envelope_due(deadline: float) -> Envelope:
    envelope = Envelope("message")
    envelope.deadline = deadline
    return envelope


@given(deadlines=st.lists(st.integers(1, 50), max_size=30), answered=st.sets(st.integers(0, 29)))
def test_heap_expires_exactly_the_open_ones_in_order(deadlines: list[int], answered: set[int]) -> None:
    """Each envelope still open at its deadline is expired then; answered ones never; one loop timer at most."""
    expired: list[tuple[float, float | None]] = []
    with virtual_loop() as runner:
        loop = runner.get_loop()

        def expire(envelope: Envelope) -> None:
            envelope.state = WITHDRAWN
            expired.append((loop.time(), envelope.deadline))

        heap = DeadlineHeap(loop, expire)
        envelopes = [envelope_due(float(deadline)) for deadline in deadlines]
        for envelope in envelopes:
            heap.add(envelope)
        for index in answered:
            if index < len(envelopes):
                envelopes[index].state = ANSWERED
                heap.answered()
        runner.run(asyncio.sleep(60))
        heap.close()
    open_ones = sorted(float(d) for index, d in enumerate(deadlines) if index not in answered)
    assert expired == [(deadline, deadline) for deadline in open_ones]


def test_heap_forgets_answered_envelopes() -> None:
    """Long deadlines on asks that are answered at once don't fill the memory: the dead are swept out."""
    with virtual_loop() as runner:
        heap = DeadlineHeap(runner.get_loop(), lambda _: None)
        envelope = envelope_due(3600.0)
        for _ in range(10_000):
            envelope = envelope_due(3600.0)
            heap.add(envelope)
            envelope.state = ANSWERED
            heap.answered()
            assert len(heap) <= 130
        heap.add(envelope)  # answered before it was added: nothing to watch
        heap.close()
