"""Every error of the package; each tells its reader what happened and what to do next."""

# the names state what happened, as asyncio.QueueFull and TimeoutExpired do; ActorError is the root

from __future__ import annotations

from typing import Any, Self

import pykka


class ActorError(Exception):
    """Root of this package's errors."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args`, which holds the finished text, not the constructor's parameters.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(error_class: type[ActorError], args: tuple[object, ...], attributes: dict[str, Any]) -> ActorError:
    error = error_class.__new__(error_class, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ActorDead(ActorError, pykka.ActorDeadError):
    """The actor ended before it handled the message, or had ended before the message came.

    Attributes:
        actor: Name of the actor.
        reason: How it ended: `stopped`, `killed` or `failed`.
    """

    def __init__(self, actor: str, reason: str) -> None:
        self.actor = actor
        self.reason = reason
        super().__init__(
            f"Actor {actor!r} is {reason}: the message was not handled. "
            "Look the name up again (system.get) or spawn the actor again, then repeat the message."
        )


class ActorCrashed(ActorError):
    """The actor raised an undeclared exception while it handled this message; the exception is the `__cause__`.

    Attributes:
        actor: Name of the actor.
        message_type: Class name of the message it was handling.
    """

    def __init__(self, actor: str, message_type: str, cause: BaseException) -> None:
        self.actor = actor
        self.message_type = message_type
        super().__init__(
            f"Actor {actor!r} crashed in {message_type}: {cause!r}. How far it came is unknown: check before repeating. "
            "If callers should handle this exception, list it in the actor's domain_errors."
        )
        self.__cause__ = cause


class ChildFailed(ActorError):
    """An actor whose failure escalates to this one was given up; what it failed with is the `__cause__`.

    Attributes:
        child: Name of the actor that failed.
    """

    def __init__(self, child: str, cause: BaseException) -> None:
        self.child = child
        super().__init__(f"Actor {child!r} was given up: {cause!r}. Mend what it crashes on; a restart did not help.")
        self.__cause__ = cause


class HandlerCancelled(ActorError):
    """A handler ended by a `CancelledError` (or another `BaseException`) although nobody killed its actor."""

    def __init__(self, actor: str, cause: BaseException) -> None:
        self.actor = actor
        super().__init__(
            f"A handler of actor {actor!r} ended with {type(cause).__name__} although nobody killed it. "
            "Catch it where the handler cancels its own work, and raise an Exception instead."
        )
        self.__cause__ = cause


class MailboxFull(ActorError):
    """The user lane of the mailbox holds `capacity` messages.

    Attributes:
        actor: Name of the actor.
        capacity: The lane's bound, in messages.
    """

    def __init__(self, actor: str, capacity: int) -> None:
        self.actor = actor
        self.capacity = capacity
        super().__init__(
            f"The mailbox of actor {actor!r} holds {capacity} messages, its bound. "
            "Try again later, slow the sender down, or raise the class's mailbox_capacity."
        )


class DeadlineExceeded(ActorError, pykka.Timeout, TimeoutError):
    """An ask was not answered within its timeout.

    Attributes:
        actor: Name of the actor.
        started: False: the message was withdrawn and never runs. True: its handler goes on, its reply is dropped.
        timeout_s: The timeout of the ask, in seconds.
    """

    def __init__(self, actor: str, *, started: bool, timeout_s: float) -> None:
        self.actor = actor
        self.started = started
        self.timeout_s = timeout_s
        outcome = (
            "its handler goes on and its reply is dropped: ask for the outcome later"
            if started
            else "it was withdrawn and never runs: it can be repeated safely"
        )
        super().__init__(f"Actor {actor!r} did not answer within {timeout_s:g} s; {outcome}.")


class WouldDeadlock(ActorError):
    """A call that could never be answered: it blocks the loop's own thread, or awaits the actor that makes it."""

    def __init__(self, call: str, *, of_itself: bool = False) -> None:
        super().__init__(
            f"{call} of an actor by its own handler would wait for ever. Call the method, or tell it and return first."
            if of_itself
            else f"{call} would block the event loop's own thread for ever. "
            "There, use `await ref.ask_async(...)`, or block=False and await the future."
        )


class DuplicateName(ActorError):
    """A live actor of the system has this name already."""

    def __init__(self, name: str, system: str) -> None:
        self.name = name
        super().__init__(
            f"System {system!r} has a live actor named {name!r}. "
            "Use that one (system.get), wait until it has ended (`await ref.stop(block=False)`), or choose another name."
        )


class SystemNotRunning(ActorError):
    """The actor system was not entered yet, or has been closed."""

    def __init__(self, system: str) -> None:
        super().__init__(
            f"Actor system {system!r} is not running. Use it inside `async with ActorSystem()` "
            "or `with ActorSystem.in_thread()`."
        )


class NotSpawned(ActorError):
    """An actor was started or used without an actor system."""

    def __init__(self, actor_class: str) -> None:
        super().__init__(
            f"{actor_class} does not belong to an actor system. Start it with system.spawn({actor_class}, ...)."
        )


class WrongThread(ActorError):
    """A service that belongs to the actor was called off the event loop's thread."""

    def __init__(self, call: str) -> None:
        super().__init__(
            f"{call} was called off the event loop's thread. "
            "Call it in a handler; from a worker thread, tell the actor a message instead."
        )


class ForeignActor(ActorError):
    """A message can't be forwarded to an actor of another system, whose loop does not own the reply."""

    def __init__(self, actor: str) -> None:
        super().__init__(f"Actor {actor!r} belongs to another system. Ask it (`await ref.ask_async(...)`) and reply.")


class NothingToForward(ActorError):
    """`forward` was called while no message is handled, or the message has been forwarded already."""

    def __init__(self, actor: str) -> None:
        super().__init__(
            f"Actor {actor!r} handles no message that it could forward. Call forward once, in on_receive; "
            "elsewhere use tell."
        )


class UnhandledMessage(ActorError):
    """The actor has no handler for this class of message. The actor goes on."""

    def __init__(self, actor: str, message: object) -> None:
        self.actor = actor
        super().__init__(f"Actor {actor!r} does not handle {type(message).__name__}. Check the ref and the message.")


class FutureResolved(ActorError):
    """A future was given a second result."""

    @classmethod
    def create(cls) -> Self:
        """Return the error with its text."""
        return cls("The future has its result already. Set it once; check done() where two sides may resolve it.")
