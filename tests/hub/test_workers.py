"""Worker threads: nobody returns before his thread has ended."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from backends import TransferCancelled
from hub.lifecycle import Request
from hub.operation import Operation, Phase
from hub.workers import Workers

PATIENCE_S = 30


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(transfers=1)
    yield workers
    workers.close()


def hydrating(op_id: str = "op") -> Operation:
    operation = Operation(op_id, "m", Request.PROVISION, lambda: 0.0)
    operation.phase = Phase.HYDRATING
    return operation


class Block:
    """Work that runs on a thread until it is let go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.ended = False

    def __call__(self) -> str:
        self.began.set()
        assert self.go_on.wait(PATIENCE_S)
        self.ended = True
        return "done"


def test_work_runs_off_the_loop_and_returns(workers: Workers) -> None:
    """Arguments are handed on, the result comes back, and it ran on a thread of the hub's."""

    def work(one: int, *, two: int) -> tuple[int, str]:
        return one + two, threading.current_thread().name

    result, name = asyncio.run(workers.run(work, 1, two=2))
    assert result == 3
    assert name.startswith("modhub-files")


def test_what_work_raises_reaches_the_caller(workers: Workers) -> None:
    """An error on the thread is the caller's, for short work and for transfers."""

    def fail() -> None:
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        asyncio.run(workers.run(fail))
    with pytest.raises(FileNotFoundError, match="gone"):
        asyncio.run(workers.transfer(hydrating(), fail))


def test_short_work_does_not_queue_behind_transfers(workers: Workers) -> None:
    """While every transfer worker is busy, file work still runs."""

    async def scenario() -> str:
        block = Block()
        transfer = asyncio.ensure_future(workers.transfer(hydrating(), block))
        await workers.run(block.began.wait, PATIENCE_S)
        assert await workers.run(lambda: "short") == "short"
        block.go_on.set()
        return await transfer

    assert asyncio.run(scenario()) == "done"


@pytest.mark.parametrize("cancels", [1, 3])
def test_a_cancelled_caller_waits_for_its_thread(workers: Workers, cancels: int) -> None:
    """However often the caller is cancelled, the cancellation goes on only when the thread has ended."""

    async def scenario() -> None:
        block = Block()
        caller = asyncio.ensure_future(workers.run(block))
        await asyncio.to_thread(block.began.wait, PATIENCE_S)
        for _ in range(cancels):
            caller.cancel()
            for _ in range(5):
                await asyncio.sleep(0)  # turns of the loop: time enough for a caller that does not wait
            assert not caller.done()
        block.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert block.ended

    asyncio.run(scenario())


def test_a_cancelled_caller_tells_its_transfer(workers: Workers) -> None:
    """The transfer sees the token set, so that it ends soon; what it raises then gives way to the cancellation."""

    async def scenario() -> None:
        operation = hydrating()
        began = threading.Event()

        def transfer() -> None:
            began.set()
            assert operation.cancelled.wait(PATIENCE_S)
            raise TransferCancelled("ended by the token")

        caller = asyncio.ensure_future(workers.transfer(operation, transfer))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    asyncio.run(scenario())


def test_a_transfer_that_was_cancelled_before_never_runs(workers: Workers) -> None:
    """An operation that is cancelled already is not even queued."""
    operation = hydrating()
    operation.cancel("an obliterate waits", Phase.HYDRATING)
    ran: list[bool] = []
    with pytest.raises(TransferCancelled):
        asyncio.run(workers.transfer(operation, lambda: ran.append(True)))
    assert ran == []


def test_a_transfer_cancelled_in_the_queue_ends_at_once_and_never_runs(workers: Workers) -> None:
    """It does not wait for the worker that it will not need, and others in the queue are not disturbed."""

    async def scenario() -> list[str]:
        block = Block()
        ran: list[str] = []
        busy = asyncio.ensure_future(workers.transfer(hydrating("busy"), block))
        await asyncio.to_thread(block.began.wait, PATIENCE_S)
        operation = hydrating("queued")
        queued = asyncio.ensure_future(workers.transfer(operation, lambda: ran.append("queued")))
        other = asyncio.ensure_future(workers.transfer(hydrating("other"), lambda: ran.append("other")))
        await asyncio.sleep(0)  # one turn: both are submitted
        operation.cancel("a deprovision waits", Phase.HYDRATING)
        with pytest.raises(TransferCancelled):
            await queued
        assert not busy.done()
        block.go_on.set()
        await asyncio.gather(busy, other)
        return ran

    assert asyncio.run(scenario()) == ["other"]


def test_a_caller_cancelled_in_the_queue_is_a_cancellation(workers: Workers) -> None:
    """A task that is cancelled itself is not told that its operation was: the cancellation goes on."""

    async def scenario() -> None:
        block = Block()
        ran: list[bool] = []
        busy = asyncio.ensure_future(workers.transfer(hydrating("busy"), block))
        await asyncio.to_thread(block.began.wait, PATIENCE_S)
        queued = asyncio.ensure_future(workers.transfer(hydrating("queued"), lambda: ran.append(True)))
        await asyncio.sleep(0)  # one turn: it is submitted
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        block.go_on.set()
        await busy
        assert ran == []

    asyncio.run(scenario())


def test_a_finished_transfer_can_not_be_withdrawn(workers: Workers) -> None:
    """Afterwards the operation holds no way to a queue any more."""
    operation = hydrating()
    asyncio.run(workers.transfer(operation, lambda: None))
    assert operation.withdraw is None


def test_closing_joins_the_threads() -> None:
    """When `close` returns, running work has ended and no thread of the hub's is left."""
    workers = Workers(transfers=2)

    async def scenario() -> Block:
        block = Block()
        caller = asyncio.ensure_future(workers.run(block))
        await asyncio.to_thread(block.began.wait, PATIENCE_S)
        closing = asyncio.ensure_future(asyncio.to_thread(workers.close))
        block.go_on.set()
        await closing
        await caller
        return block

    assert asyncio.run(scenario()).ended
    assert not [t for t in threading.enumerate() if t.name.startswith(("modhub-files", "modhub-transfer"))]
