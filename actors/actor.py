"""The behaviour of an actor: what a user of the package subclasses."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import pykka

from actors import life
from actors.errors import ChildFailed, NotSpawned, UnhandledMessage
from actors.forwarding import forward
from actors.future import Future
from actors.message import Escalated, Forwarded, OnDropped

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.ref import Ref
    from actors.system import ActorSystem
    from actors.timer import TimerHandle


if TYPE_CHECKING:

    class _PykkaActor:
        # What type checkers see of pykka.Actor. It types its hooks `-> None`, and mypy compares an override with every
        # ancestor, so that an `async def on_start` in a user's class would be an error in that class.
        def stop(self) -> None: ...
        def _handle_receive(self, message: Any) -> Any: ...

else:
    _PykkaActor = pykka.Actor


class Actor(_PykkaActor):
    """Handles one message at a time on the event loop of its system.

    Subclass it, implement `on_receive`, and start it with `system.spawn(MyActor, ...)`. A handler may be an `async
    def`, or return an awaitable: a task runs it, and the actor takes no other message meanwhile.

    Attributes:
        mailbox_capacity: Bound of the user lane, in messages.
        domain_errors: Exceptions that are answers: they go to the asker alone and never crash the actor.
    """

    mailbox_capacity: ClassVar[int] = 1024
    domain_errors: ClassVar[tuple[type[Exception], ...]] = ()

    # Set by the cell before __init__ runs, so that __init__ can use the services and need not call super().
    _actor_cell: Cell

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        # pykka's own creates a uuid4, an inbox and a threading.Event for each actor; here the cell has them.
        pass

    @classmethod
    def start(cls, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse: an actor needs a system.

        Raises:
            NotSpawned: Always. Use `system.spawn`.
        """
        raise NotSpawned(cls.__name__)

    def on_receive(self, message: Any) -> Any:
        """Handle a message.

        Args:
            message: What was asked or told.

        Returns:
            The reply, or an awaitable of it, or `self.forward(...)`.

        Raises:
            UnhandledMessage: By default. Call `super().on_receive(message)` for messages that you don't know.
        """
        raise UnhandledMessage(self.cell.name, message)

    def on_start(self) -> Awaitable[None] | None:
        """Prepare, before the first message. Sync or async."""

    def on_restart(self, error: Exception, interrupted: object | None) -> Awaitable[None] | None:
        """Prepare after a crash; called on the new behaviour in place of `on_start`. Sync or async.

        Args:
            error: What the previous behaviour raised.
            interrupted: The message it was handling, whose asker has got `ActorCrashed`; None if it crashed in a hook.

        Returns:
            An awaitable or None. By default that of `on_start`.
        """
        del error, interrupted
        return self.on_start()

    def on_stop(self) -> Awaitable[None] | None:
        """Clean up after the last message of a `stop`. Not called after a kill or a crash. Sync or async."""

    def on_queued(self, message: Any) -> None:
        """React to a user message that was queued while an asynchronous handler runs. Sync, on the loop.

        Args:
            message: The message; it still waits, and will be handled in its turn.
        """

    @property
    def cell(self) -> Cell:
        """The permanent part of the actor.

        Raises:
            NotSpawned: The object was made without `system.spawn`.
        """
        try:
            return self._actor_cell
        except AttributeError:
            raise NotSpawned(type(self).__name__) from None

    @property
    def system(self) -> ActorSystem:
        """The system that owns the actor."""
        return self.cell.system

    @property
    def actor_ref(self) -> Ref[Self]:
        """The actor's ref; the same across restarts."""
        return self.cell.ref

    @property
    def actor_urn(self) -> str:
        """Identifies the actor for ever."""
        return self.cell.urn

    @property
    def actor_inbox(self) -> Cell:
        """The cell: it is the inbox."""
        return self.cell

    @property
    def actor_stopped(self) -> Any:
        """The stopped flag, as pykka has it: `is_set()`."""
        return self.cell.ref.actor_stopped

    def queued(self) -> tuple[object, ...]:
        """Return the user messages that wait, next one first; the running one is not among them."""
        return tuple(envelope.message for envelope in self.cell.user.copy())

    def forward(
        self,
        ref: Ref[Any],
        message: object | None = None,
        *,
        on_dropped: OnDropped | None = None,
    ) -> Forwarded:
        """Hand the message being handled to another actor, with its reply and its deadline.

        That actor's refusal (`MailboxFull`, `ActorDead`) goes to the asker. Use it as `return self.forward(ref)`.

        Args:
            ref: Who handles and answers it.
            message: What to send instead of the message itself.
            on_dropped: Called on the loop, once, if no handler will ever start on it there or where it is forwarded
                next: withdrawn at its deadline or by its waiter, refused, or left behind by an actor that ended. It
                must not raise. Without it, what an earlier `forward` of the message has set stays.

        Returns:
            The marker to return from the handler.

        Raises:
            NothingToForward: No message is being handled, or it was forwarded already.
            ForeignActor: The other actor belongs to another system.
        """
        forward(self.cell, ref.cell, message, on_dropped)
        return Forwarded(ref.name)

    def after(self, delay_s: float, message: object) -> TimerHandle:
        """Tell the actor itself a message later. Cancelled when the actor stops or restarts.

        Args:
            delay_s: Seconds from now.
            message: The message.

        Returns:
            A handle whose `cancel()` forgets it.

        Raises:
            WrongThread: Called off the loop's thread.
        """
        return self.cell.after(delay_s, message)

    def watch(self, ref: Ref[Any]) -> None:
        """Get `Terminated` when another actor has ended; at once if it has. Kept across restarts.

        Args:
            ref: The actor to watch; of any system.
        """
        life.watch(self.cell, ref.cell)

    def unwatch(self, ref: Ref[Any]) -> None:
        """Stop watching an actor. A `Terminated` that is queued already still comes."""
        life.unwatch(self.cell, ref.cell)

    def _handle_receive(self, message: Any) -> Any:
        if type(message) is Escalated:
            raise ChildFailed(message.child, message.error)
        return super()._handle_receive(message)

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    @staticmethod
    def _create_actor_inbox() -> NoReturn:
        raise NotSpawned("Actor")

    def _start_actor_loop(self) -> NoReturn:
        raise NotSpawned(type(self).__name__)
