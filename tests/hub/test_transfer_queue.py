"""The queue of transfers: bounded, fair, and ended at once by those that they belong to."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from backends import Progress, TransferCancelled
from backends.cancellation import pause
from hub.errors import BackendError
from hub.lanes import LONG_BYTES
from hub.lifecycle import Request
from hub.operation import Operation, Phase
from hub.transfer_queue import TransferQueue, Turn
from tests.hub.blocking import PATIENCE_S, Block


@pytest.fixture
def queue() -> Iterator[TransferQueue]:
    queue = TransferQueue(1)
    yield queue
    queue.close()


def hydrating(op_id: str = "op") -> Operation:
    operation = Operation(op_id, "m", Request.PROVISION, lambda: 0.0)
    operation.phase = Phase.HYDRATING
    return operation


def begin(transfer: Coroutine[Any, Any, str]) -> "asyncio.Task[str]":
    return asyncio.get_running_loop().create_task(transfer)


class Huge:
    """A transfer that moves for ever, unless it is ended or let go; counts its turns."""

    def __init__(self) -> None:
        self.turns = 0
        self.yielded = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, turn: Turn) -> str:
        self.turns += 1
        turn.on_progress(Progress("download", 0, LONG_BYTES + 1, 0, 1))
        while not self.go_on.wait(0.001):
            if turn.cancelled.is_set():
                self.yielded.set()
                raise TransferCancelled("cancelled")
        return "huge"


def test_a_transfer_runs_on_a_thread_of_its_own_and_returns(queue: TransferQueue) -> None:
    """Result and error are the caller's; afterwards the operation holds no way to the queue any more."""
    operation = hydrating()

    def fail(_turn: Turn) -> str:
        raise FileNotFoundError("gone")

    name = asyncio.run(queue.run(operation, lambda _: threading.current_thread().name))
    assert name.startswith("modhub-transfer")
    with pytest.raises(FileNotFoundError, match="gone"):
        asyncio.run(queue.run(operation, fail))
    assert operation.withdraw is None


def test_a_cancelled_operation_ends_its_transfer(queue: TransferQueue) -> None:
    """The work sees its token, also where a store on its thread pauses before it repeats a request."""

    async def scenario(work: Callable[[Turn], object]) -> None:
        operation = hydrating()
        began = threading.Event()

        def transfer(turn: Turn) -> str:
            began.set()
            return str(work(turn))

        caller = begin(queue.run(operation, transfer))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        operation.cancel("an obliterate waits", Phase.HYDRATING)
        with pytest.raises(TransferCancelled):
            await caller

    def looks(turn: Turn) -> str:
        assert turn.cancelled.wait(PATIENCE_S)
        raise TransferCancelled("ended by the token")

    asyncio.run(scenario(looks))

    def repeats(_turn: Turn) -> None:
        pause(PATIENCE_S)

    asyncio.run(scenario(repeats))


def test_a_cancelled_caller_waits_for_its_transfer_and_tells_it(queue: TransferQueue) -> None:
    """The transfer sees the token set, so that it ends soon; what it raises then gives way to the cancellation."""

    async def scenario() -> None:
        began = threading.Event()

        def transfer(turn: Turn) -> str:
            began.set()
            assert turn.cancelled.wait(PATIENCE_S)
            raise TransferCancelled("ended by the token")

        caller = begin(queue.run(hydrating(), transfer))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    asyncio.run(scenario())


def test_a_transfer_that_was_cancelled_before_never_runs(queue: TransferQueue) -> None:
    """An operation that is cancelled already is not even queued."""
    operation = hydrating()
    operation.cancel("an obliterate waits", Phase.HYDRATING)
    ran: list[bool] = []
    with pytest.raises(TransferCancelled):
        asyncio.run(queue.run(operation, lambda _: ran.append(True)))
    assert ran == []


def test_a_transfer_cancelled_in_the_queue_ends_at_once_and_never_runs(queue: TransferQueue) -> None:
    """It does not wait for the thread that it will not need, and others in the queue are not disturbed."""

    async def scenario() -> list[str]:
        block = Block()
        ran: list[str] = []

        def note(name: str) -> str:
            ran.append(name)
            return name

        busy = begin(queue.run(hydrating("busy"), block))
        await asyncio.to_thread(block.began.wait, PATIENCE_S)
        operation = hydrating("queued")
        queued = begin(queue.run(operation, lambda _: note("queued")))
        other = begin(queue.run(hydrating("other"), lambda _: note("other")))
        await asyncio.sleep(0)  # one turn: both wait
        operation.cancel("a deprovision waits", Phase.HYDRATING)
        with pytest.raises(TransferCancelled):
            await queued
        assert not busy.done()
        block.go_on.set()
        await asyncio.gather(busy, other)
        return ran

    assert asyncio.run(scenario()) == ["other"]


def test_a_caller_cancelled_in_the_queue_is_a_cancellation(queue: TransferQueue) -> None:
    """A task that is cancelled itself is not told that its operation was, and its place is free for the next."""

    async def scenario() -> None:
        block = Block()
        never = Block()
        busy = begin(queue.run(hydrating("busy"), block))
        await asyncio.to_thread(block.began.wait, PATIENCE_S)
        queued = begin(queue.run(hydrating("queued"), never))
        await asyncio.sleep(0)  # one turn: it waits
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        block.go_on.set()
        await busy
        assert not never.began.is_set()
        assert await queue.run(hydrating("next"), lambda _: "runs") == "runs"

    asyncio.run(scenario())


def test_what_waits_can_be_refused_at_once(queue: TransferQueue) -> None:
    """Whoever waits is told why; what runs goes on, and later ones run."""

    async def scenario() -> None:
        block = Block()
        busy = begin(queue.run(hydrating("busy"), block))
        await asyncio.to_thread(block.began.wait, PATIENCE_S)
        waiting = [begin(queue.run(hydrating(), lambda _: "never")) for _ in range(3)]
        await asyncio.sleep(0)  # one turn: they wait
        queue.refuse_waiting(BackendError)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["m"] * 3
        assert not busy.done()
        block.go_on.set()
        assert await busy == "done"
        assert await queue.run(hydrating(), lambda _: "later") == "later"

    asyncio.run(scenario())


@pytest.mark.parametrize("slots", [2, 4, 8])
def test_a_small_transfer_passes_any_number_of_huge_ones(slots: int) -> None:
    """More huge transfers than there are slots, all begun before: a small one still runs at once, and in the end all do."""
    queue = TransferQueue(slots)

    async def scenario() -> None:
        huge = [Huge() for _ in range(3 * slots)]
        callers = [begin(queue.run(hydrating(), transfer)) for transfer in huge]
        small = await asyncio.wait_for(queue.run(hydrating(), lambda _: "small"), PATIENCE_S)
        assert small == "small"
        assert not any(caller.done() for caller in callers)
        # Those for which there was no room have ended their turn, and begin again when there is.
        assert sum(transfer.yielded.is_set() for transfer in huge) >= 2 * slots
        for transfer in huge:
            transfer.go_on.set()
        assert await asyncio.wait_for(asyncio.gather(*callers), PATIENCE_S) == ["huge"] * len(huge)
        assert {transfer.turns for transfer in huge} == {1, 2}

    asyncio.run(scenario())
    queue.close()


def test_a_huge_transfer_that_had_to_yield_can_be_cancelled() -> None:
    """An operation that is cancelled while its transfer waits for its second turn ends at once."""
    queue = TransferQueue(2)

    async def scenario() -> None:
        first, second = Huge(), Huge()
        running = begin(queue.run(hydrating(), first))
        operation = hydrating()
        yielding = begin(queue.run(operation, second))
        await asyncio.to_thread(second.yielded.wait, PATIENCE_S)
        operation.cancel("a deprovision waits", Phase.HYDRATING)
        with pytest.raises(TransferCancelled):
            await yielding
        assert second.turns == 1
        first.go_on.set()
        assert await running == "huge"

    asyncio.run(scenario())
    queue.close()


def test_closing_joins_the_threads() -> None:
    """When `close` returns, running transfers have ended and no thread is left."""
    queue = TransferQueue(2)

    async def scenario() -> Block:
        block = Block()
        caller = begin(queue.run(hydrating(), block))
        await asyncio.to_thread(block.began.wait, PATIENCE_S)
        closing = asyncio.ensure_future(asyncio.to_thread(queue.close))
        block.go_on.set()
        await closing
        await caller
        return block

    assert asyncio.run(scenario()).ended
    assert not [t for t in threading.enumerate() if t.name.startswith("modhub-transfer")]
