"""From the moment that the registry accepts an operation it is known, and however it ends, its end is known too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors import DropReason
from hub.errors import HubClosed, InvalidMessage, ModhubError, ModuleBusy, OperationCancelled, OperationTimeout
from hub.operation import Operation
from hub.operations.accounting import fail
from hub.requests import REQUESTS
from hub.services import Services

_MAX_TEXT = 200


def check_texts(message: Any) -> None:
    """Refuse a message whose texts are none: its sender may be untyped, and must fail alone.

    Raises:
        InvalidMessage: a text is no text, or one that would not stand in a line of a log.
    """
    for name in ("op_id", "kind", "asked_by"):
        value = getattr(message, name, "")
        if value is None and name == "kind":
            continue  # the one that is recorded
        if not isinstance(value, str):
            raise InvalidMessage(f"{type(message).__name__}: {name} = {value!r:.100} is no text")
        if len(value) > _MAX_TEXT or not value.isprintable():
            raise InvalidMessage(
                f"{type(message).__name__}: {name} = {value!r:.100} can't be used",
                hint=f"allowed: {_MAX_TEXT} printable characters at the most",
            )


def accept(services: Services, message: Any) -> Callable[[DropReason], None]:
    """Note that an operation waits for its module.

    Args:
        services: the hub's parts.
        message: what is asked of the module.

    Returns:
        To be called where no actor begins it.

    Raises:
        InvalidMessage: its id is that of another operation, which would be lost.
    """
    ledger = services.ledger
    if not message.op_id or message.op_id in ledger:
        what = "is that of another operation" if message.op_id else "is empty"
        raise InvalidMessage(
            f"{type(message).__name__}: op_id {message.op_id!r} {what}",
            hint="leave op_id out: each message gets its own, and is sent once",
        )
    request = REQUESTS[type(message)]
    operation = Operation(message.op_id, message.module_id, request, services.clock, asked_by=message.asked_by)
    if operation.asked_by:
        services.bus.publish(
            "operation.requested",
            operation.module_id,
            operation.op_id,
            operation=request.value,
            asked_by=operation.asked_by,
        )
    ledger.accept(operation)  # the last thing: nothing may come between this and its being forwarded

    def dropped(reason: DropReason) -> None:
        error = _why(operation, reason)
        if operation.asked_by:
            fail(services, operation, error)
        else:
            ledger.end(operation, error)

    return dropped


def _why(operation: Operation, reason: DropReason) -> ModhubError:
    what = f"{operation.request} of module {operation.module_id!r} was not started"
    match reason:
        case "deadline":
            return OperationTimeout(f"{what}: its deadline passed", op_id=operation.op_id, started=False)
        case "cancelled":
            return OperationCancelled(f"{what}: who had asked for it does not wait any more")
        case "full":
            return ModuleBusy(f"{what}: too many operations wait already", hint="try again later")
        case "dead":
            return HubClosed(f"{what}: the module's actor has ended")
