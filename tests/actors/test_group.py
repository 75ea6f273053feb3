"""Actors that rely on one another: restarted in their order, and failures that escalate."""

import asyncio
from typing import Any

import pytest

from actors import (
    ActorCrashed,
    ActorDead,
    ActorState,
    ActorSystem,
    Backoff,
    ChildFailed,
    Escalated,
    OneForOne,
    Ref,
    RestForOne,
    Terminated,
)
from actors.testing import settle
from tests.actors.harness import Add, Raise, RaiseLater, Start, Work, Worker, ignore_failure, virtual


class Named(Worker):
    """Records under its name when it starts and when it is restarted."""

    def __init__(self, name: str, log: list[str], *, start_s: float = 0.0, broken: list[str] | None = None) -> None:
        super().__init__()
        self.name, self.story, self.start_s, self.broken = name, log, start_s, broken or []

    async def on_start(self) -> None:  # type: ignore[override]
        await asyncio.sleep(self.start_s)
        if self.name in self.broken:
            raise OSError("broken")
        self.story.append(self.name)


def spawn(system: ActorSystem, names: str, log: list[str], supervision: OneForOne, **options: Any) -> list[Ref[Named]]:
    return [system.spawn(Named, name, log, name=name, supervision=supervision, **options) for name in names]


@virtual
async def test_those_started_later_restart_with_it_in_their_order() -> None:
    """The crashed actor and all after it are made anew, one when the one before has started; those before it are not."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[str] = []
        refs = spawn(system, "abcd", log, RestForOne(), start_s=5)
        await asyncio.gather(*(ref.ask_async(Add(1)) for ref in refs))
        begun = system.clock()
        log.clear()
        with pytest.raises(ActorCrashed):
            await refs[1].ask_async(Raise(OSError("no")))
        totals = [await ref.ask_async(Add(1)) for ref in refs]
        assert (log, totals) == (["b", "c", "d"], [2, 1, 1, 1])
        assert system.clock() == begun + 15
        assert [ref.inspect().restarts for ref in refs] == [0, 1, 1, 1]
        assert [ref.inspect().failures for ref in refs] == [0, 1, 0, 0]


@virtual
async def test_what_the_others_do_is_interrupted_and_what_waits_is_handled_later() -> None:
    """A running handler of a dependent is cancelled and its asker answered before anything restarts; its queue stays."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[str] = []
        first, second = spawn(system, "ab", log, RestForOne())
        await settle()
        running = asyncio.create_task(second.ask_async(Work(100)))
        await settle()
        waiting = asyncio.create_task(second.ask_async(Add(7)))
        await settle()
        with pytest.raises(ActorCrashed):
            await first.ask_async(RaiseLater(OSError("no")))
        with pytest.raises(ActorCrashed) as interrupted:
            await running
        assert isinstance(interrupted.value.__cause__, OSError)
        assert await waiting == 7
        assert log == ["a", "b", "a", "b"]


@virtual
async def test_nothing_restarts_before_all_that_is_taken_along_has_ended() -> None:
    """Handlers are cancelled the last one's first, and one that is long in ending is waited for."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[str] = []
        refs = spawn(system, "abc", log, RestForOne())

        async def linger(actor: Named) -> None:
            try:
                await asyncio.sleep(100)
            finally:
                log.append(f"{actor.name} ends")
                await asyncio.sleep(3)

        await settle()
        asks = [asyncio.create_task(ref.ask_async(Start(linger))) for ref in refs[1:]]
        await settle()
        log.clear()
        with pytest.raises(ActorCrashed):
            await refs[0].ask_async(Raise(OSError("no")))
        assert await refs[0].ask_async(Add(1)) == 1
        assert system.clock() == 3
        assert (log[:2], log[2]) == (["c ends", "b ends"], "a")
        for ask in asks:
            with pytest.raises(ActorCrashed):
                await ask
        assert [await ref.ask_async(Add(1)) for ref in refs[1:]] == [1, 1]


@virtual
async def test_the_end_of_one_that_waits_starts_nobody_early() -> None:
    """While one of them starts, those behind it wait, whatever happens among these."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[str] = []
        refs = spawn(system, "abcd", log, RestForOne(), start_s=5)
        await asyncio.gather(*(ref.ask_async(Add(1)) for ref in refs))
        with pytest.raises(ActorCrashed):
            await refs[0].ask_async(Raise(OSError("no")))
        await asyncio.sleep(6)
        log.clear()
        assert await refs[3].stop(block=False)
        await settle()
        assert [ref.inspect().state for ref in refs[1:3]] == [ActorState.STARTING, ActorState.RESTARTING]
        await refs[2].ask_async(Add(1))
        assert log == ["b", "c"]


@virtual
async def test_a_stop_that_waited_behind_the_interrupted_handler_is_done() -> None:
    """Nobody starts again only to be stopped."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[str] = []
        refs = spawn(system, "ab", log, RestForOne(backoff=Backoff(base_s=10, max_s=10)))
        await settle()
        running = asyncio.create_task(refs[1].ask_async(Work(100)))
        await settle()
        stopped = refs[1].stop(block=False)
        with pytest.raises(ActorCrashed):
            await refs[0].ask_async(Raise(OSError("no")))
        with pytest.raises(ActorCrashed):
            await running
        assert await asyncio.wait_for(stopped, 1)
        assert await refs[0].ask_async(Add(1)) == 1
        assert log == ["a", "b", "a"]


@virtual
async def test_two_objects_are_two_groups() -> None:
    """Equal parameters bind nobody together: only the very same object does."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[str] = []
        (one,), (other,) = spawn(system, "a", log, RestForOne()), spawn(system, "b", log, RestForOne())
        with pytest.raises(ActorCrashed):
            await one.ask_async(Raise(OSError("no")))
        await one.ask_async(Add(1))
        assert (one.inspect().restarts, other.inspect().restarts) == (1, 0)


@virtual
async def test_the_intensity_is_that_of_all_together() -> None:
    """Crashes of different members add up; past the intensity the crashed one fails and the others are killed."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[str] = []
        refs = spawn(system, "abc", log, RestForOne(intensity=2, period_s=1000))
        watcher = system.spawn(Worker)
        for ref in refs:
            await watcher.ask_async(_watching(ref))
        for ref in (refs[2], refs[0]):
            with pytest.raises(ActorCrashed):
                await ref.ask_async(Raise(OSError("no")))
        queued = asyncio.create_task(refs[2].ask_async(Work(50)))
        await asyncio.sleep(1)
        with pytest.raises(ActorCrashed):
            await refs[1].ask_async(Raise(OSError("no")))
        with pytest.raises(ActorDead):
            await queued
        await settle()
        assert [ref.is_alive() for ref in refs] == [False, False, False]
        notices: list[Terminated] = await watcher.ask_async(_noticed())
        assert {(n.ref.name, n.reason) for n in notices} == {("a", "killed"), ("b", "failed"), ("c", "killed")}


@virtual
async def test_a_member_that_ends_while_it_is_waited_for_frees_those_behind_it() -> None:
    """A stop or a kill of the one whose restart is due lets the next ones start; one that waits can be stopped, too."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[str] = []
        refs = spawn(system, "abcd", log, RestForOne(backoff=Backoff(base_s=10, max_s=10)))
        for _ in range(2):  # the second restart has a delay
            with pytest.raises(ActorCrashed):
                await refs[0].ask_async(Raise(OSError("no")))
        await settle()
        assert {ref.inspect().state for ref in refs} == {ActorState.RESTARTING}
        log.clear()
        assert await refs[1].stop(block=False)
        assert await refs[0].kill(block=False)
        assert [await ref.ask_async(Add(1)) for ref in refs[2:]] == [1, 1]
        assert log == ["c", "d"]


@virtual
async def test_one_that_can_not_start_again_keeps_the_others_waiting_until_it_is_given_up() -> None:
    """Those behind never run on something that is not there: they end with it."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[str] = []
        broken: list[str] = [""]
        refs = spawn(system, "abc", log, RestForOne(intensity=3, period_s=1000), broken=broken)
        await settle()
        broken.append("b")
        log.clear()
        with pytest.raises(ActorCrashed):
            await refs[0].ask_async(Raise(OSError("no")))
        with pytest.raises(ActorDead):
            await refs[2].ask_async(Add(1))
        assert log == ["a"]
        assert not any(ref.is_alive() for ref in refs)


@virtual
async def test_a_failure_escalates() -> None:
    """An actor that is given up crashes the one that it escalates to, whose own supervision then decides."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        log: list[Any] = []
        parent = system.spawn(Remembering, log, supervision=OneForOne())
        child = system.spawn(Worker, supervision=OneForOne(intensity=0, escalate_to=parent))
        with pytest.raises(ActorCrashed):
            await child.ask_async(Raise(OSError("no")))
        assert await parent.ask_async(Add(1)) == 1
        [(error, interrupted)] = log
        assert isinstance(error, ChildFailed)
        assert (error.child, type(error.__cause__)) == (child.name, OSError)
        assert isinstance(interrupted, Escalated)
        assert (child.is_alive(), parent.inspect().restarts) == (False, 1)


@virtual
async def test_an_escalation_waits_for_the_running_handler_and_then_goes_first() -> None:
    """What the other actor is at is finished; what waits there is handled after its restart, or dies with it."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        parent = system.spawn(Worker)
        child = system.spawn(Worker, supervision=OneForOne(intensity=0, escalate_to=parent))
        running = asyncio.create_task(parent.ask_async(Work(10)))
        await settle()
        waiting = asyncio.create_task(parent.ask_async(Add(1)))
        await settle()
        with pytest.raises(ActorCrashed):
            await child.ask_async(Raise(OSError("no")))
        assert await running == "work"
        with pytest.raises(ActorDead, match="failed"):
            await waiting


class Remembering(Worker):
    """Keeps what it was restarted for."""

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.reasons = log

    def on_restart(self, error: Exception, interrupted: object | None) -> None:
        self.reasons.append((error, interrupted))


def _watching(ref: Ref[Any]) -> Any:
    return Start(lambda actor: actor.watch(ref))


def _noticed() -> Any:
    def notices(actor: Worker) -> list[Terminated]:
        return actor.notices

    return Start(notices)
