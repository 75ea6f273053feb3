"""Worker threads: nobody returns before his thread has ended."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backends import TransferCancelled
from backends.cancellation import pause
from hub.workers import Workers
from tests.hub.blocking import PATIENCE_S, Block


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


def test_work_runs_off_the_loop_and_returns(workers: Workers) -> None:
    """Arguments are handed on, the result comes back, and it ran on a thread of the hub's."""

    def work(one: int, *, two: int) -> tuple[int, str]:
        return one + two, threading.current_thread().name

    result, name = asyncio.run(workers.run(work, 1, two=2))
    assert result == 3
    assert name.startswith("modhub-files")
    assert asyncio.run(workers.request(work, 1, two=2)) == (3, "modhub-request_0")
    assert asyncio.run(workers.renew(work, 1, two=2)) == (3, "modhub-lease_0")


def test_what_work_raises_reaches_the_caller(workers: Workers) -> None:
    """An error on the thread is the caller's, for file work and for requests."""

    def fail() -> None:
        raise FileNotFoundError("gone")

    for run in (workers.run, workers.request, workers.renew):
        with pytest.raises(FileNotFoundError, match="gone"):
            asyncio.run(run(fail))


@pytest.mark.parametrize("slow", ["erase", "request", "renew"])
def test_short_work_does_not_queue_behind_slow(workers: Workers, slow: str) -> None:
    """While deletions, requests or renewals at a backend that hangs have all their threads, file work still runs."""

    async def scenario() -> list[str]:
        blocks = [Block() for _ in range(20)]
        busy: Callable[..., Any] = getattr(workers, slow)
        waiting = [asyncio.ensure_future(busy(block)) for block in blocks]
        await workers.run(blocks[0].began.wait, PATIENCE_S)
        assert await workers.run(lambda: "short") == "short"
        for block in blocks:
            block.go_on.set()
        return [str(done) for done in await asyncio.gather(*waiting)]

    assert asyncio.run(scenario()) == ["done"] * 20


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


def test_a_cancelled_request_is_not_repeated_any_more(workers: Workers) -> None:
    """A store that pauses before it repeats a request is woken, so that the end of a hub does not wait for it."""

    async def scenario() -> list[str]:
        began = threading.Event()
        ended: list[str] = []

        def repeat() -> None:
            began.set()
            try:
                pause(PATIENCE_S)
            except TransferCancelled:
                ended.append("woken")
                raise

        caller = asyncio.ensure_future(workers.request(repeat))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        return ended

    assert asyncio.run(scenario()) == ["woken"]


def test_closing_joins_the_threads() -> None:
    """When `close` returns, running work has ended and no thread of the hub's is left."""
    workers = Workers()

    async def scenario() -> Block:
        block = Block()
        caller = asyncio.ensure_future(workers.run(block))
        await workers.request(lambda: None)
        closing = asyncio.ensure_future(asyncio.to_thread(workers.close))
        block.go_on.set()
        await closing
        await caller
        return block

    assert asyncio.run(scenario()).ended
    assert not [t for t in threading.enumerate() if t.name.startswith("modhub")]
