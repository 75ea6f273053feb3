"""Processes that an earlier hub left running: adopted while they still serve, else ended; and the sweep of the rest.

First all are looked at, and nothing is signalled. Where that can't be done (no descriptor is left), the start of the hub
fails, and the servers run on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio

from hub.directory import Entry
from hub.errors import StopFailed
from hub.instance import Instance, InstanceSpec, Kind
from hub.instance.leftovers import Spared, find_leaders, kill_marked
from hub.instance.process import MARKER
from hub.instance.procfs import ProcessIdentity, command_of
from hub.orders import ChildExited
from hub.policy import may_be_adopted
from hub.record import ModuleRecord
from hub.services import Services

_Found = tuple[ModuleRecord, ProcessIdentity]

_AT_ONCE = 128
# A server that does not end must not hold up the start of the hub for as long as its kind allows it in good times.
_STOP_TIMEOUT_S = 30.0


async def take_over(services: Services, records: Sequence[ModuleRecord]) -> frozenset[str]:
    """Adopt what still serves, and end what else of the modules' servers runs.

    Args:
        services: the hub's parts.
        records: the modules as last journalled.

    Returns:
        Ids of the modules whose processes were adopted; their entries have them.

    Raises:
        OSError: it can't be found out what runs. What does, goes on.
    """
    running = [(record, identity) for record in records if (identity := find_process(record)) is not None]
    running += await _find_starting(services, records)
    adopted: set[str] = set()
    slots = anyio.CapacityLimiter(_AT_ONCE)

    async def look(record: ModuleRecord, identity: ProcessIdentity) -> None:
        async with slots:
            if await _adopt(services, record, identity):
                adopted.add(record.module_id)

    await _each(look, [found for found in running if may_be_adopted(found[0])])
    # All at once: each of them only waits.
    await _each(partial(_end, services), [found for found in running if found[0].module_id not in adopted])
    return frozenset(adopted)


async def _each(work: Callable[[ModuleRecord, ProcessIdentity], Awaitable[None]], found: Sequence[_Found]) -> None:
    """Do something for many at one time; the first failure is raised when all are done."""
    failures: list[OSError] = []

    async def attempt(record: ModuleRecord, identity: ProcessIdentity) -> None:
        try:
            await work(record, identity)
        except OSError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        for record, identity in found:
            group.start_soon(attempt, record, identity)
    if failures:
        raise failures[0]


def find_process(record: ModuleRecord) -> ProcessIdentity | None:
    """Return the process that a record knows, if it is there, ended or not; never another one."""
    if record.pid is None or not record.started_ticks or not record.boot_id:
        return None
    identity = ProcessIdentity(record.pid, record.started_ticks, record.boot_id)
    return identity if identity.find() is not None else None


async def _find_starting(services: Services, records: Sequence[ModuleRecord]) -> list[_Found]:
    """Find processes that were being started: the journal learns of them when they are ready."""
    starting = {services.layout.data(r.module_id): r for r in records if not r.state.stable and r.pid is None}
    if not starting:
        return []
    found = await services.workers.run(find_leaders, starting.keys())
    return [(starting[data_dir], identity) for data_dir, identity in found.items()]


async def _adopt(services: Services, record: ModuleRecord, identity: ProcessIdentity) -> bool:
    kind = services.config.kinds.get(record.kind)
    if kind is None:
        return False
    module_id = record.module_id

    def exited(instance: Instance) -> None:
        # Without a cell the hub is still starting: the registry looks when it makes them.
        cell = services.cells.get(module_id)
        if cell is not None and cell.is_alive():
            cell.tell(ChildExited(instance.epoch))

    spec = _spec(services, record, kind, next(services.epochs))
    instance = await services.runner.adopt(spec, identity, exited, timeout_s=services.config.live_timeout)
    if instance is None:
        return False
    entry = services.directory.put(record)
    entry.epoch, entry.instance = spec.epoch, instance
    entry.ready_at = services.clock() - max(0.0, services.wall_clock() - record.since)
    services.bus.publish("instance.adopted", module_id, pid=instance.pid, port=instance.port)
    return True


async def _end(services: Services, record: ModuleRecord, identity: ProcessIdentity) -> None:
    # Of a kind that is not configured any more nobody knows the signal: it is asked as most servers are.
    kind = services.config.kinds.get(record.kind) or Kind("unknown", ["unknown"])
    kind = dataclasses.replace(kind, stop_timeout=min(kind.stop_timeout, _STOP_TIMEOUT_S))
    command = command_of(identity.pid)
    try:
        ended = await services.runner.end(_spec(services, record, kind, next(services.epochs)), identity)
    except StopFailed:
        return  # the sweep, which comes next, tries once more and fails the start
    if ended:
        services.bus.publish("hub.orphan_killed", record.module_id, pid=identity.pid, command=command)


def _spec(services: Services, record: ModuleRecord, kind: Kind, epoch: int) -> InstanceSpec:
    layout, module_id = services.layout, record.module_id
    return InstanceSpec(module_id, kind, layout.data(module_id), layout.log(module_id), epoch, record.port)


async def sweep(services: Services) -> None:
    """Kill what the hub's servers left behind, wherever it moved to; instances that run, and all of theirs, are spared.

    Raises:
        StopFailed: the kernel does not end one.
    """
    layout = services.layout
    running = [entry for entry in services.directory.tracked() if entry.instance is not None]
    ids = [entry.record.module_id for entry in running]
    spared = Spared(_pids(running), map(layout.data, ids), map(layout.log, ids))
    for pid, command in await services.workers.run(kill_marked, MARKER, services.journal.hub_id, layout.logs, spared):
        services.bus.publish("hub.orphan_killed", pid=pid, command=command)


def _pids(running: Sequence[Entry]) -> list[int]:
    return [entry.instance.pid for entry in running if entry.instance is not None]


def leave(services: Services) -> None:
    """Let go of every instance that still runs: it goes on, for the next hub to adopt."""
    for entry in list(services.directory.tracked()):
        if entry.instance is not None:
            entry.instance.leave()
            entry.instance = None
