"""What travels: messages typed by their reply, the envelope around them, and the marker of a forwarded one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar

from pykka.messages import (
    ProxyCall,
    ProxyGetAttr,
    ProxySetAttr,
    _ActorStop,  # pyright: ignore[reportPrivateUsage] # pykka's public stop() sends it, so a runtime must know it
)

if TYPE_CHECKING:
    from actors.mailbox import Mailbox

R_co = TypeVar("R_co", covariant=True)


class Message(Generic[R_co]):
    """Base of messages, generic in their reply: `class Provision(Message[ModuleInfo])`.

    Make subclasses frozen dataclasses: a message crosses threads.
    """

    __slots__ = ()


class SystemMessage(Message[R_co]):
    """A message of the system lane: never refused for lack of room, handled before any waiting user message."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Escalated(SystemMessage[None]):
    """An actor was given up by its supervision, and its failure is this one's: it crashes when its turn comes.

    Attributes:
        child: Name of the actor that failed.
        error: The exception it failed with.
    """

    child: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What `Actor.forward` returns: this actor does not reply, the one it was forwarded to will.

    Attributes:
        to: Name of the actor that has the message now.
    """

    to: str


StopRequest: Final = _ActorStop
PROXY_MESSAGES: Final = frozenset({ProxyCall, ProxyGetAttr, ProxySetAttr, Escalated})  # not for `on_receive`
SYSTEM_LANE: Final = (SystemMessage, _ActorStop)

# States of an envelope. Plain integers, not an Enum: they are compared for each message.
QUEUED: Final = 0
STARTED: Final = 1
ANSWERED: Final = 2
WITHDRAWN: Final = 3  # its asker has given up: at the deadline, or because its waiter was cancelled


DropReason: TypeAlias = Literal["deadline", "cancelled", "full", "dead"]
"""Why no handler will ever start on a message: its deadline passed, its waiter was cancelled, its new actor refused it
for want of room, or has ended."""

OnDropped: TypeAlias = Callable[[DropReason], object]


class Reply(Protocol):
    """What an answer is given to: an `asyncio.Future` of the system's loop, or our thread-safe `Future`."""

    def done(self) -> bool:
        """Tell whether nobody waits for the answer any more."""
        ...

    def set_result(self, result: Any, /) -> None:
        """Answer with a value."""
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """Answer with an error."""
        ...


class Envelope:
    """A message with its reply, its deadline and how far it came. It moves along when it is forwarded."""

    __slots__ = ("deadline", "mailbox", "message", "on_dropped", "reply", "state", "timeout_s")

    mailbox: Mailbox | None

    def __init__(self, message: Any, reply: Reply | None = None) -> None:
        self.message = message
        self.reply = reply
        self.deadline: float | None = None  # in seconds of the system's clock
        self.timeout_s = 0.0
        self.state: int = QUEUED
        self.mailbox = None
        self.on_dropped: OnDropped | None = None
