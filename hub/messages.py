"""Messages that the registry takes: plain, frozen, serialisable; each names the type of its reply.

info = hub.registry.ask(Provision("tenant-42", kind="redis"))
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actors import Message
from hub.info import (
    BackendStatus,
    EventPage,
    HubStats,
    LogChunk,
    ModuleInfo,
    ModulePage,
    Obliterated,
    OperationInfo,
    UsageSample,
)
from hub.lifecycle import State

if TYPE_CHECKING:
    import pykka

__all__ = [
    "Checkpoint",
    "Deprovision",
    "Describe",
    "DescribeBackend",
    "DescribeHub",
    "DescribeOperation",
    "DescribeUsage",
    "FindModules",
    "Hibernate",
    "ListKinds",
    "ListModules",
    "ListOperations",
    "Obliterate",
    "Provision",
    "ReadEvents",
    "ReadLog",
    "Subscribe",
    "Touch",
    "Wake",
]


def new_op_id() -> str:
    """Return a fresh operation id: 16 hexadecimal digits."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Provision(Message[ModuleInfo]):
    """Bring the module's data here and start its process; wakes or recovers it where it sleeps or crashed.

    With `known` it makes no module: one that the hub does not know when its turn comes, be it because it was obliterated
    just now, is `ModuleNotFound`.
    """

    module_id: str
    kind: str | None = None
    known: bool = False
    op_id: str = field(default_factory=new_op_id)
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class Hibernate(Message[ModuleInfo]):
    """Stop the process, keep the data."""

    module_id: str
    op_id: str = field(default_factory=new_op_id)
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class Wake(Message[ModuleInfo]):
    """Start the process on the kept data."""

    module_id: str
    op_id: str = field(default_factory=new_op_id)
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class Deprovision(Message[ModuleInfo]):
    """Stop the process, send the data home, delete it here."""

    module_id: str
    op_id: str = field(default_factory=new_op_id)
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class Obliterate(Message[Obliterated]):
    """Destroy every trace of the module, here and in the backend, tracked or not. Irreversible."""

    module_id: str
    op_id: str = field(default_factory=new_op_id)
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint(Message[ModuleInfo]):
    """Send a copy of the module's data home while it stays as it is: running, by its kind's hook, or hibernated."""

    module_id: str
    op_id: str = field(default_factory=new_op_id)
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class Describe(Message[ModuleInfo]):
    """Tell about one module; never waits behind an operation."""

    module_id: str


@dataclass(frozen=True, slots=True)
class DescribeBackend(Message[BackendStatus]):
    """Tell whether the backend is available; never asks it."""


@dataclass(frozen=True, slots=True)
class DescribeOperation(Message[OperationInfo]):
    """Tell about a running or recent operation."""

    op_id: str


@dataclass(frozen=True, slots=True)
class ListModules(Message[tuple[ModuleInfo, ...]]):
    """Tell about all tracked modules, in the order of their ids; never waits behind an operation."""


@dataclass(frozen=True, slots=True)
class FindModules(Message[ModulePage]):
    """Tell about a page of the tracked modules; never waits behind an operation.

    Attributes:
        states: only modules in one of these; empty = in any.
        kind: only modules of this kind; empty = of any.
        search: only modules whose id contains this, whatever its case.
        dirty: only modules whose data is dirty, or is not; `None` = both.
        sort: a name of `SORT_KEYS`, with `-` before it for the largest first; ties in the order of ids.
        offset: modules to leave out at the beginning.
        limit: modules at the most, 1 to 1000.
    """

    states: tuple[State, ...] = ()
    kind: str = ""
    search: str = ""
    dirty: bool | None = None
    sort: str = "module_id"
    offset: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class ListOperations(Message[tuple[OperationInfo, ...]]):
    """Tell about the operations that run or wait, the oldest first.

    Attributes:
        transfers_only: only those whose transfer has begun, for who shows progress while thousands wait.
    """

    transfers_only: bool = False


@dataclass(frozen=True, slots=True)
class ListKinds(Message[tuple[str, ...]]):
    """Tell the names of the configured kinds; the default one first, the others by name."""


@dataclass(frozen=True, slots=True)
class DescribeHub(Message[HubStats]):
    """Tell the hub's counters."""


@dataclass(frozen=True, slots=True)
class DescribeUsage(Message[tuple[UsageSample, ...]]):
    """Tell what a module's processes used of late, the oldest sample first."""

    module_id: str


@dataclass(frozen=True, slots=True)
class ReadLog(Message[LogChunk]):
    """Read a part of the output of a module's processes.

    Attributes:
        module_id: the module.
        offset: where to begin, as `LogChunk.next_offset` told; `None` = so that the end is read.
        max_bytes: bytes at the most, 1 to 1 MiB; a single character that is longer is read all the same.
        log_id: which log the offset is of, as `LogChunk.log_id` told; empty = the present one. A module that was sent
            home or obliterated begins another one; that is then read from its beginning.
    """

    module_id: str
    offset: int | None = None
    max_bytes: int = 65536
    log_id: str = ""


@dataclass(frozen=True, slots=True)
class ReadEvents(Message[EventPage]):
    """Read events of late.

    Attributes:
        module_id: only those about this module; `None` = all.
        after: only those with a greater number; `None` = the last ones.
        limit: events at the most, 1 to 1000: the first ones after `after`, or the last ones of all.
    """

    module_id: str | None = None
    after: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Touch(Message[ModuleInfo]):
    """Count as activity on the module: its idle time starts anew."""

    module_id: str


@dataclass(frozen=True, slots=True)
class Subscribe(Message[None]):
    """Send every event to an actor from now on, until it ends; once, however often it is asked for.

    The reference makes this message the one that stays within its process; a remote subscriber has one of its own.
    """

    subscriber: pykka.ActorRef[Any]
