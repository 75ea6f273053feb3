"""Checkpoints: a copy of a module's data goes home while the module stays as it is.

A checkpoint takes as long as an upload and changes nothing of the module's state, so it does not hold the module: the
module's actor judges the request in its turn, hands it to an actor that lives no longer than there are requests, and
takes its next message. Every operation that begins on the module ends the checkpoint. It waits until no hook runs any
more; until also the transfer's threads have ended only where it moves data itself, so that there are never two transfers
of one module, and yet a backend that hangs keeps no module from waking or recovering.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio

from actors import Actor, Message, Ref
from hub.checkpoint_run import CheckpointRun
from hub.config import HubConfig
from hub.directory import Entry
from hub.disk import allocated
from hub.errors import CheckpointFailed, InvalidState, ModhubError, OperationCancelled
from hub.info import ModuleInfo
from hub.instance import Instance
from hub.lifecycle import State
from hub.messages import Checkpoint
from hub.operation import Operation
from hub.operations.accounting import accounted
from hub.orders import CheckpointTaken
from hub.services import Services


def max_checkpoints(config: HubConfig) -> int:
    """Return how many modules may be in a checkpoint at one time: other transfers keep their half of the room."""
    return max(1, config.max_transfers // 2)


async def end_checkpoint(entry: Entry, reason: str, *, transfer: bool) -> None:
    """End the checkpoints of a module, if there are any.

    Args:
        entry: the module.
        reason: why, for those who wait for them.
        transfer: whether to wait until their transfer has ended, too.
    """
    run = entry.checkpoint
    if run is None:
        return
    run.cancel(reason)
    await run.no_hook.wait()
    if transfer:
        await run.wait_ended()


@dataclass(frozen=True, slots=True)
class _Rest(Message[None]):
    """Whoever waited when this was sent has been answered."""


class CheckpointActor(Actor):
    """Makes the checkpoints that are asked for while it lives, one after the other; `begin` starts it."""

    mailbox_capacity = 256
    domain_errors = (ModhubError,)

    def __init__(self, services: Services, entry: Entry, run: CheckpointRun, module: Ref[Any]) -> None:
        super().__init__()
        self._services = services
        self._entry = entry
        self._run = run
        self._module = module
        # Who asked before the last copy was begun has what was asked for with that copy, and shares its fate.
        self._covered: list[object] = []
        self._failure: ModhubError | None = None

    @classmethod
    def begin(cls, module: Actor, services: Services, entry: Entry) -> Ref[Any]:
        """Return the actor to which a module forwards a request, started where there is none that takes more.

        Args:
            module: the module's actor.
            services: the hub's parts.
            entry: the module.

        Raises:
            InvalidState: its data is in use, and its kind has no hook to copy it.
            BackendError: the backend is known to be unavailable.
        """
        record = entry.record
        kind = services.config.kinds.get(record.kind)
        if record.state is State.PROVISIONED and (kind is None or kind.checkpoint is None):
            raise InvalidState(
                f"checkpoint: kind {record.kind!r} of module {record.module_id!r} has no hook to copy data in use",
                hint="hibernate the module, or give its kind a `checkpoint`",
            )
        services.transfers.availability.require(f"checkpoint of module {record.module_id!r}")
        run = entry.checkpoint
        if run is None or run.ending:
            run = entry.checkpoint = CheckpointRun(before=run)
            name = f"checkpoint/{record.module_id}#{next(services.cell_numbers)}"
            run.actor = module.system.spawn(cls, services, entry, run, module.actor_ref, name=name)
            run.actor.tell(_Rest())
        return run.actor

    async def on_receive(self, message: Any) -> Any:
        """Make one checkpoint, or come to an end where nobody asks for another."""
        if isinstance(message, _Rest):
            self._rest()
            return None
        assert isinstance(message, Checkpoint)
        operation = self._services.ledger.find(message.op_id)
        try:
            return await accounted(self._services, operation, lambda: self._answer(message, operation))
        except ModhubError:
            raise
        except BaseException:
            self._end()  # a defect, or a kill: nobody may wait for what has no end
            raise

    def _rest(self) -> None:
        if self.queued():
            self.actor_ref.tell(_Rest())
            return
        # Nothing can come in between: whoever forwards looks at the entry first, on this very loop.
        self._end()
        self.actor_ref.stop(block=False)

    def _end(self) -> None:
        if self._entry.checkpoint is self._run:
            self._entry.checkpoint = None
        self._run.note_end()

    async def _answer(self, message: Checkpoint, operation: Operation) -> ModuleInfo:
        if self._take_covered(message):
            if self._failure is not None:
                raise self._failure
            return self._services.directory.describe(self._entry)
        self._check_goes_on(operation)
        self._run.operation, self._failure = operation, None
        try:
            await self._take(operation)
        except ModhubError as error:
            self._failure = error
            raise
        finally:
            self._run.operation = None
        return self._services.directory.describe(self._entry)

    def _take_covered(self, message: Checkpoint) -> bool:
        for index, one in enumerate(self._covered):
            if one is message:  # not an equal one, which may have been sent later
                del self._covered[index]
                return True
        return False

    async def _take(self, operation: Operation) -> None:
        services, entry = self._services, self._entry
        slots = services.checkpoints
        operation.step = "waiting"
        with _interruptible(operation):
            await self._run.wait_for_earlier()
            await slots.acquire()
        try:
            at = services.wall_clock()
            self._covered = [one for one in self.queued() if isinstance(one, Checkpoint)]
            record, instance = entry.record, entry.instance
            if record.state is State.HIBERNATED:
                # Nothing writes it: it goes home like on a deprovision, and stays.
                operation.step = "dehydrating"
                await services.transfers.send(operation, record.base, keep_previous=record.suspect)
            elif instance is not None:
                await self._send_copy(operation, instance)
            else:
                raise CheckpointFailed(f"checkpoint of module {record.module_id!r}: no process of it runs")
        finally:
            slots.release()
        entry.checkpointed_at = at
        if self._module.is_alive():
            self._module.tell(CheckpointTaken(at))

    async def _send_copy(self, operation: Operation, instance: Instance) -> None:
        services, record = self._services, self._entry.record
        module_id = record.module_id
        try:
            await services.workers.erase(services.layout.remove_checkpoint, module_id)
            try:
                # With those who delete trees: the look at a large one must keep no start waiting for a thread.
                await services.workers.erase(self._require_room, module_id)
                await self._call_hook(operation, instance)
            finally:
                services.disk.end(module_id)
            operation.step = "dehydrating"
            await services.transfers.send(operation, record.base, keep_previous=record.suspect, copy=True)
        finally:
            with suppress(OSError):  # then the next one deletes it, or the next start of the hub
                await services.workers.erase(services.layout.remove_checkpoint, module_id)

    def _require_room(self, module_id: str) -> None:
        """See to it that the copy fits on the disk. How large it will be nobody knows, but rarely larger than the data."""
        needed = allocated(self._services.layout.data(module_id))
        self._services.disk.promise(module_id, needed, refused="was not copied")

    async def _call_hook(self, operation: Operation, instance: Instance) -> None:
        services, entry = self._services, self._entry
        operation.step = "checkpoint hook"
        self._run.no_hook.clear()
        entry.probes += 1  # its connection to the server is no activity of a tenant's
        try:
            with _interruptible(operation):
                await instance.checkpoint()
        except (RuntimeError, OSError, ModhubError) as error:
            if isinstance(error, OperationCancelled):
                raise
            # A time-out has no words of its own.
            reason = "it did not end in its checkpoint_timeout" if isinstance(error, TimeoutError) else str(error)
            services.bus.publish(
                "instance.hook_failed", operation.module_id, operation.op_id, hook="checkpoint", error=reason
            )
            raise CheckpointFailed(
                f"checkpoint of module {operation.module_id!r}: the hook of its kind failed: {reason}",
                hint="the module's log has what it said",
            ) from error
        finally:
            entry.probes -= 1
            self._run.no_hook.set()

    def _check_goes_on(self, operation: Operation) -> None:
        if self._run.ending:
            raise OperationCancelled(f"checkpoint of module {operation.module_id!r}: {self._run.ending}")


@contextmanager
def _interruptible(operation: Operation) -> Generator[None]:
    """Mark a part of a checkpoint that ends at once when its operation is cancelled, or was before it began."""
    if not operation.cancelled.is_set():
        with anyio.CancelScope() as scope:
            operation.withdraw = scope.cancel
            try:
                yield
            finally:
                operation.withdraw = None
        if not scope.cancelled_caught:
            return
    raise OperationCancelled(f"checkpoint of module {operation.module_id!r}: {operation.cancel_reason}")
