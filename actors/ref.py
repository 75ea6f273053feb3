"""References: how everyone else talks to an actor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import pykka

from actors.actor import Actor
from actors.errors import WouldDeadlock
from actors.future import Future
from actors.mailbox import expire, withdraw
from actors.message import Envelope, Message, StopRequest

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.inspection import ActorInfo

A_co = TypeVar("A_co", bound=Actor, covariant=True)
R = TypeVar("R")


class StoppedFlag:
    """What pykka reads of a `threading.Event`, without one for each actor."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def is_set(self) -> bool:
        """Tell whether the actor has ended, or is stopping and takes no messages."""
        return not self._cell.accepting


class Ref(pykka.ActorRef[Any], Generic[A_co]):
    """A reference to an actor, valid across its restarts; to be passed around freely, also between threads.

    Two refs are equal when they are the same actor.
    """

    def __init__(self, cell: Cell) -> None:
        # Not pykka's __init__: it holds one behaviour by a weak reference, and ours is replaced at a restart.
        self.cell = cell

    def __repr__(self) -> str:
        return f"<Ref {self.cell.name} ({self.cell.actor_class.__name__})>"

    def __str__(self) -> str:
        return f"{self.cell.actor_class.__name__} ({self.cell.name})"

    @property
    def name(self) -> str:
        """The actor's name."""
        return self.cell.name

    @property
    def actor_class(self) -> type[A_co]:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride] # read from the cell
        """Class of the behaviour."""
        return self.cell.actor_class  # type: ignore[return-value] # pyright: ignore[reportReturnType] # spawn paired the two

    @property
    def actor_urn(self) -> str:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride] # as above
        """Identifies the actor for ever; never reused."""
        return self.cell.urn

    @property
    def actor_inbox(self) -> Cell:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride] # as above
        """The cell: it is the inbox."""
        return self.cell

    @property
    def actor_stopped(self) -> Any:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride] # as above
        """The stopped flag: `is_set()`."""
        return StoppedFlag(self.cell)

    def _actor_weakref(self) -> Any:  # type: ignore[override] # pykka's proxy calls it for the behaviour of now
        return self.cell.behaviour

    def is_alive(self) -> bool:
        """Tell whether the actor takes messages."""
        return self.cell.accepting

    def inspect(self) -> ActorInfo:
        """Return a snapshot of the actor; at once, from any thread, whatever the actor does."""
        return self.cell.inspect()

    def tell(self, message: Any) -> None:
        """Send a message and wait for nothing.

        Args:
            message: A `SystemMessage` goes before all others that wait.

        Raises:
            ActorDead: The actor has ended.
            MailboxFull: Its user lane is full.
        """
        refusal = self.cell.deliver(Envelope(message))
        if refusal is not None:
            raise refusal

    @overload  # type: ignore[override] # narrower for a Message, which mypy does not see to be compatible
    def ask(self, message: Message[R], *, block: Literal[False], timeout: float | None = ...) -> Future[R]: ...
    @overload
    def ask(self, message: Any, *, block: Literal[False], timeout: float | None = ...) -> Future[Any]: ...
    @overload
    def ask(self, message: Message[R], *, block: Literal[True] = ..., timeout: float | None = ...) -> R: ...
    @overload
    def ask(self, message: Any, *, block: Literal[True] = ..., timeout: float | None = ...) -> Any: ...
    @overload
    def ask(self, message: Any, *, block: bool = ..., timeout: float | None = ...) -> Any: ...

    def ask(  # pyright: ignore[reportIncompatibleMethodOverride] # as above
        self, message: Any, *, block: bool = True, timeout: float | None = None
    ) -> Any:
        """Send a message and get its reply.

        Args:
            message: A `Message[R]` is answered with an R.
            block: Wait here for the reply. False returns a future at once.
            timeout: Seconds until the deadline of the message, with `block=False` too.

        Returns:
            The reply, or a `Future` of it.

        Raises:
            WouldDeadlock: A blocking ask on the event loop's own thread.
            DeadlineExceeded: No reply by the deadline; its `started` tells whether the message may still have effect.
            ActorDead: The actor has ended.
            ActorCrashed: The handler raised an undeclared exception.
            MailboxFull: The user lane is full.
            Exception: One of the actor's declared `domain_errors`.
        """
        cell = self.cell
        if block and cell.accepting and cell.dispatcher.on_loop():
            raise WouldDeadlock("ask()")
        envelope, future = self._send(message, timeout)
        if not block:
            return future
        if timeout is not None and not future.wait(timeout):
            expire(envelope)  # the loop is late, perhaps stalled: the deadline holds all the same
        return future.get()

    @overload
    async def ask_async(self, message: Message[R], *, timeout: float | None = ...) -> R: ...  # noqa: ASYNC109 # a deadline that travels with the message
    @overload
    async def ask_async(self, message: Any, *, timeout: float | None = ...) -> Any: ...  # noqa: ASYNC109 # as above

    async def ask_async(self, message: Any, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109 # as above
        """Send a message and await its reply, on the system's loop or any other.

        Cancelling it withdraws a message that waits; a handler that has started goes on.

        Args:
            message: A `Message[R]` is answered with an R.
            timeout: Seconds until the deadline of the message.

        Returns:
            The reply.

        Raises:
            WouldDeadlock: The handler of an actor asks that very actor.
            DeadlineExceeded: No reply by the deadline.
            ActorDead: The actor has ended.
            ActorCrashed: The handler raised an undeclared exception.
            MailboxFull: The user lane is full.
            Exception: One of the actor's declared `domain_errors`.
        """
        cell = self.cell
        loop = asyncio.get_running_loop()
        if loop is cell.dispatcher.loop:
            if cell.task is not None and cell.task is asyncio.current_task():
                raise WouldDeadlock("ask_async()", of_itself=True)
            reply: asyncio.Future[Any] = loop.create_future()
            envelope = Envelope(message, reply)
            refusal = cell.send(envelope, timeout)
            if refusal is not None:
                raise refusal
            try:
                return await reply
            except asyncio.CancelledError:
                withdraw(envelope)
                raise
        envelope, future = self._send(message, timeout)
        try:
            return await future
        except asyncio.CancelledError:
            withdraw(envelope)
            raise

    @overload
    def stop(self, *, block: Literal[True] = ..., timeout: float | None = ...) -> bool: ...
    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = ...) -> Future[bool]: ...
    @overload
    def stop(self, *, block: bool = ..., timeout: float | None = ...) -> bool | Future[bool]: ...

    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]:
        """End the actor after the message that runs now: before what waits, which is answered with `ActorDead`.

        Args:
            block: Wait until it has ended, `on_stop` included. False returns an awaitable future.
            timeout: Longest wait in seconds if blocking; the stop itself goes on.

        Returns:
            True when it has ended by this or another stop; False if it had ended before. Or a future of that.

        Raises:
            WouldDeadlock: A blocking stop on the event loop's own thread.
            pykka.Timeout: The wait timed out.
        """
        return self._end(self._request_stop, "stop()", block=block, timeout=timeout)

    @overload
    def kill(self, *, block: Literal[True] = ..., timeout: float | None = ...) -> bool: ...
    @overload
    def kill(self, *, block: Literal[False], timeout: float | None = ...) -> Future[bool]: ...

    def kill(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]:
        """End the actor at once: cancel its running handler, wait for it to end, answer all with `ActorDead`.

        `on_stop` is not called.

        Args:
            block: Wait until it has ended. False returns an awaitable future.
            timeout: Longest wait in seconds if blocking; the kill itself goes on.

        Returns:
            True when it has ended by this or another request; False if it had ended before. Or a future of that.

        Raises:
            WouldDeadlock: A blocking kill on the event loop's own thread.
            pykka.Timeout: The wait timed out.
        """
        return self._end(self.cell.request_kill, "kill()", block=block, timeout=timeout)

    def _request_stop(self, envelope: Envelope) -> bool:
        return self.cell.deliver(envelope) is None

    def _end(self, request: Any, call: str, *, block: bool, timeout: float | None) -> bool | Future[bool]:
        dispatcher = self.cell.dispatcher
        if block and dispatcher.on_loop() and not self.cell.ended:
            raise WouldDeadlock(call)
        future: Future[bool] = Future()
        future.dispatcher = dispatcher
        if not request(Envelope(StopRequest(), future)):
            future.set(value=False)
        return future.get(timeout=timeout) if block else future

    def _send(self, message: Any, timeout: float | None) -> tuple[Envelope, Future[Any]]:
        future: Future[Any] = Future()
        if type(message) is StopRequest:  # pykka's way to stop: dead already is no error, and None its result
            timeout = None
        future.dispatcher = self.cell.dispatcher
        envelope = Envelope(message, future)
        refusal = self.cell.send(envelope, timeout)
        if refusal is not None:
            future.set_exception(refusal)
        return envelope, future
