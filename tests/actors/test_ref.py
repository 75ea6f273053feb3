import asyncio
from typing import Any

import pykka
import pytest

from actors import Actor, ActorDead, ActorError, ActorSystem, NotSpawned, Ref
from actors.testing import settle, virtual_loop
from tests.actors.harness import Add, Raise, Worker, ignore_failure, virtual


@virtual
async def test_refs_are_pykka_refs() -> None:
    """What pykka's code reads of a ref and an actor is there: class, urn, inbox, the stopped flag, the proxy."""
    async with ActorSystem() as system:
        ref: Any = system.spawn(Worker, name="w")
        assert issubclass(Worker, pykka.Actor)
        assert issubclass(Ref, pykka.ActorRef)
        assert ref.actor_class is Worker
        assert str(ref) == "Worker (w)"
        assert repr(ref) == "<Ref w (Worker)>"
        actor = ref.cell.behaviour
        assert actor.actor_ref is ref
        assert actor.actor_urn == ref.actor_urn
        assert actor.actor_inbox is ref.actor_inbox
        assert not actor.actor_stopped.is_set()
        with pytest.raises(ActorError, match="ask or tell"):
            ref.actor_inbox.get()
        assert await ref.proxy().double(4) == 8
        ref.proxy().double.defer(1)
        await ref.stop(block=False)
        assert ref.actor_stopped.is_set()
        with pytest.raises(pykka.ActorDeadError):
            ref.proxy()


@virtual
async def test_pykkas_own_hooks_refuse_without_a_system() -> None:
    """The hooks by which pykka would start an actor itself are NotSpawned; its future is ours."""
    unspawned: Any = Worker()
    for hook in (unspawned._create_actor_inbox, unspawned._start_actor_loop):
        with pytest.raises(NotSpawned):
            hook()
    assert not unspawned._create_future().done()


@virtual
async def test_stop_request_by_ask() -> None:
    """pykka's own stop message ends the actor, asked or told; asking a dead actor to stop is ActorDead."""
    async with ActorSystem() as system:
        from pykka.messages import _ActorStop  # noqa: PLC0415 # pyright: ignore[reportPrivateUsage] # what pykka sends

        ref = system.spawn(Worker)
        await ref.ask_async(_ActorStop())
        assert ref.inspect().state == "stopped"
        with pytest.raises(ActorDead):
            await ref.ask_async(_ActorStop())
        assert system.dead_letters == 0


class Interrupted(Actor):
    def on_start(self) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("hook", [False, True])
def test_keyboard_interrupt_reaches_the_process(hook: bool) -> None:
    """Ctrl-C that hits a handler or a hook ends that actor, and comes out of the loop; the others are stopped."""
    log: list[Any] = []
    refs: list[Ref[Any]] = []

    async def main() -> None:
        async with ActorSystem(on_failure=ignore_failure) as system:
            refs.append(system.spawn(Worker, log))
            await settle()
            refs.append(system.spawn(Interrupted if hook else Worker))
            if not hook:
                refs[1].tell(Raise(KeyboardInterrupt()))
            await asyncio.sleep(60)

    with virtual_loop() as runner, pytest.raises(KeyboardInterrupt):
        runner.run(main())
    assert log == ["start", "stop"]
    assert [ref.inspect().state for ref in refs] == ["stopped", "failed"]


@virtual
async def test_told_messages_keep_their_order() -> None:
    """What one sender tells is handled in the order of telling, asks among it."""
    log: list[Any] = []
    async with ActorSystem() as system:
        ref = system.spawn(Worker, log)
        for number in range(7):
            ref.tell(Add(number))
        await ref.ask_async(Add(7))
        assert log == ["start", *range(8)]
