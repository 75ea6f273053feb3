import asyncio
import threading
import time

from actors import ActorSystem
from actors.testing import Recorder, run_virtual, virtual_loop
from tests.actors.harness import virtual


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


@virtual
async def test_recorder_keeps_and_answers() -> None:
    """A Recorder keeps what it got in order, and answers with the message or by its function."""
    async with ActorSystem() as system:
        echo, doubling = system.spawn(Recorder), system.spawn(Recorder, reply=double)
        assert [await echo.ask_async(word) for word in ("a", "b")] == ["a", "b"]
        assert await doubling.ask_async(4) == 8
        assert await echo.proxy().received == ["a", "b"]
