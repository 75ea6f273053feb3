import asyncio
from typing import Any

import pytest

from actors import ActorSystem, DeadLetter, OneForOne, TimerHandle, WrongThread
from actors.testing import settle
from tests.actors.harness import Add, Raise, Start, Work, Worker, ignore_failure, virtual


def after(delay_s: float, message: Any) -> Start:
    return Start(lambda actor: actor.after(delay_s, message))


@virtual
async def test_after_tells_later_unless_cancelled() -> None:
    """A message comes after its delay; a cancelled one never; cancelling twice or too late does nothing."""
    log: list[Any] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker, log)
        handles: list[TimerHandle] = [
            await worker.ask_async(after(delay, Add(int(delay)))) for delay in (1.0, 2.0, 3.0)
        ]
        handles[1].cancel()
        handles[1].cancel()
        assert [handle.pending for handle in handles] == [True, False, True]
        await asyncio.sleep(2.5)
        assert log == ["start", 1]
        handles[0].cancel()
        await asyncio.sleep(1)
        assert log == ["start", 1, 3]


@pytest.mark.parametrize("end", ["stop", "kill", "crash"])
@virtual
async def test_timers_end_with_the_behaviour(end: str) -> None:
    """A stop, a kill and a restart cancel all timers: the next behaviour gets none of them."""
    log: list[Any] = []
    async with ActorSystem(on_failure=ignore_failure) as system:
        worker = system.spawn(Worker, log, supervision=OneForOne())
        handle: TimerHandle = await worker.ask_async(after(5, Add(5)))
        match end:
            case "stop":
                await worker.stop(block=False)
            case "kill":
                await worker.kill(block=False)
            case _:
                worker.tell(Raise(RuntimeError("bug")))
        await asyncio.sleep(10)
        assert 5 not in log
        assert not handle.pending
        assert system.dead_letters == 0


@virtual
async def test_timer_on_a_full_mailbox_is_a_dead_letter() -> None:
    """A timer's message that finds the mailbox full has no sender to tell: it is reported."""
    letters: list[DeadLetter] = []
    async with ActorSystem(on_dead_letter=letters.append) as system:
        worker = system.spawn(Worker, name="w")
        await worker.ask_async(after(1, Add(7)))
        worker.tell(Work(5))
        await settle()
        for _ in range(Worker.mailbox_capacity):
            worker.tell(Add(1))
        await asyncio.sleep(2)
        assert letters == [DeadLetter(Add(7), "w", "full", asked=False)]


@virtual
async def test_after_belongs_to_the_loop() -> None:
    """Setting a timer from a worker thread is WrongThread, which says what to do instead."""

    async def from_a_thread(actor: Worker) -> None:
        with pytest.raises(WrongThread, match="tell"):
            await asyncio.to_thread(actor.after, 1, Add(1))

    async with ActorSystem() as system:
        await system.spawn(Worker).ask_async(Start(from_a_thread))
