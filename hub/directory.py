"""What the hub shows of its modules: one entry a module, written by its actor alone, read without waiting.

Everything here lives on the loop. Reading a module's status reads its entry and never queues behind an operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hub.census import Census
from hub.checkpoint_run import CheckpointRun
from hub.info import ModuleInfo
from hub.instance import Instance
from hub.layout import Layout
from hub.lifecycle import State
from hub.operation import Operation
from hub.record import ModuleRecord
from hub.usage_history import UsageHistory

_ASLEEP = frozenset({State.HIBERNATED, State.UNPROVISIONED})
_SERVING = frozenset({State.PROVISIONED, State.HIBERNATING})


@dataclass(slots=True)
class Entry:
    """A module's entry.

    Attributes:
        record: the module as last journalled.
        active_at: monotonic time of the last activity.
        activity: counts every activity and operation; a decision made on another count is stale.
        epoch: number of the last start; an exit or a decision of an earlier one is stale.
        instance: the running server.
        operation: the operation that holds the module.
        probes: connections to it that are the hub's own.
        splices: connections that the gateway has joined to its server: in use also when half closed, which the kernel does
            not count as established.
        claim: the claim by which this hub holds the module in the backend and goes on holding it; `None` = it does not.
        given_up: the claim that it last let go of, which the record may still tell.
        lease_until: until when nobody else can take it, seconds of CLOCK_BOOTTIME; 0.0 = not known.
        checkpoint: its checkpoints, while there are any.
        checkpointed_at: as the record's, where it was found out by this hub; also where the journal did not take it.
        ready_at: monotonic time at which the instance became ready.
        usage: what its processes used of late, while it is awake and is looked at.
    """

    record: ModuleRecord
    active_at: float
    activity: int = 0
    epoch: int = 0
    instance: Instance | None = None
    operation: Operation | None = None
    probes: int = 0
    splices: int = 0
    claim: str | None = None
    given_up: str | None = None
    lease_until: float = 0.0
    checkpoint: CheckpointRun | None = None
    checkpointed_at: float | None = None
    ready_at: float | None = None
    usage: UsageHistory | None = None

    @property
    def serving(self) -> bool:
        """Whether there is a server that answers."""
        return self.instance is not None and self.record.state in _SERVING

    @property
    def tracked(self) -> bool:
        """Whether the hub holds anything of the module, or works on it."""
        return self.record.tracked or self.operation is not None


class Directory:
    """All entries by module id."""

    def __init__(self, layout: Layout, clock: Callable[[], float]) -> None:
        self._layout = layout
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        # Provisioned modules apart, so that what looks at the living does not walk ten thousand sleepers.
        self._provisioned: dict[str, Entry] = {}
        self._to_relist: dict[str, Entry] = {}
        self._active: dict[str, Entry] = {}
        # Taken when first asked for: a start with ten thousand modules asks nobody.
        self._census: Census | None = None

    def find(self, module_id: str) -> Entry | None:
        """Return a module's entry, if it has one."""
        return self._entries.get(module_id)

    def obtain(self, module_id: str) -> Entry:
        """Return a module's entry, made if there is none."""
        entry = self._entries.get(module_id)
        if entry is None:
            entry = self._entries[module_id] = Entry(ModuleRecord(module_id), self._clock())
        return entry

    def put(self, record: ModuleRecord) -> Entry:
        """Show a module as it was journalled."""
        entry = self.obtain(record.module_id)
        entry.record = record
        self._count(entry)
        if record.state is State.PROVISIONED:
            self._provisioned[record.module_id] = entry
        else:
            self._provisioned.pop(record.module_id, None)
        if record.relist_s:
            self._to_relist[record.module_id] = entry
        else:
            self._to_relist.pop(record.module_id, None)
        if record.state in _ASLEEP:
            self._active.pop(record.module_id, None)
            entry.usage = None  # there may be ten thousand of them
        else:
            self._active[record.module_id] = entry
        return entry

    def drop(self, module_id: str) -> None:
        """Forget a module of which nothing is to be remembered any more."""
        entry = self._entries.get(module_id)
        if entry is not None and not entry.tracked and not entry.record.remembered:
            self._count(entry)
            del self._entries[module_id]

    def hold(self, entry: Entry, operation: Operation | None) -> None:
        """Note which operation holds a module from now on; `None` = none does any more."""
        entry.operation = operation
        self._count(entry)

    def census(self) -> Census:
        """Return the tracked modules, counted and in their order."""
        if self._census is None:
            self._census = Census(entry.record for entry in self.tracked())
        return self._census

    def _count(self, entry: Entry) -> None:
        if self._census is not None:
            self._census.note(entry.record, tracked=entry.tracked)

    def touch(self, entry: Entry) -> None:
        """Count an activity: the idle time starts anew and earlier decisions are stale."""
        entry.active_at = self._clock()
        entry.activity += 1

    def tracked(self) -> Iterator[Entry]:
        """Yield the entries of all tracked modules."""
        return (entry for entry in self._entries.values() if entry.tracked)

    def provisioned(self) -> list[Entry]:
        """Return the entries of the modules that are provisioned."""
        return list(self._provisioned.values())

    def to_relist(self) -> list[Entry]:
        """Return the entries of the modules whose place in the backend is to be listed again, tracked or not."""
        return list(self._to_relist.values())

    def with_gateway(self) -> list[Entry]:
        """Return the entries of the modules that have a port of the gateway, tracked or not."""
        return [entry for entry in self._entries.values() if entry.record.gateway_port is not None]

    def active(self) -> Iterator[Entry]:
        """Yield the entries of the modules that are neither hibernated nor unprovisioned."""
        return iter(self._active.values())

    def idle_s(self, entry: Entry) -> float:
        """Return seconds since the last activity of a module."""
        return max(0.0, self._clock() - entry.active_at)

    def uptime_s(self, entry: Entry) -> float | None:
        """Return seconds since a module's server became ready, while it serves."""
        return max(0.0, self._clock() - entry.ready_at) if entry.serving and entry.ready_at is not None else None

    def describe(self, entry: Entry) -> ModuleInfo:
        """Return what callers are told of a module."""
        record, operation = entry.record, entry.operation
        instance = entry.instance if record.state in _SERVING else None
        host, port = (instance.host, instance.port) if instance else (None, record.port)
        sample = entry.usage.last if instance and entry.usage else None
        return ModuleInfo(
            module_id=record.module_id,
            kind=record.kind,
            state=record.state,
            host=host,
            port=port,
            url=f"http://{host}:{port}" if host else None,
            pid=instance.pid if instance else None,
            data_dir=self._layout.data(record.module_id) if record.tracked else None,
            dirty=record.dirty,
            restarts=record.restarts,
            idle_s=self.idle_s(entry),
            last_error=record.last_error,
            gateway_port=record.gateway_port,
            since=record.since,
            op_id=operation.op_id if operation else None,
            uptime_s=self.uptime_s(entry),
            memory_bytes=sample.memory_bytes if sample else None,
            cpu_percent=sample.cpu_percent if sample else None,
            checkpointed_at=checkpointed_at(entry),
        )


def checkpointed_at(entry: Entry) -> float:
    """Return when the backend last had a module's data as it was then: seconds since the epoch; 0.0 = never."""
    found = entry.checkpointed_at
    return entry.record.checkpointed_at if found is None else found
