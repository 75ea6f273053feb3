"""Pykka actors on one asyncio loop: supervised, bounded, inspectable. See docs/actors.md."""

from actors.actor import Actor
from actors.backoff import Backoff, restarts_within
from actors.errors import (
    ActorCrashed,
    ActorDead,
    ActorError,
    ChildFailed,
    DeadlineExceeded,
    DuplicateName,
    ForeignActor,
    FutureResolved,
    HandlerCancelled,
    MailboxFull,
    NothingToForward,
    NotSpawned,
    SystemNotRunning,
    UnhandledMessage,
    WouldDeadlock,
    WrongThread,
)
from actors.future import Future
from actors.inspection import ActorFailure, ActorInfo, ActorState, Counters, DeadLetter
from actors.message import DropReason, Escalated, Forwarded, Message, SystemMessage
from actors.ref import Ref
from actors.supervision import GiveUp, OneForOne, Restart, RestForOne, decide
from actors.system import ActorSystem
from actors.timer import TimerHandle
from actors.watch import EndReason, Terminated

__all__ = [
    # actors and their messages
    "Actor",
    "ActorSystem",
    "DropReason",
    "Forwarded",
    "Future",
    "Message",
    "Ref",
    "SystemMessage",
    "TimerHandle",
    # supervision
    "Backoff",
    "EndReason",
    "Escalated",
    "GiveUp",
    "OneForOne",
    "RestForOne",
    "Restart",
    "Terminated",
    "decide",
    "restarts_within",
    # inspection
    "ActorFailure",
    "ActorInfo",
    "ActorState",
    "Counters",
    "DeadLetter",
    # errors
    "ActorCrashed",
    "ActorDead",
    "ActorError",
    "ChildFailed",
    "DeadlineExceeded",
    "DuplicateName",
    "ForeignActor",
    "FutureResolved",
    "HandlerCancelled",
    "MailboxFull",
    "NothingToForward",
    "NotSpawned",
    "SystemNotRunning",
    "UnhandledMessage",
    "WouldDeadlock",
    "WrongThread",
]
