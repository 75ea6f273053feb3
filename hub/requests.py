"""What is asked of a module by each message, and which operation carries that out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from hub import operations
from hub.errors import InvalidState, ModhubError, ModuleNotFound
from hub.lifecycle import Pending, Request, State
from hub.messages import Checkpoint, Deprovision, Hibernate, Obliterate, Provision, Wake
from hub.operations import Work
from hub.orders import FinishObliteration, Recover, SendHome, Suspend
from hub.record import ModuleRecord

Effect = Callable[[Work], Awaitable[Any]]

REQUESTS: Mapping[type, Request] = MappingProxyType(
    {
        Provision: Request.PROVISION,
        Hibernate: Request.HIBERNATE,
        Wake: Request.WAKE,
        Deprovision: Request.DEPROVISION,
        Obliterate: Request.OBLITERATE,
        Checkpoint: Request.CHECKPOINT,
        Recover: Request.RECOVER,
        SendHome: Request.DEPROVISION,
        FinishObliteration: Request.OBLITERATE,
        Suspend: Request.HIBERNATE,
    }
)

ASKED = (Provision, Hibernate, Wake, Deprovision, Obliterate, Checkpoint)
"""The messages by which somebody asks for an operation; the others are the hub's own orders."""

DATA_STAYS = frozenset({State.HIBERNATING, State.WAKING, State.RECOVERING})
"""Entered by operations that only start or stop the process, on the data as it lies here."""


def effect_of(message: Any, target: State) -> Effect:
    """Choose the operation that holds a module.

    Args:
        message: what was asked of it, one of `REQUESTS`.
        target: the state that the lifecycle gave, which the operation enters.

    Returns:
        The operation.
    """
    match target:
        case State.PROVISIONING:
            kind = message.kind
            return lambda work: operations.provision(work, kind)
        case State.HIBERNATING:
            if isinstance(message, Suspend):
                return lambda work: operations.hibernate(work, force=True, reason=message.reason)
            return operations.hibernate
        case State.WAKING:
            return operations.wake
        case State.RECOVERING:
            return operations.give_up if isinstance(message, Recover) and message.spent else operations.recover
        case State.DEPROVISIONING:
            reason = message.reason if isinstance(message, SendHome) else "deprovision"
            return lambda work: operations.deprovision(work, reason)
        case State.OBLITERATING:
            return operations.obliterate
        case _:
            raise AssertionError(f"no operation holds {target}")


def refusal(record: ModuleRecord, request: Request, *, not_found: bool) -> ModhubError:
    """Say why a request is not open to a module.

    Args:
        record: the module.
        request: what was asked of it.
        not_found: whether that is because nothing is tracked.

    Returns:
        The error for whoever asked.
    """
    if not_found:
        return ModuleNotFound(f"{request}: the hub tracks no module {record.module_id!r}", hint="provision it first")
    if record.pending is Pending.OBLITERATE:
        hint = "its obliteration was begun: only obliterate is open to it"
    else:
        hint = "provision brings it up whatever state it is in"
    return InvalidState(f"{request}: module {record.module_id!r} is {record.state}", hint=hint)
