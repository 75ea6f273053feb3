import asyncio
import gc
from typing import Any

import pytest

from actors import (
    Actor,
    ActorCrashed,
    ActorDead,
    ActorFailure,
    ActorSystem,
    Backoff,
    DeadLetter,
    OneForOne,
    Terminated,
)
from actors.testing import settle
from tests.actors.harness import Add, Declared, Raise, RaiseLater, Start, Urgent, Work, Worker, ignore_failure, virtual

BUG = RuntimeError("bug")


@virtual
async def test_stop_runs_next_and_answers_what_waits() -> None:
    """A stop lets the running handler end, goes before all that waits, and answers it with ActorDead."""
    log: list[Any] = []
    letters: list[DeadLetter] = []
    async with ActorSystem(on_dead_letter=letters.append) as system:
        worker = system.spawn(Worker, log, name="w")
        running = asyncio.ensure_future(worker.ask_async(Work(5)))
        waiting = asyncio.ensure_future(worker.ask_async(Add(1)))
        await settle()
        worker.tell(Add(2))
        stopped = [worker.stop(block=False), worker.stop(block=False)]
        assert [await future for future in stopped] == [True, True]
        assert await running == "work"
        with pytest.raises(ActorDead, match="stopped"):
            await waiting
        assert system.clock() == 5
        assert await worker.stop(block=False) is False
    assert log == ["start", "work begins", "work ends", "stop"]
    assert [(letter.message, letter.reason, letter.asked) for letter in letters] == [
        (Add(1), "queued", True),
        (Add(2), "queued", False),
    ]


@virtual
async def test_actor_stops_itself() -> None:
    """Actor.stop(), pykka's own way, ends the actor after the message that calls it."""

    async def end(actor: Worker) -> str:
        actor.stop()
        return "last words"

    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        assert await worker.ask_async(Start(end)) == "last words"
        await settle()
        assert worker.inspect().state == "stopped"


class Hooked(Worker):
    """Has asynchronous hooks."""

    async def on_start(self) -> None:  # type: ignore[override]
        await asyncio.sleep(2)
        self.log.append("start")

    async def on_stop(self) -> None:  # type: ignore[override]
        await asyncio.sleep(2)
        self.log.append("stop")


@virtual
async def test_hooks_may_be_asynchronous() -> None:
    """Messages wait for on_start; while on_stop runs the mailbox is closed and further stops wait for its end."""
    log: list[Any] = []
    async with ActorSystem() as system:
        hooked = system.spawn(Hooked, log)
        assert hooked.inspect().state == "starting"
        assert await hooked.ask_async(Add(1)) == 1
        assert system.clock() == 2
        stopping = hooked.stop(block=False)
        await settle()
        assert hooked.inspect().state == "stopping"
        assert not hooked.is_alive()
        with pytest.raises(ActorDead):
            hooked.tell(Add(1))
        assert await hooked.stop(block=False)
        assert await stopping
        assert system.clock() == 4
    assert log == ["start", 1, "stop"]


@virtual
async def test_kill_acts_at_once() -> None:
    """A kill cancels the running handler, waits for its end and answers everybody; on_stop is not called."""
    log: list[Any] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker, log)
        asks = [asyncio.ensure_future(worker.ask_async(Work(50)))]
        await settle()
        asks += [asyncio.ensure_future(worker.ask_async(message)) for message in (Add(1), Urgent("u"))]
        await asyncio.sleep(1)
        assert await worker.kill(block=False)
        assert system.clock() == 1
        for error in await asyncio.gather(*asks, return_exceptions=True):
            assert isinstance(error, ActorDead)
            assert error.reason == "killed"
        assert await worker.kill(block=False) is False
        assert log == ["start", "work begins", "work cancelled"]
        assert worker.inspect().state == "stopped"


@virtual
async def test_kill_waits_for_the_handlers_cleanup() -> None:
    """The kill's answer comes when the cancelled handler has really ended; a second kill does not cut it short."""
    log: list[Any] = []

    async def stubborn(_: Worker) -> str:
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            await asyncio.sleep(3)
            log.append("cleaned up")
        return "done after all"

    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        ask = asyncio.ensure_future(worker.ask_async(Start(stubborn)))
        await asyncio.sleep(1)
        assert [await future for future in (worker.kill(block=False), worker.kill(block=False))] == [True, True]
        assert system.clock() == 4
        assert log == ["cleaned up"]
        assert await ask == "done after all"  # what really happened


@pytest.mark.parametrize("moment", [0.5, 2.5])
@virtual
async def test_kill_hits_asynchronous_hooks(moment: float) -> None:
    """A kill during on_start or on_stop cancels the hook; a waiting stop is answered."""
    log: list[Any] = []
    async with ActorSystem() as system:
        hooked = system.spawn(Hooked, log)
        stopping = hooked.stop(block=False)
        await asyncio.sleep(moment)
        assert await hooked.kill(block=False)
        assert await stopping
        assert system.clock() == moment
        assert "stop" not in log


@virtual
async def test_kill_from_within() -> None:
    """An actor may kill itself in a synchronous and in an asynchronous handler."""

    def now(actor: Worker) -> str:
        actor.actor_ref.kill(block=False)
        return "reply"

    async def later(actor: Worker) -> None:
        actor.actor_ref.kill(block=False)
        await asyncio.sleep(1)

    async with ActorSystem() as system:
        one, two = system.spawn(Worker), system.spawn(Worker)
        assert await one.ask_async(Start(now)) == "reply"
        with pytest.raises(ActorDead):
            await two.ask_async(Start(later))
        assert not one.is_alive()
        assert not two.is_alive()


@virtual
async def test_kill_before_the_first_step() -> None:
    """A kill that comes before an asynchronous handler's first step leaves no coroutine that was never awaited."""
    log: list[Any] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker, log)
        ask = asyncio.ensure_future(worker.ask_async(Work(5)))
        while worker.inspect().current is None:  # noqa: ASYNC110 # the drain is a callback, not a task
            await asyncio.sleep(0)
        assert await worker.kill(block=False)
        with pytest.raises(ActorDead):
            await ask
        gc.collect()
        assert log == ["start"]


@virtual
async def test_kill_beside_the_end_of_the_handler() -> None:
    """What a handler ended with before the kill could hit it is its answer, a declared error too."""

    def end(actor: Worker) -> str:
        actor.actor_ref.kill(block=False)
        return "done"

    def refuse(actor: Worker) -> None:
        actor.actor_ref.kill(block=False)
        raise Declared("no")

    async with ActorSystem() as system:
        assert await system.spawn(Worker).ask_async(Start(end)) == "done"
        with pytest.raises(Declared):
            await system.spawn(Worker).ask_async(Start(refuse))


@virtual
async def test_kill_reports_what_the_cancelled_handler_raised() -> None:
    """An exception in the clean-up of a killed handler is reported, and is the cause of the asker's ActorDead."""
    failures: list[ActorFailure] = []

    async def messy(_: Worker) -> None:
        try:
            await asyncio.sleep(50)
        finally:
            raise OSError("disk")

    async with ActorSystem(on_failure=failures.append) as system:
        worker = system.spawn(Worker, supervision=OneForOne())
        ask = asyncio.ensure_future(worker.ask_async(Start(messy)))
        await settle()
        await worker.kill(block=False)
        with pytest.raises(ActorDead) as caught:
            await ask
        assert isinstance(caught.value.__cause__, OSError)
    assert [(type(failure.error), failure.action) for failure in failures] == [(OSError, "end")]


@pytest.mark.parametrize("message", [Raise(BUG), RaiseLater(BUG)])
@virtual
async def test_restart_keeps_ref_and_mailbox(message: Any) -> None:
    """A restart replaces the behaviour alone: same ref, name and urn; what waits is handled by the new one."""
    failures: list[ActorFailure] = []
    async with ActorSystem(on_failure=failures.append) as system:
        worker = system.spawn(Worker, name="w", supervision=OneForOne())
        assert await worker.ask_async(Add(5)) == 5
        before = worker.inspect()
        crashed, *rest = await asyncio.gather(
            *(worker.ask_async(sent) for sent in (message, Add(1), Add(1))), return_exceptions=True
        )
        assert isinstance(crashed, ActorCrashed)
        assert crashed.message_type == type(message).__name__
        assert rest == [1, 2]  # a fresh total
        after = worker.inspect()
        assert (after.urn, after.name, after.restarts, after.failures) == (before.urn, "w", 1, 1)
        assert system.get("w") is worker
    assert [(failure.error, failure.message, failure.action) for failure in failures] == [(BUG, message, "restart")]


class Restarted(Actor):
    """Remembers how it was restarted."""

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log

    async def on_restart(self, error: Exception, interrupted: object | None) -> None:
        await asyncio.sleep(1)
        self.log.append((error, interrupted))

    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise BUG
        return message


@virtual
async def test_new_behaviour_learns_of_the_crash() -> None:
    """on_restart is called on the new behaviour with the error and the interrupted message; messages wait for it."""
    log: list[Any] = []
    async with ActorSystem(on_failure=ignore_failure) as system:
        ref = system.spawn(Restarted, log, supervision=OneForOne())
        ref.tell("crash")
        assert await ref.ask_async("next") == "next"
        assert system.clock() == 1
    assert log == [(BUG, "crash")]


@virtual
async def test_failed_start_takes_the_same_path() -> None:
    """on_start is tried again by supervision; what was asked meanwhile is answered by whoever starts in the end."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[Any] = []
        worker = system.spawn(Worker, log, fail_on_start=2, supervision=OneForOne())
        assert await worker.ask_async(Add(1)) == 1
        assert worker.inspect().restarts == 2
        hopeless = system.spawn(Worker, fail_on_start=9)
        with pytest.raises(ActorDead, match="failed"):
            await hopeless.ask_async(Add(1))


class Unconstructable(Worker):
    built = 0

    def __init__(self, log: list[Any] | None = None) -> None:
        super().__init__(log)
        Unconstructable.built += 1
        if Unconstructable.built == 2:
            raise OSError("constructor")


@virtual
async def test_failing_constructor() -> None:
    """A constructor that fails in spawn raises there; one that fails in a restart is one more crash."""
    Unconstructable.built = 1
    async with ActorSystem(on_failure=ignore_failure) as system:
        with pytest.raises(OSError, match="constructor"):
            system.spawn(Unconstructable, name="u")
        assert system.get("u") is None
        Unconstructable.built = 0
        ref = system.spawn(Unconstructable, name="u", supervision=OneForOne())
        ref.tell(Raise(BUG))
        assert await ref.ask_async(Add(1)) == 1
        assert ref.inspect().failures == 2


@virtual
async def test_intensity_exceeded_ends_as_failed() -> None:
    """Past the intensity the actor fails for good: watchers hear the error, those who wait get ActorDead."""
    strategy = OneForOne(intensity=2, period_s=60, backoff=Backoff(first_s=0, base_s=1, jitter=0))
    failures: list[ActorFailure] = []
    async with ActorSystem(on_failure=failures.append) as system:
        worker, watcher = system.spawn(Worker, supervision=strategy), system.spawn(Worker)
        await watcher.ask_async(Start(lambda actor: actor.watch(worker)))
        results = await asyncio.gather(
            *(worker.ask_async(Raise(BUG)) for _ in range(3)), worker.ask_async(Add(1)), return_exceptions=True
        )
        assert [type(result) for result in results] == [ActorCrashed] * 3 + [ActorDead]
        assert system.clock() == 1
        assert worker.inspect().state == "failed"
        notices = await watcher.ask_async(Start(lambda actor: actor.notices))
        assert notices == [Terminated(worker, "failed", BUG)]
    assert [(failure.action, failure.delay_s) for failure in failures] == [("restart", 0), ("restart", 1), ("end", 0)]


@virtual
async def test_backoff_can_not_outwait_the_intensity() -> None:
    """Time waited for restarts does not count for the period: a crash loop ends even if its backoff is longer."""
    strategy = OneForOne(intensity=3, period_s=5, backoff=Backoff(first_s=10, base_s=10, factor=1, jitter=0))
    async with ActorSystem(on_failure=ignore_failure) as system:
        worker = system.spawn(Worker, fail_on_start=99, supervision=strategy)
        with pytest.raises(ActorDead):
            await worker.ask_async(Add(1))
        assert system.clock() == 30


@pytest.mark.parametrize("end", ["stop", "kill"])
@virtual
async def test_end_while_waiting_for_the_restart(end: str) -> None:
    """A stop or kill during the backoff ends the actor at once, and what waits is answered."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        worker = system.spawn(Worker, supervision=OneForOne(backoff=Backoff(first_s=60, max_s=60)))
        worker.tell(Raise(BUG))
        await settle()
        assert worker.inspect().state == "restarting"
        waiting = worker.ask(Add(1), block=False)
        assert await (worker.stop(block=False) if end == "stop" else worker.kill(block=False))
        assert system.clock() == 0
        with pytest.raises(ActorDead):
            await waiting


@virtual
async def test_stop_that_waits_during_a_crash() -> None:
    """A stop queued behind a handler that crashes ends the actor without a restart."""
    log: list[Any] = []
    async with ActorSystem(on_failure=ignore_failure) as system:
        worker = system.spawn(Worker, log, supervision=OneForOne())
        ask = asyncio.ensure_future(worker.ask_async(RaiseLater(BUG)))
        await settle()
        assert await worker.stop(block=False)
        with pytest.raises(ActorCrashed):
            await ask
        assert log == ["start"]


@virtual
async def test_failure_callback_may_kill() -> None:
    """Whoever hears of a failure may kill the actor before it is restarted."""

    def kill(failure: ActorFailure) -> None:
        failure.ref.kill(block=False)

    async with ActorSystem(on_failure=kill) as system:
        one, two = (system.spawn(Worker, supervision=OneForOne(backoff=Backoff(first_s=60))) for _ in range(2))
        for ref, message in ((one, Raise(BUG)), (two, RaiseLater(BUG))):
            with pytest.raises(ActorCrashed):
                await ref.ask_async(message)
            await settle()
            assert ref.inspect().state == "stopped"


class BadStop(Worker):
    def on_stop(self) -> None:
        raise BUG


@virtual
async def test_failing_on_stop_is_reported_and_stops_all_the_same() -> None:
    """An exception in on_stop is a failure, and the actor has stopped."""
    failures: list[ActorFailure] = []
    async with ActorSystem(on_failure=failures.append) as system:
        worker = system.spawn(BadStop, supervision=OneForOne())
        assert await worker.stop(block=False)
        assert worker.inspect().state == "stopped"
    assert [(failure.error, failure.action) for failure in failures] == [(BUG, "end")]


@virtual
async def test_hot_actor_leaves_the_others_their_turn() -> None:
    """An actor with a long mailbox handles at most the drain budget of messages before others get a turn."""
    order: list[str] = []

    class Hot(Actor):
        mailbox_capacity = 10_000

        def on_receive(self, message: Any) -> None:
            order.append(message)

    async with ActorSystem(drain_budget=10) as system:
        hot, other = system.spawn(Hot), system.spawn(Hot)
        await settle()
        for _ in range(1000):
            hot.tell("hot")
        await other.ask_async("other")
        assert order.count("hot") <= 20
