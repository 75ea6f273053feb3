"""What every operation leaves behind, however it ends: its place in the ledger, and an event where it failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from hub.errors import ModhubError, OperationCancelled
from hub.operation import Operation, Status
from hub.services import Services

T = TypeVar("T")


async def accounted(services: Services, operation: Operation, effect: Callable[[], Awaitable[T]]) -> T:
    """Carry an operation out, and account for it.

    Args:
        services: the hub's parts.
        operation: the operation, which has not begun.
        effect: does it.

    Returns:
        What the effect returned.

    Raises:
        ModhubError: what the effect raised.
    """
    services.ledger.add(operation)
    try:
        result = await effect()
    except ModhubError as error:
        cancelled = isinstance(error, OperationCancelled)
        operation.end(Status.CANCELLED if cancelled else Status.FAILED, str(error))
        services.bus.publish(
            "operation.failed",
            operation.module_id,
            operation.op_id,
            operation=operation.request.value,
            error=str(error),
            error_type=type(error).__name__,
            duration_ms=round(operation.duration_s * 1000, 3),
        )
        raise
    operation.end(Status.DONE)
    return result
