import asyncio
from typing import Any

import pytest

from actors import ActorSystem, OneForOne, Ref, Terminated
from actors.testing import settle
from tests.actors.harness import Add, Raise, Start, Worker, ignore_failure, virtual

BUG = RuntimeError("bug")


def watching(target: Ref[Any]) -> Start:
    return Start(lambda actor: actor.watch(target))


def unwatching(target: Ref[Any]) -> Start:
    return Start(lambda actor: actor.unwatch(target))


async def notices(watcher: Ref[Any]) -> list[Terminated]:
    await settle()
    result: list[Terminated] = await watcher.ask_async(Start(lambda actor: actor.notices))
    return result


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("end", "reason", "error"), [("stop", "stopped", None), ("kill", "killed", None), ("crash", "failed", BUG)]
)
@virtual
async def test_watcher_hears_how_it_ended(before: bool, end: str, reason: Any, error: Exception | None) -> None:
    """Terminated tells stopped, killed and failed apart, also to one who began to watch after the end."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        target, watcher = system.spawn(Worker), system.spawn(Worker)
        if before:
            await watcher.ask_async(watching(target))
            await watcher.ask_async(watching(target))  # once more changes nothing
        if end == "crash":
            target.tell(Raise(BUG))
            await settle()
        else:
            await (target.stop(block=False) if end == "stop" else target.kill(block=False))
        if not before:
            await watcher.ask_async(watching(target))
        assert await notices(watcher) == [Terminated(target, reason, error)]


@virtual
async def test_unwatch_and_dead_watchers() -> None:
    """One who unwatched hears nothing; a watcher that ended leaves nothing behind in the watched actor."""
    async with ActorSystem() as system:
        target, watcher, dead = (system.spawn(Worker) for _ in range(3))
        for ref in (watcher, dead):
            await ref.ask_async(watching(target))
        await watcher.ask_async(unwatching(target))
        await watcher.ask_async(unwatching(dead))  # never watched: nothing to do
        await dead.stop(block=False)
        assert target.cell.watches is not None
        assert not target.cell.watches.watchers
        await target.stop(block=False)
        assert await notices(watcher) == []
        assert system.dead_letters == 0


@virtual
async def test_watch_survives_the_watchers_restart() -> None:
    """A watch belongs to the cell: the restarted behaviour gets the Terminated."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        target, watcher = system.spawn(Worker), system.spawn(Worker, supervision=OneForOne())
        await watcher.ask_async(watching(target))
        watcher.tell(Raise(BUG))
        await settle()
        await target.stop(block=False)
        assert await notices(watcher) == [Terminated(target, "stopped")]


@virtual
async def test_terminated_passes_a_full_mailbox() -> None:
    """Terminated travels in the system lane: a full mailbox doesn't lose it, and it goes before what waits."""
    log: list[Any] = []
    async with ActorSystem() as system:
        target, watcher = system.spawn(Worker), system.spawn(Worker, log)
        await watcher.ask_async(watching(target))
        release = asyncio.Event()
        watcher.tell(Start(lambda _: release.wait()))
        await settle()
        for _ in range(Worker.mailbox_capacity):
            watcher.tell(Add(1))
        await target.stop(block=False)
        release.set()
        await settle()
        assert log == ["start", "stopped"] + [1] * Worker.mailbox_capacity


@virtual
async def test_watch_across_systems() -> None:
    """An actor may watch one of another system."""
    async with ActorSystem() as system:
        watcher = system.spawn(Worker)
        async with ActorSystem("other") as other:
            target = other.spawn(Worker)
            await watcher.ask_async(watching(target))
        assert await notices(watcher) == [Terminated(target, "stopped")]
