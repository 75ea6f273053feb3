"""Obliterate: no trace is left, here or in the backend, and listings prove it."""

from __future__ import annotations

from hub.errors import LocalDataError, ModhubError
from hub.info import Obliterated
from hub.lifecycle import Outcome, Pending, State
from hub.operations.work import NO_PROCESS, Work


async def obliterate(work: Work) -> Obliterated:
    """Destroy a module, tracked or not.

    Args:
        work: the operation.

    Returns:
        What was deleted.

    Raises:
        ModhubError: something may be left; the obliteration stays pending and is the module's only future.
    """
    await work.begin(State.OBLITERATING, "obliterate", pending=Pending.OBLITERATE)
    ours = work.services.leases.runs(work.entry)
    work.services.leases.forget(work.entry)
    try:
        if work.entry.instance is not None:
            await work.entry.instance.kill()
            work.entry.instance = None
        work.operation.step = "erasing locally"
        local_bytes = await _erase_locally(work)
        # Overridden, another hub's lease may still run, and what that hub was sending when it lost the module may yet
        # arrive. Journalled before: when all is gone, nothing there tells any more.
        if not ours and (held_s := await work.services.transfers.held_elsewhere_s(work.operation)):
            await work.note("overriding a lease", relist_s=max(held_s, work.record.relist_s))
        work.operation.step = "erasing the backend"
        erased = await work.services.transfers.erase(work.operation)
    except ModhubError as error:
        await work.advance(Outcome.FAILED, "failed", last_error=str(error), **NO_PROCESS)
        raise
    relist_s = max(erased.held_s, work.record.relist_s)
    gone: dict[str, object] = NO_PROCESS | {"kind": "", "port": None, "gateway_port": None}
    await work.advance(Outcome.DONE, "done", dirty=False, pending=None, relist_s=relist_s, **gone)
    work.services.gateway_ports.release(work.module_id)
    work.services.bus.publish(
        "module.obliterated",
        work.module_id,
        work.operation.op_id,
        blobs=erased.blobs,
        versions=erased.versions,
        bytes=erased.bytes,
        local_bytes=local_bytes,
        duration_ms=round(work.operation.duration_s * 1000, 3),
    )
    deleted = work.operation.obliterated = Obliterated(
        work.module_id, erased.blobs, erased.versions, erased.bytes, local_bytes, remaining=erased.remaining
    )
    return deleted


async def _erase_locally(work: Work) -> int:
    layout = work.services.layout
    try:
        local_bytes = await work.services.workers.erase(layout.erase, work.module_id)
        left = await work.services.workers.run(layout.remains, work.module_id)
    except OSError as error:
        raise LocalDataError(f"local data of module {work.module_id!r} can't be deleted: {error}") from error
    if left:
        raise LocalDataError(f"local data of module {work.module_id!r} is still there: {left[0]}")
    return local_bytes
