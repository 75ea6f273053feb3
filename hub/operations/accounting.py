"""What every operation leaves behind, however it ends: its place in the ledger, and an event where it failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from hub.errors import ModhubError
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
    services.ledger.begin(operation)
    try:
        result = await effect()
    except ModhubError as error:
        fail(services, operation, error)
        raise
    except BaseException as error:  # a defect, or a kill
        services.ledger.end(operation, error)
        raise
    services.ledger.end(operation)
    return result


@contextmanager
def settled(services: Services, operation: Operation) -> Generator[None]:
    """See to it that an operation that was accepted has an end, also where it led to no work, or was refused.

    Args:
        services: the hub's parts.
        operation: the operation. Where it waits again when the block ends, somebody else carries it out.
    """
    services.ledger.begin(operation)
    try:
        yield
    except ModhubError as error:
        if operation.open and operation.asked_by:
            # Its request is in the log, so its end is; any other refusal is its caller's business alone.
            fail(services, operation, error)
        services.ledger.end(operation, error)
        raise
    except BaseException as error:
        services.ledger.end(operation, error)
        raise
    if operation.status is Status.RUNNING:
        services.ledger.end(operation)


def fail(services: Services, operation: Operation, error: ModhubError) -> None:
    """Account for an operation that failed.

    Args:
        services: the hub's parts.
        operation: the operation, which has not ended.
        error: why.
    """
    services.ledger.end(operation, error)
    services.bus.publish(
        "operation.failed",
        operation.module_id,
        operation.op_id,
        operation=operation.request.value,
        error=str(error),
        error_type=type(error).__name__,
        asked_by=operation.asked_by or None,
        duration_ms=round(operation.duration_s * 1000, 3),
    )
