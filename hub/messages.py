"""Messages that the registry takes: plain, frozen, serialisable; each names the type of its reply.

info = hub.registry.ask(Provision("tenant-42", kind="redis"))
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actors import Message
from hub.info import BackendStatus, ModuleInfo, Obliterated, OperationInfo

if TYPE_CHECKING:
    import pykka

__all__ = [
    "Checkpoint",
    "Deprovision",
    "Describe",
    "DescribeBackend",
    "DescribeOperation",
    "Hibernate",
    "ListModules",
    "Obliterate",
    "Provision",
    "Subscribe",
    "Touch",
    "Wake",
]


def new_op_id() -> str:
    """Return a fresh operation id: 16 hexadecimal digits."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Provision(Message[ModuleInfo]):
    """Bring the module's data here and start its process; wakes or recovers it where it sleeps or crashed."""

    module_id: str
    kind: str | None = None
    op_id: str = field(default_factory=new_op_id)


@dataclass(frozen=True, slots=True)
class Hibernate(Message[ModuleInfo]):
    """Stop the process, keep the data."""

    module_id: str
    op_id: str = field(default_factory=new_op_id)


@dataclass(frozen=True, slots=True)
class Wake(Message[ModuleInfo]):
    """Start the process on the kept data."""

    module_id: str
    op_id: str = field(default_factory=new_op_id)


@dataclass(frozen=True, slots=True)
class Deprovision(Message[ModuleInfo]):
    """Stop the process, send the data home, delete it here."""

    module_id: str
    op_id: str = field(default_factory=new_op_id)


@dataclass(frozen=True, slots=True)
class Obliterate(Message[Obliterated]):
    """Destroy every trace of the module, here and in the backend, tracked or not. Irreversible."""

    module_id: str
    op_id: str = field(default_factory=new_op_id)


@dataclass(frozen=True, slots=True)
class Checkpoint(Message[ModuleInfo]):
    """Send a copy of the module's data home while it stays as it is: running, by its kind's hook, or hibernated."""

    module_id: str
    op_id: str = field(default_factory=new_op_id)


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
class Touch(Message[ModuleInfo]):
    """Count as activity on the module: its idle time starts anew."""

    module_id: str


@dataclass(frozen=True, slots=True)
class Subscribe(Message[None]):
    """Send every event to an actor from now on, until it ends.

    The reference makes this message the one that stays within its process; a remote subscriber has one of its own.
    """

    subscriber: pykka.ActorRef[Any]
