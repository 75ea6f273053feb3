"""Bringing interrupted modules to rest: at the start of a hub, and after a defect in a module's actor."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from hub.lifecycle import Pending, State
from hub.policy import resolve
from hub.record import ModuleRecord
from hub.services import Services


def resolved(record: ModuleRecord, now: float, *, serving: bool = False) -> ModuleRecord:
    """Return an interrupted module as it is at rest.

    Args:
        record: the module as last journalled.
        now: wall clock time, seconds since the epoch.
        serving: its process was adopted; else nothing of it runs any more.

    Returns:
        The module in a stable state; the very same record where nothing changes.
    """
    resolution = resolve(record, serving=serving)
    changes: dict[str, object] = {"op_id": "", "state": resolution.state}
    if resolution.state is not State.PROVISIONED:
        changes |= {"pid": None, "started_ticks": None, "boot_id": ""}
    if resolution.state is not record.state:
        changes["since"] = now
    if not resolution.keep_data:
        changes |= {"dirty": False, "pending": None}
    if record.state is State.OBLITERATING:
        # Journalled together with the state; should it ever not be, the module must not be served for that.
        changes["pending"] = Pending.OBLITERATE
    after = msgspec.structs.replace(record, **changes)
    return record if after == record else after


async def resolve_modules(
    services: Services, records: Iterable[ModuleRecord], adopted: Collection[str] = frozenset()
) -> None:
    """Resolve modules: their directories, the journal, what is shown.

    Args:
        services: the hub's parts.
        records: the modules as last journalled.
        adopted: ids of those whose processes serve on; of the others none runs.
    """
    now = services.wall_clock()
    changed: list[tuple[ModuleRecord, ModuleRecord]] = []
    gone: list[str] = []
    for before in records:
        after = resolved(before, now, serving=before.module_id in adopted)
        if not after.tracked and before.state is not State.UNPROVISIONED:
            gone.append(before.module_id)
        if after is before:
            services.directory.put(before)
        else:
            changed.append((before, after))
    # First the rename, then the row: a directory that no row knows would stay for good.
    if gone:
        await services.workers.run(_discard_all, services, gone)
    if changed:
        await services.journal.write(*(after for _, after in changed))
    for before, after in changed:
        services.directory.put(after)
        if before.state is not after.state:
            services.bus.publish(
                "module.resolved",
                after.module_id,
                before.op_id or None,
                from_state=before.state.value,
                to_state=after.state.value,
                reason=resolve(before).reason,
            )
        services.directory.drop(after.module_id)
    for module_id in gone:
        await services.workers.erase(services.layout.erase, module_id)


def _discard_all(services: Services, module_ids: Sequence[str]) -> None:
    for module_id in module_ids:
        services.layout.discard(module_id)
