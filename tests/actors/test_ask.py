import asyncio
import contextvars
from collections import deque
from typing import Any

import pytest

from actors import (
    Actor,
    ActorCrashed,
    ActorDead,
    ActorSystem,
    DeadLetter,
    ForeignActor,
    Forwarded,
    HandlerCancelled,
    MailboxFull,
    NothingToForward,
    NotSpawned,
    OneForOne,
    Ref,
    UnhandledMessage,
    WouldDeadlock,
)
from actors.testing import Recorder, settle
from tests.actors.harness import Add, Declared, Raise, RaiseLater, Start, Urgent, Work, Worker, ignore_failure, virtual


@virtual
async def test_ask_returns_what_the_handler_returned() -> None:
    """A reply comes back from a synchronous and from an asynchronous handler."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        assert await worker.ask_async(Add(2)) == 2
        assert await worker.ask_async(Work(5)) == "work"
        assert await worker.ask(Add(3), block=False) == 5
        assert system.clock() == 5


@virtual
async def test_one_message_at_a_time() -> None:
    """While an asynchronous handler runs the actor takes no other message; the order of arrival is kept."""
    log: list[Any] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker, log)
        await asyncio.gather(worker.ask_async(Work(5)), worker.ask_async(Add(1)), worker.ask_async(Work(1, "second")))
    assert log == ["start", "work begins", "work ends", 1, "second begins", "second ends", "stop"]


@virtual
async def test_actors_run_side_by_side() -> None:
    """A busy actor does not delay another one."""
    async with ActorSystem() as system:
        refs = [system.spawn(Worker) for _ in range(3)]
        await asyncio.gather(*(ref.ask_async(Work(5)) for ref in refs))
        assert system.clock() == 5


@virtual
async def test_system_lane_goes_before_user_lane() -> None:
    """System messages are handled before user messages that came earlier, but never during a handler."""
    log: list[Any] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker, log)
        worker.tell(Work(1))
        await settle()
        worker.tell(Add(1))
        worker.tell(Urgent("first"))
        worker.tell(Urgent("second"))
        assert worker.inspect().queued == 1
        assert worker.inspect().system_queued == 2
        await worker.ask_async(Add(2))
    assert log == ["start", "work begins", "work ends", "first", "second", 1, 2, "stop"]


@virtual
async def test_user_lane_is_bounded_and_system_lane_is_not() -> None:
    """The message past the bound is refused: raised by tell, answered to an ask; system messages still pass."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        running = asyncio.ensure_future(worker.ask_async(Work(1)))
        await settle()
        for _ in range(Worker.mailbox_capacity):
            worker.tell(Add(1))
        with pytest.raises(MailboxFull, match="8 messages"):
            worker.tell(Add(1))
        with pytest.raises(MailboxFull):
            await worker.ask_async(Add(1))
        with pytest.raises(MailboxFull):
            await worker.ask(Add(1), block=False)
        assert system.counters().refused == 3
        assert await worker.ask_async(Urgent("passes")) == "passes"
        await running
        assert await worker.ask_async(Add(0)) == Worker.mailbox_capacity


@virtual
async def test_declared_error_is_an_answer() -> None:
    """A domain error reaches the asker alone; the actor keeps its state, also when it was only told."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        await worker.ask_async(Add(1))
        for message in (Raise(Declared("no")), RaiseLater(Declared("no"))):
            with pytest.raises(Declared, match="no"):
                await worker.ask_async(message)
            worker.tell(message)
        assert await worker.ask_async(Add(1)) == 2
        assert system.counters().domain_errors == 4
        assert worker.inspect().failures == 0


@virtual
async def test_unknown_message_is_refused_to_the_asker() -> None:
    """super().on_receive answers UnhandledMessage; a told one becomes a dead letter; the actor goes on."""
    letters: list[DeadLetter] = []
    async with ActorSystem(on_dead_letter=letters.append) as system:
        worker = system.spawn(Worker)
        with pytest.raises(UnhandledMessage, match="str"):
            await worker.ask_async("what?")
        worker.tell("what?")
        assert await worker.ask_async(Add(1)) == 1
    assert letters == [DeadLetter("what?", worker.name, "unhandled", asked=False)]


@pytest.mark.parametrize("message", [Raise(RuntimeError("bug")), RaiseLater(RuntimeError("bug"))])
@virtual
async def test_crash_without_supervision_ends_the_actor(message: Any) -> None:
    """The interrupted asker gets ActorCrashed with the cause, those who wait get ActorDead."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        worker = system.spawn(Worker, name="w")
        results = await asyncio.gather(
            worker.ask_async(message), worker.ask_async(Add(1)), worker.ask_async(Add(1)), return_exceptions=True
        )
        crashed, *dead = results
        assert isinstance(crashed, ActorCrashed)
        assert isinstance(crashed.__cause__, RuntimeError)
        assert all(isinstance(error, ActorDead) and error.reason == "failed" for error in dead)
        assert worker.inspect().state == "failed"
        assert system.get("w") is None
        with pytest.raises(ActorDead):
            worker.tell(Add(1))


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError(), GeneratorExit(), StopIteration()])
@pytest.mark.parametrize("later", [False, True])
@virtual
async def test_base_exception_crashes_its_actor_alone(error: BaseException, later: bool) -> None:
    """SystemExit, CancelledError and their like end the actor that raised them, not its neighbours or the loop."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        worker, neighbour = system.spawn(Worker), system.spawn(Worker)
        with pytest.raises(ActorCrashed) as caught:
            await worker.ask_async(RaiseLater(error) if later else Raise(error))
        assert isinstance(caught.value.__cause__, HandlerCancelled | StopIteration | RuntimeError)
        assert worker.inspect().state == "failed"
        assert await neighbour.ask_async(Add(1)) == 1


@virtual
async def test_blocking_call_on_the_loop_raises_at_once() -> None:
    """ask, stop, kill and Future.get on the loop's own thread are WouldDeadlock instead of a deadlock."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        for call in (lambda: worker.ask(Add(1)), worker.stop, worker.kill, worker.ask(Work(1), block=False).get):
            with pytest.raises(WouldDeadlock, match="await"):
                call()
        assert worker.is_alive()
        await worker.stop(block=False)
        assert worker.stop() is False  # nothing to wait for
        with pytest.raises(ActorDead):
            worker.ask(Add(1))


@virtual
async def test_handler_that_asks_its_own_actor_fails_at_once() -> None:
    """An actor that awaits itself in its handler gets WouldDeadlock; from a task beside the handler it may ask."""

    async def ask_itself(actor: Worker) -> str:
        with pytest.raises(WouldDeadlock, match="own handler"):
            await actor.actor_ref.ask_async(Add(1))
        asyncio.get_running_loop().create_task(actor.actor_ref.ask_async(Add(1)))
        return "went on"

    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        assert await worker.ask_async(Start(ask_itself)) == "went on"
        assert await worker.ask_async(Add(1)) == 2


@virtual
async def test_cancelled_waiter_withdraws_what_has_not_started() -> None:
    """A cancelled ask never runs if it waits; a handler that has started goes on to its end."""
    log: list[Any] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker, log)
        running = asyncio.ensure_future(worker.ask_async(Work(5)))
        waiting = asyncio.ensure_future(worker.ask_async(Add(1)))
        await settle()
        for task in (running, waiting):
            task.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert worker.inspect().queued == 0
        await worker.ask_async(Add(2))
        assert log == ["start", "work begins", "work ends", 2]
        assert system.counters().withdrawn == 1
        assert system.counters().late_replies == 1


@virtual
async def test_waiter_cancelled_in_the_turn_of_the_drain() -> None:
    """A waiter that is cancelled after the drain was scheduled, but before it ran, withdraws its message as well."""
    log: list[Any] = []
    async with ActorSystem() as system:
        worker = system.spawn(Worker, log)
        await worker.ask_async(Add(0))
        task = asyncio.ensure_future(worker.ask_async(Add(1)))
        await asyncio.sleep(0)  # sent, not drained
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await worker.ask_async(Add(2)) == 2


class Front(Actor):
    """Forwards everything, as a registry does."""

    def __init__(self, target: Ref[Any], message: Any = None) -> None:
        super().__init__()
        self.target = target
        self.message = message

    def on_receive(self, message: Any) -> Forwarded:
        return self.forward(self.target, self.message)


@virtual
async def test_forward_hands_reply_and_message_over() -> None:
    """The one forwarded to answers the asker; the forwarder takes other messages meanwhile."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        front = system.spawn(Front, worker)
        renaming = system.spawn(Front, worker, Add(40))
        assert await asyncio.gather(*(front.ask_async(message) for message in (Work(5), Add(1)))) == ["work", 1]
        assert await renaming.ask_async("something") == 41
        front.tell(Add(1))
        assert await front.ask_async(Add(0)) == 42


@virtual
async def test_refused_forward_goes_to_the_asker() -> None:
    """MailboxFull and ActorDead of the target reach whoever asked; a told message becomes a dead letter."""
    letters: list[DeadLetter] = []
    async with ActorSystem(on_dead_letter=letters.append) as system:
        worker = system.spawn(Worker, name="w")
        front = system.spawn(Front, worker)
        worker.tell(Work(5))
        await settle()
        for _ in range(Worker.mailbox_capacity):
            worker.tell(Add(1))
        with pytest.raises(MailboxFull):
            await front.ask_async(Add(1))
        front.tell(Add(7))
        await settle()
        assert letters == [DeadLetter(Add(7), "w", "full", asked=False)]
        await worker.kill(block=False)
        with pytest.raises(ActorDead):
            await front.ask_async(Add(1))


@virtual
async def test_forward_needs_a_message_of_this_system() -> None:
    """Forwarding twice, outside a handler or to another system is a typed error."""

    async def twice(actor: Worker) -> None:
        actor.forward(echo)
        with pytest.raises(NothingToForward):
            actor.forward(echo)

    async def abroad(actor: Worker) -> str:
        with pytest.raises(ForeignActor):
            actor.forward(foreign)
        return "mine still"

    async with ActorSystem() as system, ActorSystem() as other:
        echo = system.spawn(Recorder)
        foreign = other.spawn(Recorder)
        worker = system.spawn(Worker)
        message = Start(twice)
        assert await worker.ask_async(message) is message
        assert await worker.ask_async(Start(abroad)) == "mine still"


@virtual
async def test_forward_to_self_queues_again() -> None:
    """An actor may forward to itself: the message is handled again in its turn."""

    async def again(actor: Worker) -> Forwarded:
        return actor.forward(actor.actor_ref, Add(3))

    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        assert await worker.ask_async(Start(again)) == 3


class Listener(Worker):
    def on_queued(self, message: Any) -> None:
        self.log.append(("queued", message, self.queued()))
        if message == Add(-1):
            raise LookupError("bug in the hook")


@virtual
async def test_running_handler_hears_what_is_queued() -> None:
    """on_queued is called for user messages that come while a handler runs, and queued() lists them."""
    log: list[Any] = []
    async with ActorSystem() as system:
        worker = system.spawn(Listener, log)
        worker.tell(Work(5))
        await settle()
        worker.tell(Urgent("not announced"))
        assert await worker.ask_async(Add(1)) == 1
        await worker.ask_async(Add(2))
    assert [entry for entry in log if isinstance(entry, tuple)] == [("queued", Add(1), (Add(1),))]


@virtual
async def test_handler_hears_what_is_queued_while_it_starts() -> None:
    """A message queued in the synchronous part of a handler is announced, and so are those that come later."""
    log: list[Any] = []

    def start(actor: Worker) -> Any:
        actor.actor_ref.tell(Add(1))
        return asyncio.sleep(5)

    async with ActorSystem() as system:
        worker = system.spawn(Listener, log)
        worker.tell(Start(start))
        await asyncio.sleep(1)
        worker.tell(Add(2))
        await asyncio.sleep(1)
        assert log == ["start", ("queued", Add(1), (Add(1),)), ("queued", Add(2), (Add(1), Add(2)))]


class Vanishing(deque[Any]):
    """A lane whose last message is withdrawn by another thread between the look and the grasp."""

    vanished = False

    def popleft(self) -> Any:
        message = super().popleft()
        if not self.vanished:
            self.vanished = True
            raise IndexError
        return message


@virtual
async def test_message_withdrawn_under_the_drain() -> None:
    """A message that another thread withdraws while the drain reaches for it costs the others nothing."""
    async with ActorSystem() as system:
        worker = system.spawn(Worker)
        worker.tell(Urgent("withdrawn"))
        worker.cell.urgent = Vanishing(worker.cell.urgent or ())
        assert await worker.ask_async(Add(1)) == 1


@virtual
async def test_failing_on_queued_is_a_crash() -> None:
    """An exception in on_queued cancels the running handler, whose asker gets ActorCrashed with that cause."""
    async with ActorSystem(on_failure=ignore_failure) as system:
        worker = system.spawn(Listener, supervision=OneForOne())
        running = asyncio.ensure_future(worker.ask_async(Work(5)))
        await settle()
        waiting = asyncio.ensure_future(worker.ask_async(Add(-1)))
        with pytest.raises(ActorCrashed) as caught:
            await running
        assert isinstance(caught.value.__cause__, LookupError)
        assert await waiting == -1  # it stayed in the mailbox


origin: contextvars.ContextVar[str] = contextvars.ContextVar("origin", default="none")


class Contextual(Actor):
    def on_receive(self, message: Any) -> Any:
        seen = origin.get()
        origin.set(message)
        return seen


@virtual
async def test_handlers_have_a_context_of_their_own() -> None:
    """A handler sees neither the context of its asker nor that of another actor, only its own actor's."""
    async with ActorSystem() as system:
        origin.set("asker")
        one, two = system.spawn(Contextual), system.spawn(Contextual)
        assert await one.ask_async("one") == "none"
        assert await two.ask_async("two") == "none"
        assert await one.ask_async("again") == "one"
        assert origin.get() == "asker"


def test_actor_without_system_says_what_to_do() -> None:
    """pykka's start() and the services of an unspawned actor are NotSpawned and name system.spawn."""
    with pytest.raises(NotSpawned, match=r"system\.spawn\(Worker"):
        Worker.start()
    with pytest.raises(NotSpawned, match=r"system\.spawn"):
        _ = Worker().system
