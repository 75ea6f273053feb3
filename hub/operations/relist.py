"""Relist: what arrived in the backend after an obliteration that overrode another hub's lease is deleted."""

from __future__ import annotations

import msgspec

from hub.directory import Entry
from hub.errors import BackendError
from hub.services import Services


async def relist(services: Services, entry: Entry) -> None:
    """List an obliterated module's place in the backend again, unless the module has been made anew.

    No operation of the lifecycle: the obliteration is done, and the module is not tracked any more.

    Args:
        services: the hub's parts.
        entry: the module's entry.

    Raises:
        JournalError: it can't be journalled that this is done; it is done again.
    """
    module_id = entry.record.module_id
    if services.closing or not entry.record.relist_s:
        return
    found = None
    # Here again, its head stands, and what arrived late is garbage that its next dehydration deletes.
    if not entry.record.tracked:
        try:
            found = await services.transfers.erase_stragglers(module_id)
        except BackendError as error:
            services.bus.publish("backend.failed", module_id, error=str(error))
            return
    after = msgspec.structs.replace(entry.record, relist_s=0.0)
    await services.journal.write(after, erase=not after.remembered)
    services.directory.put(after)
    if found is not None:
        services.bus.publish(
            "module.relisted", module_id, blobs=found.blobs, versions=found.versions, bytes=found.bytes
        )
