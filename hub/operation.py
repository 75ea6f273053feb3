"""One operation on one module from the moment it is accepted, and the ledger of those that are open and recent."""

from __future__ import annotations

import asyncio
import enum
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from backends import Progress
from hub.errors import ModhubError, ModuleFault, OperationCancelled, OperationNotFound, StartFailed
from hub.info import Obliterated, OperationInfo
from hub.lifecycle import Request

_REMEMBERED = 1000


class Status(enum.StrEnum):
    """How far an operation is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_OPEN = frozenset({Status.WAITING, Status.RUNNING})


class Phase(enum.StrEnum):
    """What of an operation can be ended from outside."""

    OTHER = "other"
    HYDRATING = "hydrating"
    DEHYDRATING = "dehydrating"


class Operation:
    """A waiting, running or ended operation.

    Args:
        op_id: its id.
        module_id: the module it works on.
        request: what is asked of the module.
        clock: tells monotonic seconds.
        asked_by: who asked for it, if that is known.
    """

    def __init__(
        self, op_id: str, module_id: str, request: Request, clock: Callable[[], float], *, asked_by: str = ""
    ) -> None:
        self.op_id = op_id
        self.module_id = module_id
        self.request = request
        self.asked_by = asked_by
        self.status = Status.RUNNING
        self.step = "begin"
        self.phase = Phase.OTHER
        self.error: str | None = None
        self.error_code: str | None = None
        self.hint = ""
        self.output = ""
        self.cancelled = threading.Event()
        self.cancel_reason = ""
        # Ends its transfer, whether that waits or runs.
        self.withdraw: Callable[[], object] | None = None
        self.progress: Progress | None = None
        self.obliterated: Obliterated | None = None
        self._clock = clock
        self._started = clock()
        self._ended: float | None = None

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.status in _OPEN

    @property
    def duration_s(self) -> float:
        """Seconds it runs, or ran; 0.0 while it waits."""
        if self.status is Status.WAITING:
            return 0.0
        return (self._ended if self._ended is not None else self._clock()) - self._started

    def wait(self) -> None:
        """Note that it waits for its turn."""
        self.status, self.step = Status.WAITING, "waiting"

    def begin(self) -> None:
        """Note that its turn has come."""
        if self.status is Status.WAITING:
            self.status, self.step, self._started = Status.RUNNING, "begin", self._clock()

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
        # Checking, committing and tidying up have no bytes of their own: what was transferred before stays told.
        if progress.bytes_total or self.progress is None or not self.progress.bytes_total:
            self.progress = progress

    def end(self, status: Status, error: str | None = None, error_code: str | None = None) -> None:
        """Note how it ended."""
        now = self._clock()
        if self.status is Status.WAITING:
            self._started = now  # it never ran
        self.status, self.error, self.error_code, self._ended = status, error, error_code, now

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
            error_code=self.error_code,
            hint=self.hint,
            output=self.output,
            asked_by=self.asked_by,
            obliterated=self.obliterated,
        )


class Ledger:
    """Open operations and the last thousand that ended, by id."""

    def __init__(self) -> None:
        self._open: dict[str, Operation] = {}
        self._ended: OrderedDict[str, Operation] = OrderedDict()
        self._waiting = 0
        self._outcomes: dict[str, Counter[str]] = {}

    def __contains__(self, op_id: str) -> bool:
        return op_id in self._open or op_id in self._ended

    def accept(self, operation: Operation) -> None:
        """Remember an operation that waits for its turn."""
        operation.wait()
        self._open[operation.op_id] = operation
        self._waiting += 1

    def begin(self, operation: Operation) -> None:
        """Note that an operation runs from now on; it needs not have been accepted before."""
        assert operation.open, f"operation {operation.op_id} has ended"
        if operation.status is Status.WAITING:
            self._waiting -= 1
        operation.begin()
        self._open[operation.op_id] = operation

    def put_off(self, operation: Operation) -> None:
        """Note that a running operation waits again: somebody else will carry it out in its turn."""
        if operation.status is Status.RUNNING:
            self._waiting += 1
            operation.wait()

    def end(self, operation: Operation, error: BaseException | None = None) -> None:
        """Note how an operation ended; nothing happens where it has. The oldest ended ones make room.

        Args:
            operation: the operation.
            error: why it was not done; `None` = it was.
        """
        if not operation.open:
            return
        if operation.status is Status.WAITING:
            self._waiting -= 1
        if error is None:
            operation.end(Status.DONE)
        elif isinstance(error, ModhubError):
            status = Status.CANCELLED if isinstance(error, OperationCancelled) else Status.FAILED
            operation.end(status, str(error), error.code)
            operation.hint = error.hint
            operation.output = error.output if isinstance(error, StartFailed) else ""
        else:
            operation.end(Status.FAILED, "a defect interrupted it; see the log", ModuleFault.code)
        self._open.pop(operation.op_id, None)
        self._ended[operation.op_id] = operation
        self._outcomes.setdefault(operation.request.value, Counter())[operation.status.value] += 1
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def open(self) -> Iterator[Operation]:
        """Yield the operations that run or wait, the oldest first."""
        return iter(self._open.values())

    @property
    def waiting(self) -> int:
        """Number of operations that wait for their turn."""
        return self._waiting

    @property
    def running(self) -> int:
        """Number of operations that run."""
        return len(self._open) - self._waiting

    def outcomes(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many operations ended, by request, then by status."""
        return {request: dict(counts) for request, counts in self._outcomes.items()}

    def find(self, op_id: str) -> Operation:
        """Return an operation.

        Raises:
            OperationNotFound: none of this id runs or ran lately.
        """
        operation = self._open.get(op_id) or self._ended.get(op_id)
        if operation is None:
            raise OperationNotFound(
                f"no operation {op_id!r:.100} is known",
                hint=f"only open ones and the last {_REMEMBERED} that ended are remembered",
            )
        return operation
