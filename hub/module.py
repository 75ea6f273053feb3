"""The actor of one module: it owns the module's state and takes one operation at a time from its mailbox."""

from __future__ import annotations

import functools
from typing import Any

import anyio

from actors import Actor, Ref
from hub import operations
from hub.admission import occupies
from hub.checkpoint import CheckpointActor, end_checkpoint
from hub.directory import Entry
from hub.errors import (
    HubClosed,
    KindMismatch,
    ModhubError,
    StopFailed,
)
from hub.instance import Instance
from hub.lifecycle import Alongside, Begin, Nothing, Outcome, Pending, Refuse, Request, State, decide
from hub.messages import Deprovision, Obliterate, Provision, Wake, new_op_id
from hub.operation import Operation, Phase
from hub.operations import Work
from hub.operations.accounting import accounted, settled
from hub.operations.journalling import journalled
from hub.operations.work import NO_PROCESS
from hub.orders import (
    CheckpointTaken,
    ChildExited,
    FinishObliteration,
    KillHung,
    NotCarriedOut,
    Order,
    Recover,
    Release,
    Relist,
    Retire,
    SendHome,
    Suspend,
)
from hub.places import Place
from hub.policy import resolve
from hub.requests import DATA_STAYS, REQUESTS, Effect, effect_of, refusal
from hub.resolution import resolve_modules
from hub.services import Services

# What ends a transfer by waiting: a person's word, not the watchdog's, which may be stale by its turn.
_ENDS = Deprovision | Obliterate


class Module(Actor):
    """One module. Everything that changes its state passes through here, one at a time."""

    # Operations that may wait for one module; a caller beyond them is told that it is busy.
    mailbox_capacity = 256
    # What an operation may fail with goes to its caller; anything else is a defect, and supervision's business.
    domain_errors = (ModhubError,)

    def __init__(self, module_id: str, services: Services, registry: Ref[Any]) -> None:
        super().__init__()
        self._module_id = module_id
        self._services = services
        self._registry = registry

    @property
    def _entry(self) -> Entry:
        return self._services.directory.obtain(self._module_id)

    async def on_receive(self, message: Any) -> Any:
        """Take one message; the next one waits until this is done."""
        try:
            match message:
                case ChildExited(epoch):
                    return await self._child_exited(epoch)
                case CheckpointTaken(at):
                    return await self._note_checkpoint(at)
                case KillHung(_, epoch, misses):
                    return await self._kill_hung(epoch, misses)
                case Retire():
                    return await self._retire()
                case Relist():
                    return await operations.relist(self._services, self._entry)
                case Recover() | SendHome() | FinishObliteration() | Suspend():
                    return await self._carry_out(message)
                case _:
                    return await self._asked(message)
        finally:
            self._release_if_done()

    async def _asked(self, message: Any) -> Any:
        """Take an operation that somebody asked for: from here on it runs, and it has an end however this ends."""
        request = REQUESTS[type(message)]
        operation = self._services.ledger.find(message.op_id)
        with settled(self._services, operation):
            if self._services.closing:
                raise HubClosed(f"{request} of module {self._module_id!r} was not started: the hub closes")
            return await self._request(request, message, operation)

    async def _carry_out(self, order: Order) -> Any:
        if self._services.closing:
            return None
        before = self._entry.record
        try:
            if not order.decided.stale(self._entry):
                request = REQUESTS[type(order)]
                operation = Operation(order.op_id, self._module_id, request, self._services.clock)
                return await self._request(request, order, operation)
        except ModhubError:
            if self._entry.record is before:  # not even begun: the journal failed, or the backend is unavailable
                self._tell_watchdog()
            raise
        self._tell_watchdog()
        return None

    def _tell_watchdog(self) -> None:
        """Say that an order changed nothing: no event tells the watchdog, and it would wait for one for ever."""
        watchdog = self.system.get("watchdog")
        if watchdog is not None:
            watchdog.tell(NotCarriedOut(self._module_id))

    def on_queued(self, message: Any) -> None:
        """End a transfer that what now waits makes pointless."""
        operation = self._entry.operation
        if operation is None:
            return
        if isinstance(message, Deprovision):
            operation.cancel("a deprovision waits", Phase.HYDRATING)
        elif isinstance(message, Obliterate):
            operation.cancel("an obliterate waits", Phase.HYDRATING, Phase.DEHYDRATING)

    async def on_restart(self, error: Exception, interrupted: object | None) -> None:
        """Resolve what the behaviour before left undone, as at a start of the hub."""
        del interrupted
        entry = self._entry
        # Nothing waits for a backend that may hang, but where the data that it reads is about to go.
        discards = not resolve(entry.record).keep_data
        await end_checkpoint(entry, "a defect of the module's actor", transfer=discards)
        if entry.operation is not None:
            self._services.ledger.end(entry.operation, error)
            self._services.directory.hold(entry, None)
        state = entry.record.state
        if state is State.PROVISIONED and entry.instance is not None and entry.instance.alive:
            return
        if entry.instance is not None:
            await entry.instance.kill()
            entry.instance = None
        resolving = functools.partial(resolve_modules, self._services, [entry.record])
        await journalled(self._services, self._module_id, None, resolving)
        if entry.record.state is state:
            # Told all the same: what the watchdog had planned may have been what was interrupted.
            self._services.bus.publish(
                "module.resolved", self._module_id, from_state=state.value, to_state=state.value, reason="unchanged"
            )

    async def _request(self, request: Request, message: Any, operation: Operation) -> Any:
        entry = self._entry
        record = entry.record
        verdict = decide(record.condition, request)
        if isinstance(verdict, Refuse):
            raise refusal(record, request, not_found=verdict.not_found)
        kind = message.kind if isinstance(message, Provision) else None
        if isinstance(message, Provision) and message.known and not record.kind:
            raise refusal(record, request, not_found=True)
        if kind is not None and record.tracked and record.kind and kind != record.kind:
            raise KindMismatch(
                f"module {self._module_id!r} is of kind {record.kind!r}, not {kind!r}",
                hint="leave the kind out, or obliterate the module to begin anew",
            )
        if isinstance(verdict, Nothing):
            self._services.directory.touch(entry)
            return self._services.directory.describe(entry)
        if isinstance(verdict, Alongside):
            actor = CheckpointActor.begin(self, self._services, entry)
            self._services.ledger.put_off(operation)
            return self.forward(actor)
        assert isinstance(verdict, Begin), f"{verdict} while the mailbox is served"
        # Where no data moves, nothing waits for the threads of a transfer, which may wait for a backend that hangs.
        stays = verdict.target in DATA_STAYS and not (isinstance(message, Recover) and message.spent)
        operate = functools.partial(
            self._operate, operation, effect_of(message, verdict.target), waits_for_transfer=not stays
        )
        if isinstance(message, Provision | Wake) and not occupies(record, running=entry.instance is not None):
            self._services.disk.look_now()
            assumed = record.kind or kind or self._services.config.default_kind
            with self._services.places.taken(self._module_id, assumed) as place:
                result = await operate(place=place)
        else:
            # What the hub does of its own accord, and what gives something back, is never refused for a budget.
            result = await operate()
        # A deprovision that had to finish an obliteration is answered as what was asked for.
        return result if request is Request.OBLITERATE else self._services.directory.describe(entry)

    async def _operate(
        self,
        operation: Operation,
        effect: Effect,
        *,
        place: Place | None = None,
        waits_for_transfer: bool = True,
    ) -> Any:
        services, entry = self._services, self._entry
        services.directory.hold(entry, operation)
        work = Work(services, entry, operation, on_exit=self._on_exit, waiting=self._waiting, place=place)

        async def carried_out() -> Any:
            operation.step = "ending a checkpoint"
            await end_checkpoint(entry, f"{operation.request} began", transfer=waits_for_transfer)
            return await effect(work)

        try:
            return await accounted(services, operation, carried_out)
        finally:
            services.directory.hold(entry, None)

    async def _note_checkpoint(self, at: float) -> None:
        if not self._entry.record.tracked:
            return
        # Where that fails, the next one comes too early after a restart of the hub, no more.
        await self._work_outside_operation(Request.CHECKPOINT).remark(checkpointed_at=at)

    def _waiting(self) -> frozenset[Request]:
        return frozenset(REQUESTS[type(message)] for message in self.queued() if isinstance(message, _ENDS))

    def _on_exit(self, instance: Instance) -> None:
        if self.actor_ref.is_alive():
            self.actor_ref.tell(ChildExited(instance.epoch))

    async def _child_exited(self, epoch: int) -> None:
        """Turn the end of a provisioned module's process into a crash. Any other end belonged to an operation."""
        entry = self._entry
        instance = entry.instance
        if entry.epoch != epoch or entry.record.state is not State.PROVISIONED or instance is None or instance.alive:
            return
        if entry.checkpoint is not None:
            entry.checkpoint.cancel("its process ended")
        text = instance.describe_exit()
        self._services.bus.publish(
            "module.crashed",
            self._module_id,
            reason=instance.exit_reason,
            exit_status=instance.exit_status,
            output=instance.last_output(),
        )
        work = self._work_outside_operation(Request.RECOVER)
        error = f"its process ended with {text}"
        async with anyio.create_task_group() as group:
            group.start_soon(self._sweep, instance)
            await work.advance(Outcome.EXITED, "process_exited", last_error=error, **NO_PROCESS)
        entry.instance = None

    async def _sweep(self, instance: Instance) -> None:
        """End what a crashed process started and left behind, before another one is started on its data."""
        try:
            await instance.kill()
        except StopFailed as error:
            self._services.bus.publish(
                "operation.failed",
                self._module_id,
                operation="sweep",
                error=str(error),
                error_type=type(error).__name__,
            )

    async def _kill_hung(self, epoch: int, misses: int) -> None:
        entry = self._entry
        if entry.epoch == epoch and entry.record.state is State.PROVISIONED and entry.instance is not None:
            self._services.bus.publish("module.hung", self._module_id, misses=misses)
            # Its exit arrives like any other and makes it crashed.
            await entry.instance.kill()

    async def _retire(self) -> None:
        """Come to rest for the end of the hub."""
        entry = self._entry
        await end_checkpoint(entry, "the hub closes", transfer=True)
        sends_home = self._services.config.on_exit == "deprovision" and self._services.transfers.availability.available
        if sends_home and entry.record.pending is not Pending.OBLITERATE:
            if isinstance(decide(entry.record.condition, Request.DEPROVISION), Begin):
                await self._operate(
                    self._own_operation(Request.DEPROVISION), lambda w: operations.deprovision(w, "hub_ends")
                )
        elif entry.record.state is State.PROVISIONED and self._services.config.on_exit != "leave":
            effect: Effect = lambda w: operations.hibernate(w, force=True, reason="hub_ends")  # noqa: E731 - beside its twin above
            await self._operate(self._own_operation(Request.HIBERNATE), effect)

    def _work_outside_operation(self, request: Request) -> Work:
        operation = self._own_operation(request)
        return Work(self._services, self._entry, operation, on_exit=self._on_exit, waiting=self._waiting)

    def _own_operation(self, request: Request) -> Operation:
        return Operation(new_op_id(), self._module_id, request, self._services.clock)

    def _release_if_done(self) -> None:
        if not self._entry.tracked and not self.queued() and not self._services.closing:
            self._registry.tell(Release(self._module_id))
