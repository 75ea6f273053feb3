"""What can be seen of actors from outside: snapshots, failures, dead letters, counters."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.ref import Ref


class ActorState(StrEnum):
    """Where an actor is in its life."""

    STARTING = "starting"
    IDLE = "idle"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ActorInfo:
    """A snapshot of one actor. Plain data: it can be sent anywhere.

    Attributes:
        name: Its name, unique among the live actors of its system.
        urn: Identifies it for ever, across restarts; never reused.
        class_name: Class of its behaviour.
        state: Where it is in its life.
        queued: User messages that wait.
        system_queued: System messages that wait.
        processed: Messages whose handler ended, in whatever way.
        failures: Crashes so far.
        restarts: Restarts so far.
        current: Class name of the message that is handled now; None when there is none.
        started_at: When it was spawned, in Unix seconds.
        last_error: Text of the latest crash; None when it never crashed.
    """

    name: str
    urn: str
    class_name: str
    state: ActorState
    queued: int
    system_queued: int
    processed: int
    failures: int
    restarts: int
    current: str | None
    started_at: float
    last_error: str | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that no actor will handle.

    Attributes:
        message: The message.
        actor: Name of the actor it was meant for.
        reason: `dead` (it came after the end), `queued` (it waited at the end), `full` (nobody could be told of the
            full mailbox: a timer's or a forwarded message), `unhandled` (told to an actor that does not know it).
        asked: Whether somebody waited for a reply; that one has got an error.
    """

    message: object
    actor: str
    reason: Literal["dead", "queued", "full", "unhandled"]
    asked: bool


@dataclass(frozen=True, slots=True)
class ActorFailure:
    """A crash: an exception that the actor's class does not declare in `domain_errors`.

    Attributes:
        ref: The actor.
        error: The exception, with its traceback.
        message: The message that was being handled; None in a hook.
        action: `restart`, or `end` (no supervision, intensity exceeded, or the actor was ending anyway).
        delay_s: Seconds until the restart; 0 for `end`.
    """

    ref: Ref[Any]
    error: Exception
    message: object | None
    action: Literal["restart", "end"]
    delay_s: float


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals of one system since it was entered.

    Attributes:
        spawned: Actors spawned.
        ended: Actors that ended, failed ones included.
        failures: Crashes.
        restarts: Restarts.
        domain_errors: Declared errors, answered or (told) dropped.
        dead_letters: Messages that nobody will handle.
        refused: Messages refused because a mailbox was full.
        expired: Asks whose deadline passed.
        withdrawn: Asks whose waiter was cancelled before they started.
        late_replies: Replies dropped because the asker had gone.
    """

    spawned: int = 0
    ended: int = 0
    failures: int = 0
    restarts: int = 0
    domain_errors: int = 0
    dead_letters: int = 0
    refused: int = 0
    expired: int = 0
    withdrawn: int = 0
    late_replies: int = 0


def snapshot(cell: Cell) -> ActorInfo:
    """Look at a cell, from any thread. No lock: each value is true at its moment, and none can be half written."""
    current = cell.current
    state = cell.state
    if state is ActorState.IDLE and (current is not None or cell.task is not None):
        state = ActorState.RUNNING
    urgent = cell.urgent
    return ActorInfo(
        name=cell.name,
        urn=cell.urn,
        class_name=cell.actor_class.__name__,
        state=state,
        queued=len(cell.user),
        system_queued=0 if urgent is None else len(urgent),
        processed=cell.processed,
        failures=cell.failures,
        restarts=cell.restarts,
        current=None if current is None else type(current.message).__name__,
        started_at=cell.started_at,
        last_error=None if cell.last_error is None else repr(cell.last_error),
    )
