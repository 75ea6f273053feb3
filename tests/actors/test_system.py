import asyncio
import logging
import threading
from typing import Any

import pytest

from actors import (
    ActorCrashed,
    ActorDead,
    ActorSystem,
    Counters,
    DeadLetter,
    DuplicateName,
    OneForOne,
    SystemNotRunning,
)
from actors.testing import Recorder, settle
from tests.actors.harness import Add, Raise, Start, Work, Worker, ignore_failure, virtual

BUG = RuntimeError("bug")


@virtual
async def test_names_are_unique_among_the_living() -> None:
    """A live name can't be taken again; the name of an ended actor can; unnamed actors get names of their own."""
    async with ActorSystem() as system:
        first = system.spawn(Worker, name="w")
        with pytest.raises(DuplicateName, match="'w'"):
            system.spawn(Worker, name="w")
        assert system.get("w") is first
        await first.stop(block=False)
        assert system.get("w") is None
        assert system.spawn(Worker, name="w") is not first
        assert system.spawn(Worker).name != system.spawn(Worker).name


@virtual
async def test_systems_live_side_by_side() -> None:
    """Two systems on one loop share nothing: the same name is free in each, and one ends without the other."""
    async with ActorSystem("one") as one:
        here = one.spawn(Recorder, name="same")
        async with ActorSystem("two") as two:
            there = two.spawn(Recorder, name="same")
            assert here.actor_urn != there.actor_urn
            assert await there.ask_async("x") == "x"
        assert await here.ask_async("y") == "y"
        assert not there.is_alive()


@virtual
async def test_leaving_stops_the_last_started_first() -> None:
    """On exit actors stop in reverse order of their start, each fully before the next."""
    log: list[Any] = []

    class Named(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            log.append(f"{self.actor_ref.name} stops")
            await asyncio.sleep(1)
            log.append(f"{self.actor_ref.name} stopped")

    async with ActorSystem() as system:
        for name in "abc":
            system.spawn(Named, name=name)
    assert log == [f"{name} {what}" for name in "cba" for what in ("stops", "stopped")]


@virtual
async def test_leaving_answers_everything() -> None:
    """What is queued at exit gets ActorDead; what ran ends; nothing can be spawned or sent afterwards."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        running = asyncio.ensure_future(worker.ask_async(Work(5)))
        await settle()
        waiting = worker.ask(Add(1), block=False)
    assert await running == "work"
    with pytest.raises(ActorDead):
        await waiting
    with pytest.raises(SystemNotRunning):
        system.spawn(Worker)
    with pytest.raises(ActorDead):
        worker.tell(Add(1))
    assert system.actors() == []


@virtual
async def test_one_that_hangs_costs_the_others_nothing() -> None:
    """Past stop_timeout_s the rest stop side by side with their on_stop, then what still runs is killed."""
    log: list[Any] = []
    async with ActorSystem(stop_timeout_s=5) as system:
        system.spawn(Worker, log)
        hanging = system.spawn(Worker)
        ask = asyncio.ensure_future(hanging.ask_async(Work(10_000)))
        await settle()
    assert log == ["start", "stop"]
    assert system.clock() == 10
    with pytest.raises(ActorDead, match="killed"):
        await ask


@virtual
async def test_cancelled_exit_leaves_no_task() -> None:
    """A host that is cancelled while it leaves the system still ends every actor's task."""
    cleaned: list[bool] = []

    async def long(_: Worker) -> None:
        try:
            await asyncio.sleep(10_000)
        finally:
            await asyncio.sleep(1)
            cleaned.append(True)

    async def host() -> None:
        async with ActorSystem(stop_timeout_s=None) as system:
            for _ in range(3):
                system.spawn(Worker)  # idle ones that the cancellation leaves to be killed
            system.spawn(Worker).tell(Start(long))
            await settle()

    task = asyncio.ensure_future(host())
    await asyncio.sleep(5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]


@virtual
async def test_failing_body_stops_the_actors_too() -> None:
    """An exception in the body of `async with` comes out as it is, after the actors have stopped."""
    log: list[Any] = []
    with pytest.raises(KeyError):  # noqa: PT012 # the body of the system is what fails
        async with ActorSystem() as system:
            system.spawn(Worker, log)
            raise KeyError
    assert log == ["start", "stop"]


@virtual
async def test_a_system_runs_once() -> None:
    """A system that was not entered says so, and one can't be entered twice."""
    system = ActorSystem()
    for use in (lambda: system.spawn(Worker), system.clock, lambda: system.deadlines, system.actors):
        with pytest.raises(SystemNotRunning, match="async with"):
            use()
    async with system:
        with pytest.raises(SystemNotRunning):
            await system.__aenter__()


def test_drain_budget_is_positive() -> None:
    """A budget of 0 would handle nothing: it is a ValueError."""
    with pytest.raises(ValueError, match="drain_budget"):
        ActorSystem(drain_budget=0)


@virtual
async def test_counters_count() -> None:
    """Each total counts what it says."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        worker = system.spawn(Worker, supervision=OneForOne())
        with pytest.raises(ActorCrashed):
            await worker.ask_async(Raise(BUG))
        await worker.stop(block=False)
        with pytest.raises(ActorDead):
            worker.tell(Add(1))
        assert system.counters() == Counters(spawned=1, ended=1, failures=1, restarts=1, dead_letters=1)
        assert system.dead_letters == 1


@virtual
async def test_failing_callbacks_are_contained(caplog: pytest.LogCaptureFixture) -> None:
    """A callback of the host that raises is logged and disturbs no actor."""

    def fail(_: object) -> None:
        raise OSError("host's bug")

    async with ActorSystem(on_failure=fail, on_dead_letter=fail) as system:
        worker = system.spawn(Worker, supervision=OneForOne())
        worker.tell(Raise(BUG))
        worker.tell("unknown")
        assert await worker.ask_async(Add(1)) == 1
    assert [record.message.split()[0] for record in caplog.records if record.levelno == logging.ERROR] == [
        "on_failure",
        "on_dead_letter",
    ]


@virtual
async def test_crash_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Without on_failure a crash is a warning of the logger modhub.actors that carries the exception."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker, name="w")
        worker.tell(Raise(BUG))
        await settle()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.name == "modhub.actors"
    assert record.exc_info is not None
    assert record.exc_info[1] is BUG
    assert "actor w crashed on Raise: end" in record.message


@virtual
async def test_snapshots() -> None:
    """inspect tells state, queue, counters and the current message of a live actor, and of one that has ended."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker, name="w")
        worker.tell(Work(5))
        await settle()
        worker.tell(Add(1))
        info = system.inspect(worker)
        assert (info.state, info.current, info.queued, info.processed) == ("running", "Work", 1, 0)
        assert system.actors() == [info]
        await worker.ask_async(Add(1))
        info = worker.inspect()
        assert (info.state, info.current, info.queued, info.processed) == ("idle", None, 0, 3)
        assert (info.name, info.class_name, info.failures, info.last_error) == ("w", "Worker", 0, None)
        await worker.stop(block=False)
        assert worker.inspect().state == "stopped"


@virtual
async def test_look_up_and_removal_do_not_depend_on_the_number() -> None:
    """Ten thousand actors are found by name and stopped one by one within the one turn each that a stop takes."""
    async with ActorSystem() as system:
        refs = [system.spawn(Recorder, name=f"r{number}") for number in range(10_000)]
        assert system.get("r9999") is refs[9999]
        assert await asyncio.gather(*(ref.stop(block=False) for ref in refs)) == [True] * 10_000
        assert system.actors() == []


def test_system_in_a_thread_of_its_own() -> None:
    """in_thread gives a system that is used by blocking calls; its thread is joined on leaving."""
    before = threading.active_count()
    letters: list[DeadLetter] = []
    with ActorSystem.in_thread("threaded", on_dead_letter=letters.append) as system:
        worker = system.spawn(Worker)
        assert worker.ask(Add(2)) == 2
        assert worker.stop()
        with pytest.raises(ActorDead):
            worker.ask(Add(2))
    assert threading.active_count() == before
    assert [letter.reason for letter in letters] == ["dead"]
