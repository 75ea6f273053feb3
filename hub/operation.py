"""One operation on one module while it runs, and the ledger of running and recent ones."""

from __future__ import annotations

import asyncio
import enum
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from backends import Progress
from hub.errors import OperationNotFound
from hub.info import OperationInfo
from hub.lifecycle import Request

_REMEMBERED = 1000


class Status(enum.StrEnum):
    """How far an operation is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Phase(enum.StrEnum):
    """What of an operation can be ended from outside."""

    OTHER = "other"
    HYDRATING = "hydrating"
    DEHYDRATING = "dehydrating"


class Operation:
    """A running or ended operation."""

    def __init__(self, op_id: str, module_id: str, request: Request, clock: Callable[[], float]) -> None:
        self.op_id = op_id
        self.module_id = module_id
        self.request = request
        self.status = Status.RUNNING
        self.step = "begin"
        self.phase = Phase.OTHER
        self.error: str | None = None
        self.cancelled = threading.Event()
        self.cancel_reason = ""
        # Ends its transfer, whether that waits or runs.
        self.withdraw: Callable[[], object] | None = None
        self.progress: Progress | None = None
        self._clock = clock
        self._started = clock()
        self._ended: float | None = None

    @property
    def duration_s(self) -> float:
        """Seconds it runs, or ran."""
        return (self._ended if self._ended is not None else self._clock()) - self._started

    def cancel(self, reason: str, *phases: Phase) -> None:
        """End the transfer, if the operation is in one of the phases."""
        if self.phase in phases:
            self.cancel_reason = reason
            self.cancelled.set()
            if self.withdraw is not None:
                self.withdraw()

    async def pause(self, seconds: float, phase: Phase) -> None:
        """Wait, unless the operation is cancelled in this phase; then not at all, or no longer."""
        ended = asyncio.Event()
        self.phase, self.withdraw = phase, ended.set
        try:
            if not self.cancelled.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await ended.wait()
        finally:
            self.phase, self.withdraw = Phase.OTHER, None

    def on_progress(self, progress: Progress) -> None:
        """Take a transfer's progress; called on its worker thread."""
        self.progress = progress

    def end(self, status: Status, error: str | None = None) -> None:
        """Note how it ended."""
        self.status, self.error, self._ended = status, error, self._clock()

    def info(self) -> OperationInfo:
        """Return what callers are told of it."""
        p = self.progress
        return OperationInfo(
            op_id=self.op_id,
            module_id=self.module_id,
            operation=self.request.value,
            status=self.status.value,
            step=self.step,
            duration_s=self.duration_s,
            bytes_done=p.bytes_done if p else 0,
            bytes_total=p.bytes_total if p else 0,
            files_done=p.files_done if p else 0,
            files_total=p.files_total if p else 0,
            error=self.error,
        )


class Ledger:
    """Running operations and the last thousand that ended, by id."""

    def __init__(self) -> None:
        self._operations: OrderedDict[str, Operation] = OrderedDict()

    def add(self, operation: Operation) -> None:
        """Remember an operation; the oldest ended ones make room."""
        self._operations[operation.op_id] = operation
        while len(self._operations) > _REMEMBERED:
            oldest = next((i for i, o in self._operations.items() if o.status is not Status.RUNNING), None)
            if oldest is None:
                return
            del self._operations[oldest]

    def find(self, op_id: str) -> Operation:
        """Return an operation.

        Raises:
            OperationNotFound: none of this id runs or ran lately.
        """
        try:
            return self._operations[op_id]
        except KeyError:
            raise OperationNotFound(
                f"no operation {op_id!r:.100} is known",
                hint=f"only running ones and the last {_REMEMBERED} are remembered",
            ) from None
