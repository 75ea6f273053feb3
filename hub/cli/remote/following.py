"""Operations that a hub has accepted, followed to their end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends import Progress
from hub.cli.interrupts import Interrupted
from hub.cli.progress import ProgressBar
from hub.cli.refusal import HubRefused, HubUnreachable
from hub.errors import ModhubError

if TYPE_CHECKING:
    from hub.cli.remote.client import Client

_FIRST_DELAY_S = 0.02
_LONGEST_DELAY_S = 0.5
_OUTAGE_S = 60.0  # a hub that is restarted is back by then
_ENDED = frozenset({"done", "failed", "cancelled"})
_FEW = 4


@dataclass
class Followed:
    """An operation on its way.

    Attributes:
        module_id: the module.
        info: the operation as it was last told.
        error: why no more is known of it.
    """

    module_id: str
    info: dict[str, Any]
    error: ModhubError | None = None

    @property
    def op_id(self) -> str:
        """Its id."""
        return str(self.info["op_id"])

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.error is not None or self.info["status"] in _ENDED


class OperationGoesOn(ModhubError):
    """It was not done in the time that there was; it goes on."""

    code = "operation-timeout"


def follow(
    client: Client,
    operations: Sequence[Followed],
    *,
    timeout_s: float | None,
    bar: ProgressBar,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait for the end of operations.

    Args:
        client: the hub.
        operations: the operations; what becomes of each is told in it.
        timeout_s: seconds to wait at the most; `None` = any time.
        bar: shows how far they are.
        sleep: waits.
    """
    began = time.monotonic()
    outage: float | None = None
    delay = _FIRST_DELAY_S
    while pending := [operation for operation in operations if not operation.ended]:
        if timeout_s is not None and time.monotonic() - began >= timeout_s:
            for operation in pending:
                operation.error = _goes_on(operation, timeout_s)
            return
        try:
            _look(client, pending)
            outage = None
        except HubUnreachable as error:
            outage = outage or time.monotonic()
            if time.monotonic() - outage > _OUTAGE_S:
                for operation in pending:
                    operation.error = error
                return
        _show(operations, bar, time.monotonic() - began)
        if all(operation.ended for operation in operations):
            return
        sleep(delay)
        delay = min(_LONGEST_DELAY_S, delay * 1.3)


@contextlib.contextmanager
def telling_what_goes_on(operations: Sequence[Followed]) -> Generator[None]:
    """Note on an interruption of the block which operations go on without anybody waiting.

    Args:
        operations: those that were accepted, as they are when it comes.
    """
    try:
        yield
    except Interrupted as interrupt:
        for operation in operations:
            if not operation.ended:
                name = operation.info["operation"]
                interrupt.add_note(f"{name} of {operation.module_id} goes on as operation {operation.op_id}")
        raise


def _look(client: Client, pending: list[Followed]) -> None:
    if len(pending) > _FEW:
        # One request for all; those that are listed no more have ended, and are asked for.
        listed = {info["op_id"]: info for info in client.get("hub", "operations")["operations"]}
        for operation in pending:
            operation.info = listed.get(operation.op_id, operation.info)
        pending = [operation for operation in pending if operation.op_id not in listed]
    for operation in pending:
        try:
            operation.info = client.get("hub", "operations", operation.op_id)
        except HubRefused as refusal:
            if refusal.status >= 500:  # the hub ends, or is not ready again yet
                raise HubUnreachable(refusal.message, hint=refusal.hint) from refusal
            if refusal.status == 404:
                operation.error = ModhubError(
                    f"the hub does not know operation {operation.op_id} any more",
                    hint=f"it was restarted: modhub status {operation.module_id} tells what became of it",
                )
            else:
                operation.error = refusal


def _goes_on(operation: Followed, timeout_s: float) -> ModhubError:
    state = "waits for the module" if operation.info["status"] == "waiting" else "goes on"
    return OperationGoesOn(
        f"{operation.info['operation']} is not done after {timeout_s:g} s; it {state} as operation {operation.op_id}",
        hint="modhub operations shows it",
    )


def _show(operations: Sequence[Followed], bar: ProgressBar, elapsed_s: float) -> None:
    def total(key: str) -> int:
        return sum(int(operation.info.get(key) or 0) for operation in operations)

    ended = sum(operation.ended for operation in operations)
    with contextlib.suppress(StopIteration):
        running = next(operation for operation in operations if not operation.ended)
        phase = str(running.info["step"] or running.info["status"]).replace("_", " ")
        if len(operations) > 1:
            phase = f"{ended} of {len(operations)} done  {phase}"
        amounts = {key: total(key) for key in ("bytes_done", "bytes_total", "files_done", "files_total")}
        bar(Progress(phase, **amounts, elapsed_s=elapsed_s))
