"""The steps that operations share: journal before effect and before event, start, discard."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from hub.directory import Entry
from hub.errors import (
    JournalError,
    LocalDataError,
    ModhubError,
    OperationCancelled,
    PortsExhausted,
    ProvisionFailed,
    RecoverFailed,
    StartFailed,
    UnknownKind,
    WakeFailed,
)
from hub.instance import Instance, InstanceSpec
from hub.lifecycle import Outcome, Request, State, advance
from hub.operation import Operation
from hub.operations.journalling import journalled
from hub.operations.slots import slot
from hub.places import Place
from hub.record import ModuleRecord
from hub.services import Services


class Work:
    """One operation at work on one module.

    Args:
        services: the hub's parts.
        entry: the module's entry, changed here and nowhere else while the operation runs.
        operation: the operation.
        on_exit: told when an instance that this operation starts has ended.
        waiting: tells which requests wait for the module.
        place: what the module was promised for its way up, where it had no place before.
    """

    def __init__(
        self,
        services: Services,
        entry: Entry,
        operation: Operation,
        *,
        on_exit: Callable[[Instance], None],
        waiting: Callable[[], frozenset[Request]],
        place: Place | None = None,
    ) -> None:
        self.services = services
        self.entry = entry
        self.operation = operation
        self.place = place
        self._on_exit = on_exit
        self._waiting = waiting

    @property
    def module_id(self) -> str:
        """The module."""
        return self.entry.record.module_id

    @property
    def record(self) -> ModuleRecord:
        """The module as journalled."""
        return self.entry.record

    async def begin(self, target: State, reason: str, **changes: object) -> None:
        """Journal the intent and enter a transitional state.

        Raises:
            JournalError: it can't be journalled; nothing has happened.
        """
        await self._commit(reason, state=target, op_id=self.operation.op_id, parked=False, **changes)
        # Only now: had the intent not been journalled, what the watchdog planned must still hold.
        self.services.directory.touch(self.entry)

    async def note(self, step: str, **changes: object) -> None:
        """Journal a step within the state."""
        self.operation.step = step
        await self._commit_effect(step, **changes)

    async def remark(self, **changes: object) -> None:
        """Journal what nothing depends on. Where the disk does not take it, nobody waits until it does."""
        with suppress(JournalError):
            await self._commit("", **changes)

    async def advance(self, outcome: Outcome, reason: str, **changes: object) -> None:
        """Journal the outcome and enter the state that the lifecycle gives."""
        state = advance(self.record.state, outcome)
        await self._commit_effect(reason, state=state, op_id="", **changes)

    async def _commit_effect(self, reason: str, **changes: object) -> None:
        """Journal what has happened, whenever the disk takes it."""
        write = functools.partial(self._commit, reason, **changes)
        await journalled(self.services, self.module_id, self.operation.op_id, write)

    async def _commit(self, reason: str, **changes: object) -> None:
        before = self.record
        changed = "state" in changes and changes["state"] != before.state
        if changed:
            changes["since"] = self.services.wall_clock()
        after = msgspec.structs.replace(before, **changes)
        obliterated = before.state is State.OBLITERATING and after.state is State.UNPROVISIONED
        await self.services.journal.write(after, erase=obliterated)
        # No await between here and the event: what is shown, told and journalled is one.
        self.services.directory.put(after)
        if changed:
            self.operation.step = after.state.value
            self.services.bus.publish(
                "module.transition",
                self.module_id,
                self.operation.op_id,
                from_state=before.state.value,
                to_state=after.state.value,
                reason=reason,
                kind=after.kind or before.kind,
                dirty=after.dirty,
                port=after.port,
                pid=after.pid,
                duration_ms=round(self.operation.duration_s * 1000, 3),
            )

    def check_wanted(self, *ends: Request) -> None:
        """Let no transfer start that a waiting request would end at once.

        Args:
            *ends: requests that end it.

        Raises:
            OperationCancelled: one of them waits.
        """
        for request in ends:
            if request in self._waiting():
                raise OperationCancelled(f"{self.operation.request} of module {self.module_id!r}: {request} waits")

    def gateway_port(self, kind_name: str) -> dict[str, object]:
        """Return what is to be journalled of the module's gateway port before it first runs as a kind that has one.

        Raises:
            PortsExhausted: there is none for it.
        """
        kind = self.services.config.kinds.get(kind_name)
        if kind is None or not kind.gateway or self.record.gateway_port is not None:
            return {}
        return {"gateway_port": self.services.gateway_ports.choose(self.module_id)}

    async def start_instance(self) -> Instance:
        """Start the module's server on its local data and wait until it is ready.

        Returns:
            The instance, already set in the entry.

        Raises:
            StartFailed: it did not become ready; nothing of it is left.
            UnknownKind: the kind of its data is not configured any more.
        """
        services, record = self.services, self.record
        kind = services.config.kinds.get(record.kind)
        if kind is None:
            raise UnknownKind(f"module {self.module_id!r} is of kind {record.kind!r}, which is not configured")
        if gateway := self.gateway_port(record.kind):
            await self.note("choosing a port", **gateway)
        layout = services.layout
        if self.place is not None:
            self.place.starts = True  # no await from here to the queue of the starts, where it is counted from now on
        async with slot(services.starts):
            self.operation.step = "starting"
            started = services.clock()
            self.entry.epoch = next(services.epochs)
            spec = InstanceSpec(
                self.module_id,
                kind,
                layout.data(self.module_id),
                layout.log(self.module_id),
                self.entry.epoch,
                record.port,
            )
            try:
                instance = await services.runner.start(spec, self._on_exit)
            except OSError as error:
                raise StartFailed(f"the process of module {self.module_id!r} can't be started: {error}") from error
        self.entry.instance = instance
        self.entry.ready_at = services.clock()
        services.places.note_start(services.clock() - started)
        services.bus.publish(
            "instance.started",
            self.module_id,
            self.operation.op_id,
            pid=instance.pid,
            port=instance.port,
            duration_ms=round((services.clock() - started) * 1000, 3),
        )
        if instance.unenforced:
            services.bus.publish(
                "instance.limits_unenforced",
                self.module_id,
                self.operation.op_id,
                limits=", ".join(sorted(instance.unenforced)),
            )
        return instance

    async def stop_instance(self, *, force: bool) -> bool:
        """Stop the module's server, if it runs.

        Args:
            force: end it by SIGKILL when its `stop_timeout` is over.

        Returns:
            Whether it does not run any more.

        Raises:
            StopFailed: not even SIGKILL ended it.
        """
        instance = self.entry.instance
        if instance is None:
            return True
        self.operation.step = "stopping"
        started = self.services.clock()
        stopped = await instance.stop(force=force)
        if not stopped.clean and not force:
            return False
        self.entry.instance = None
        self.services.bus.publish(
            "instance.stopped",
            self.module_id,
            self.operation.op_id,
            pid=instance.pid,
            exit_status=stopped.exit_status,
            clean=stopped.clean,
            duration_ms=round((self.services.clock() - started) * 1000, 3),
        )
        return True

    async def discard(self) -> Path | None:
        """Take the module's local data away by one rename; `clean_up` deletes it afterwards.

        Raises:
            LocalDataError: the disk refused; the data is where it was.
        """
        try:
            return await self.services.workers.run(self.services.layout.discard, self.module_id)
        except OSError as error:
            raise LocalDataError(f"local data of module {self.module_id!r} can't be moved away: {error}") from error

    async def clean_up(self) -> None:
        """Delete what is left of a module that is not here any more: trash and log.

        A failure is left to the next start of the hub, which empties the trash: the operation itself is done.
        """
        with suppress(OSError):
            await self.services.workers.erase(self.services.layout.erase, self.module_id)


def as_asked(work: Work, error: ModhubError) -> ModhubError:
    """Name a failed start after what was asked for: a provision that wakes or recovers fails as a provision."""
    if not isinstance(error, StartFailed):
        return error
    # Who waits for a port may try again later, so that stays told; it is a failure of each of these already.
    failed = PortsExhausted if isinstance(error, PortsExhausted) else _START_FAILURES[work.operation.request]
    named = failed(
        f"{work.operation.request} of module {work.module_id!r}: {error.message}", hint=error.hint, output=error.output
    )
    named.__cause__ = error
    return named


_START_FAILURES: Mapping[Request, type[StartFailed]] = {
    Request.PROVISION: ProvisionFailed,
    Request.WAKE: WakeFailed,
    Request.RECOVER: RecoverFailed,
}


def port_and_process(instance: Instance) -> dict[str, object]:
    """Return what the journal keeps of a running instance."""
    return {
        "port": instance.port,
        "pid": instance.pid,
        "started_ticks": instance.started_ticks,
        "boot_id": instance.boot_id,
    }


NO_PROCESS: dict[str, object] = {"pid": None, "started_ticks": None, "boot_id": ""}
