import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import anyio.to_thread
import pytest

from actors import ActorSystem
from actors.testing import Recorder, run_virtual, virtual_loop
from tests.actors.harness import Work, Worker, virtual


def test_virtual_time_passes_at_once() -> None:
    """A day of sleeping takes no time, timers fire in their order at their moment, and the result comes back."""
    fired: list[tuple[str, float]] = []

    async def main(answer: int) -> int:
        loop = asyncio.get_running_loop()

        def note(name: str) -> None:
            fired.append((name, loop.time()))

        for name, delay in (("late", 3600.0), ("early", 60.0)):
            loop.call_later(delay, note, name)
        await asyncio.sleep(86400)
        assert loop.time() == 86400
        return answer

    begun = time.monotonic()
    assert run_virtual(main, answer=42) == 42
    assert time.monotonic() - begun < 10
    assert fired == [("early", 60.0), ("late", 3600.0)]


def test_virtual_loop_waits_for_threads_when_nothing_else_is_due() -> None:
    """With no timer set, the loop waits for another thread as a real one does."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        threading.Timer(0, lambda: loop.call_soon_threadsafe(future.set_result, "from a thread")).start()
        return await future

    with virtual_loop() as runner:
        assert runner.run(main()) == "from a thread"


def double(number: int) -> int:
    return 2 * number


@pytest.mark.parametrize("to_thread", [asyncio.to_thread, anyio.to_thread.run_sync])
def test_virtual_clock_waits_for_threads(to_thread: Callable[..., Awaitable[str]]) -> None:
    """Work in threads takes no virtual time: it beats a deadline that real time would let pass much later."""

    def work() -> str:
        for _ in range(100):
            threading.Event().wait(0)  # gives the other threads a turn
        return "done"

    async def main() -> None:
        async with asyncio.timeout(0.001):
            assert await to_thread(work) == "done"
        assert asyncio.get_running_loop().time() == 0

    run_virtual(main)


def test_thread_that_waits_for_a_timer_of_the_loop() -> None:
    """A thread that itself waits for the loop's timers does not stop the clock for ever."""

    async def main() -> None:
        async with ActorSystem() as system:
            worker = system.spawn(Worker)
            assert await asyncio.to_thread(worker.ask, Work(60)) == "work"
            assert system.clock() == 60

    run_virtual(main)


@virtual
async def test_recorder_keeps_and_answers() -> None:
    """A Recorder keeps what it got in order, and answers with the message or by its function."""
    async with ActorSystem() as system:
        echo, doubling = system.spawn(Recorder), system.spawn(Recorder, reply=double)
        assert [await echo.ask_async(word) for word in ("a", "b")] == ["a", "b"]
        assert await doubling.ask_async(4) == 8
        assert await echo.proxy().received == ["a", "b"]
